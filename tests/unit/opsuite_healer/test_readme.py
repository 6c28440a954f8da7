"""The README of the healer names every setting and every RPC, and nothing else."""

import re
from pathlib import Path

import pytest
from google.protobuf.descriptor import ServiceDescriptor

from opsuite_gateway.transcoding.bindings import contracts
from opsuite_healer.settings import Settings

PAGE = (Path(__file__).resolve().parents[3] / "services" / "healer" / "README.md").read_text()
SERVICES = [service for file in contracts("opsuite.healer.v1") for service in file.services_by_name.values()]


def test_every_setting_is_described() -> None:
    described = set(re.findall(r"^\| `(HEALER_[A-Z_]+)`", PAGE, re.MULTILINE))

    assert described == {f"HEALER_{name.upper()}" for name in Settings.model_fields}


@pytest.mark.parametrize("service", SERVICES, ids=lambda service: service.name)
def test_every_rpc_is_listed(service: ServiceDescriptor) -> None:
    found = re.search(rf"^\| `{re.escape(service.full_name)}` \| (.*) \|$", PAGE, re.MULTILINE)

    assert found is not None
    assert found[1].split(", ") == [method.name for method in service.methods]
