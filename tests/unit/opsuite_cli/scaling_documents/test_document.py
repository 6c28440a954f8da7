from typing import Any

import pytest

from opsuite_cli.scaling_documents.document import policy_in, written
from opsuite_cli.scaling_documents.quantities import cpu_of, millicores_of, number_of, quantity_of
from opsuite_kernel.errors import InvalidInput


def a_document(**spec: Any) -> dict[str, Any]:
    return {
        "apiVersion": "opsuite.dev/v1",
        "kind": "ScalingPolicy",
        "metadata": {"name": "checkout"},
        "spec": {"target": {"name": "checkout"}, "max_replicas": 5} | spec,
    }


def mistakes(document: dict[str, Any]) -> list[str]:
    with pytest.raises(InvalidInput) as refused:
        policy_in(document)
    return [one.field for one in refused.value.violations]


def test_names_may_be_written_in_either_way_and_enums_short() -> None:
    policy = policy_in(
        a_document(
            minReplicas=2,
            target={"kind": "kubernetes_scale", "name": "checkout"},
            behavior={"scaleUp": {"select_policy": "min"}},
        )
    )

    assert written(policy)["spec"] == {
        "target": {"kind": "TARGET_KIND_KUBERNETES_SCALE", "name": "checkout"},
        "min_replicas": 2,
        "max_replicas": 5,
        "behavior": {"scale_up": {"select_policy": "SELECT_POLICY_MIN"}},
    }


@pytest.mark.parametrize(
    ("document", "fields"),
    [
        (a_document(max_replica=5), ["spec.max_replica"]),
        (a_document(etag="1"), ["spec.etag"]),
        (a_document(target={"kind": "moon", "name": "x"}), ["spec.target.kind"]),
        (a_document(max_replicas=0), ["spec.max_replicas"]),
        (a_document(metrics=[{"name": "cpu"}]), ["spec.metrics[0].kind"]),
        (a_document(metrics="cpu"), ["spec.metrics"]),
        ({"kind": "ScalingPolicy"}, ["apiVersion", "metadata.name", "spec"]),
        (a_document() | {"status": {}}, ["status"]),
    ],
)
def test_every_mistake_is_told_by_its_place(document: dict[str, Any], fields: list[str]) -> None:
    assert mistakes(document) == fields


@pytest.mark.parametrize(
    ("quantity", "number"),
    [("500m", 0.5), ("1", 1), (2, 2), ("1.5", 1.5), ("128Mi", 134217728), ("1k", 1000), ("1e3", 1000), (".5", 0.5)],
)
def test_quantities_are_numbers(quantity: Any, number: float) -> None:
    assert number_of(quantity) == number


@pytest.mark.parametrize("quantity", ["", "one", "1 Mi", "1KiB", True, None, [], "1e9999"])
def test_what_is_no_quantity_is_none(quantity: Any) -> None:
    assert number_of(quantity) is None


@pytest.mark.parametrize(("number", "quantity"), [(1.0, "1"), (0.5, "500m"), (0.0001, "0.0001"), (1e9, "1000000000")])
def test_numbers_are_quantities(number: float, quantity: str) -> None:
    assert quantity_of(number) == quantity
    assert number_of(quantity) == number


def test_cpu_is_told_in_millicores() -> None:
    assert (millicores_of("250m"), millicores_of("2"), cpu_of(250), cpu_of(0.5)) == (250, 2000, "250m", "0.0005")
