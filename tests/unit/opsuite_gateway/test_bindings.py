"""Every method of every contract can be reached, each by a path of its own."""

from __future__ import annotations

import itertools
import re

import pytest

from opsuite_gateway.transcoding.bindings import Binding, Bindings, bindings_of, contracts, unbound
from opsuite_gateway.upstreams import SERVICES, SHARED

PACKAGES = [*(f"opsuite.{name}.v1" for name in SERVICES), SHARED]
NOT_OURS = {"opsuite.scaler.v1.ExternalTargetService"}
"""What others serve and the suite calls."""


def bindings(package: str) -> Bindings:
    return bindings_of(contracts(package))


def a_path(binding: Binding) -> str:
    """A path that fits the binding's template."""
    return re.sub(r"\{[^}]*\}", "x", binding.template.openapi)


@pytest.mark.parametrize("package", PACKAGES)
def test_every_method_is_bound(package: str) -> None:
    assert [one for one in unbound(contracts(package)) if one.rpartition(".")[0] not in NOT_OURS] == []


@pytest.mark.parametrize("package", PACKAGES)
def test_every_path_finds_its_own_method(package: str) -> None:
    table = bindings(package)

    for binding in table:
        found = table.find(binding.verb, a_path(binding))
        assert found is not None, binding.template.text
        assert found[0].method.full_name == binding.method.full_name, binding.template.text


def test_no_two_services_share_a_path() -> None:
    """The shared contract has none of its own at the root: the first service answers there."""
    tables = {name: bindings(f"opsuite.{name}.v1") for name in SERVICES}

    for first, second in itertools.permutations(SERVICES, 2):
        for binding in tables[first]:
            assert tables[second].find(binding.verb, a_path(binding)) is None, (second, binding.template.text)


def test_a_path_tells_which_verbs_it_has() -> None:
    assert bindings("opsuite.deployer.v1").verbs_of("/v1/pipelines/shop") == ["DELETE", "GET"]
    assert bindings("opsuite.deployer.v1").verbs_of("/v1/nothing") == []
