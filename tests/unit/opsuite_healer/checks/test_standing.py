from __future__ import annotations

from datetime import datetime, timedelta

import pytest
from fakes.clock import NOON

from opsuite_healer.domain.checks.standing import Standing, by_check, by_replica, by_target, together
from opsuite_probes.port import Outcome

GOOD, BAD, NOTHING = Outcome.HEALTHY, Outcome.UNHEALTHY, Outcome.UNKNOWN


def at(seconds: float) -> datetime:
    return NOON + timedelta(seconds=seconds)


def a_standing(
    outcome: Outcome,
    since: float = 0,
    check: str = "healthChecks/home",
    target: str = "process/shop",
    replica: str = "",
    *,
    owes: bool = False,
) -> Standing:
    moment = None if outcome is NOTHING else at(since)
    return Standing(check, target, replica, outcome, moment, False, owes, f"said {outcome.value}")


@pytest.mark.parametrize(
    ("standings", "expected"),
    [
        ([], (NOTHING, None)),
        ([a_standing(NOTHING)], (NOTHING, None)),
        ([a_standing(GOOD, 5)], (GOOD, at(5))),
        ([a_standing(GOOD, 5), a_standing(GOOD, 9)], (GOOD, at(9))),
        ([a_standing(GOOD, 5), a_standing(BAD, 7), a_standing(BAD, 9)], (BAD, at(7))),
        # What cannot be asked does not hide what is known.
        ([a_standing(NOTHING), a_standing(GOOD, 5)], (GOOD, at(5))),
        # What was known before somebody acted, and is not yet again, does.
        ([a_standing(NOTHING, owes=True), a_standing(GOOD, 5)], (NOTHING, None)),
        ([a_standing(NOTHING, owes=True), a_standing(BAD, 5)], (BAD, at(5))),
    ],
)
def test_the_worst_decides(standings: list[Standing], expected: tuple[Outcome, datetime | None]) -> None:
    assert together(standings) == expected
    assert together(standings[::-1]) == expected


def test_a_target_counts_once_however_many_checks_it_has() -> None:
    standings = [
        a_standing(GOOD, check="healthChecks/a"),
        a_standing(BAD, check="healthChecks/b"),
        a_standing(GOOD, check="healthChecks/c", target="process/mail"),
    ]

    assert by_target(standings) == {"process/shop": BAD, "process/mail": GOOD}
    assert by_check(standings) == {"healthChecks/a": GOOD, "healthChecks/b": BAD, "healthChecks/c": GOOD}


def test_replicas_are_judged_one_by_one_and_the_whole_is_none_of_them() -> None:
    standings = [a_standing(GOOD, replica="shop-0"), a_standing(BAD, replica="shop-1"), a_standing(BAD)]

    assert by_replica(standings) == {"shop-0": GOOD, "shop-1": BAD}
