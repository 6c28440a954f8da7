from dataclasses import replace
from datetime import UTC, datetime

import pytest

from opsuite_scaler.domain.demand import load_of, loads_of, needed
from opsuite_scaler.domain.policy import MetricKind, MetricSpec, Resource, TargetType
from opsuite_scaler.domain.snapshot import Member, MemberPhase, Reading, SampleKind, Snapshot

NOON = datetime(2026, 3, 2, 12, tzinfo=UTC)
VALUE = SampleKind.VALUE


def a_snapshot(reading: Reading | None, *, serving: int = 2, starting: int = 0) -> Snapshot:
    requests = {"cpu": 500.0, "cpu/app": 250.0}
    members = [Member(f"m{index}", requests=requests) for index in range(serving)]
    members += [Member(f"n{index}", ready=False, requests=requests) for index in range(starting)]
    readings = {"m": reading} if reading else {}
    return Snapshot(NOON, serving, serving, tuple(members), readings)


def a_metric(kind: MetricKind, target_type: TargetType, target: float, container: str = "") -> MetricSpec:
    resource = Resource.CPU if kind is MetricKind.RESOURCE else None
    return MetricSpec("m", kind, target_type, target, resource, container)


CPU = a_metric(MetricKind.RESOURCE, TargetType.UTILIZATION, 50)


@pytest.mark.parametrize(
    ("spec", "reading", "load", "replicas"),
    [
        (CPU, Reading(VALUE, by_member={"m0": 500, "m1": 1000}), 3, 6),
        (
            a_metric(MetricKind.RESOURCE, TargetType.UTILIZATION, 50, "app"),
            Reading(VALUE, by_member={"m0": 250, "m1": 250}),
            2,
            4,
        ),
        (
            a_metric(MetricKind.RESOURCE, TargetType.AVERAGE_VALUE, 250),
            Reading(VALUE, by_member={"m0": 500, "m1": 1000}),
            1500,
            6,
        ),
        (a_metric(MetricKind.EXTERNAL, TargetType.AVERAGE_VALUE, 30), Reading(VALUE, 90), 90, 3),
        (a_metric(MetricKind.EXTERNAL, TargetType.VALUE, 30), Reading(VALUE, 90), 180, 6),
    ],
)
def test_load_does_not_depend_on_the_size_and_divided_by_the_target_is_what_is_needed(
    spec: MetricSpec, reading: Reading, load: float, replicas: float
) -> None:
    assert load_of(spec, a_snapshot(reading)) == load
    assert needed(spec, a_snapshot(reading)) == replicas


def test_members_that_start_are_left_out_and_silent_ones_count_as_the_mean() -> None:
    reading = Reading(VALUE, by_member={"m0": 500, "n0": 5000})

    assert load_of(CPU, a_snapshot(reading, serving=3, starting=1)) == 3


@pytest.mark.parametrize("reading", [None, Reading(SampleKind.ERROR), Reading(SampleKind.MISSING)])
def test_what_says_nothing_is_not_zero(reading: Reading | None) -> None:
    assert load_of(CPU, a_snapshot(reading)) is None


def test_only_loads_that_are_told_are_remembered() -> None:
    silent = a_metric(MetricKind.EXTERNAL, TargetType.VALUE, 1)
    snapshot = a_snapshot(Reading(VALUE, by_member={"m0": 500, "m1": 500}))

    assert loads_of([CPU, replace(silent, name="silent")], snapshot) == {"m": 2}


def test_a_member_that_failed_serves_nothing() -> None:
    reading = Reading(VALUE, by_member={"m0": 500, "m1": 500})
    snapshot = a_snapshot(reading)
    failed = Member("m1", MemberPhase.FAILED, requests={"cpu": 500.0})

    assert load_of(CPU, Snapshot(NOON, 2, 2, (snapshot.members[0], failed), {"m": reading})) == 1
