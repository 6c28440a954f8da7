from __future__ import annotations

from datetime import timedelta

from fakes.clock import NOON
from fakes.healer_incidents import after, minutes
from hypothesis import given
from hypothesis import strategies as st

from opsuite_healer.domain.incidents.incident import Resolver
from opsuite_healer.domain.incidents.statistics import Sample, by_group, statistics
from opsuite_healer.domain.trouble import Severity


def sample(acknowledged: float | None = None, resolved: float | None = None, **fields: object) -> Sample:
    given_fields: dict[str, object] = {"issue": "UNHEALTHY", "severity": Severity.ERROR, "opened_at": NOON}
    return Sample(
        **given_fields | fields,  # type: ignore[arg-type]  # each field has its type
        acknowledged_at=None if acknowledged is None else after(acknowledged),
        resolved_at=None if resolved is None else after(resolved),
    )


def test_means_and_ranks_are_over_those_that_have_come_so_far() -> None:
    samples = [
        sample(2, 10, resolved_by=Resolver.HUMAN, is_escalated=True),
        sample(4, 20, resolved_by=Resolver.ACTION),
        sample(None, 60, resolved_by=Resolver.AUTO),
        sample(),
    ]

    found = statistics(samples)

    assert (found.opened, found.open, found.acknowledged, found.resolved) == (4, 1, 2, 3)
    assert (found.resolved_by_action, found.resolved_by_itself, found.escalated) == (1, 1, 1)
    assert (found.mtta, found.mttr) == (minutes(3), minutes(30))
    assert (found.median_resolve, found.p90_resolve) == (minutes(20), minutes(60))


def test_merged_incidents_are_counted_in_what_they_were_merged_into() -> None:
    assert statistics([sample(resolved=1, resolved_by=Resolver.MERGE)]).opened == 0


def test_without_incidents_there_is_nothing_to_measure() -> None:
    found = statistics([])

    assert (found.opened, found.mtta, found.mttr, found.median_resolve, found.p90_resolve) == (
        0,
        None,
        None,
        None,
        None,
    )


def test_groups_are_counted_by_themselves() -> None:
    samples = [sample(issue="CRASHED"), sample(issue="CRASHED", severity=Severity.CRITICAL), sample()]

    assert {name: one.opened for name, one in by_group(samples, lambda one: one.issue).items()} == {
        "CRASHED": 2,
        "UNHEALTHY": 1,
    }


@given(st.lists(st.integers(0, 10_000), min_size=1))
def test_ranks_are_among_the_values_and_in_order(durations: list[int]) -> None:
    found = statistics([sample(resolved=one, resolved_by=Resolver.HUMAN) for one in durations])

    assert found.median_resolve is not None
    assert found.p90_resolve is not None
    assert min(durations) * minutes(1) <= found.median_resolve <= found.p90_resolve <= max(durations) * minutes(1)
    assert found.mttr is not None
    assert abs(found.mttr - timedelta(minutes=sum(durations) / len(durations))) < timedelta(milliseconds=1)
