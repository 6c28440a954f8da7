"""Which policy covers an incident."""

from __future__ import annotations

import pytest

from opsuite_healer.domain.remediation.matching import choose, covers
from opsuite_healer.domain.remediation.policy import HealingPolicy, Match
from opsuite_healer.domain.trouble import Severity

LABELS = {"issue": "UNHEALTHY", "workload": "web", "team": "shop"}


@pytest.mark.parametrize(
    ("match", "is_covered"),
    [
        (Match(), True),
        (Match(issues=frozenset({"UNHEALTHY"})), True),
        (Match(issues=frozenset({"CRASHED", "UNHEALTHY"})), True),
        (Match(issues=frozenset({"CRASHED"})), False),
        (Match(labels={"team": "shop", "workload": "web"}), True),
        (Match(labels={"team": "shop", "workload": "api"}), False),
        (Match(labels={"zone": ""}), True),
        (Match(min_severity=Severity.ERROR), True),
        (Match(min_severity=Severity.CRITICAL), False),
    ],
)
def test_all_that_a_match_asks_for_has_to_hold(match: Match, is_covered: bool) -> None:
    assert covers(match, "UNHEALTHY", Severity.ERROR, LABELS) is is_covered


def test_the_greatest_priority_wins_then_the_first_name() -> None:
    policies = [
        HealingPolicy("b", ()),
        HealingPolicy("a", ()),
        HealingPolicy("other", (), match=Match(issues=frozenset({"CRASHED"})), priority=9),
        HealingPolicy("d", (), priority=2),
        HealingPolicy("c", (), priority=2),
    ]

    chosen = choose(policies, "UNHEALTHY", Severity.ERROR, LABELS)

    assert chosen is not None
    assert chosen.id == "c"
    assert choose(policies[2:3], "UNHEALTHY", Severity.ERROR, LABELS) is None
