from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from opsuite_schedules.cron import Cron
from opsuite_schedules.spread import RANDOM_ALIASES, jitter, spread_expression

HOUR = timedelta(hours=1)


@pytest.mark.parametrize("alias", RANDOM_ALIASES)
def test_a_random_alias_stays_the_same_for_one_key_and_differs_between_keys(alias: str) -> None:
    spread = {Cron.parse(alias, key=f"backup/{number}").expression for number in range(50)}

    assert Cron.parse(alias, key="backup/7") == Cron.parse(alias, key="backup/7")
    assert len(spread) > 20


def test_what_a_key_gets_never_changes_between_releases() -> None:
    assert spread_expression("@weekly-random", "backup/7") == "48 16 * * 1"
    assert jitter("backup/7", HOUR) == timedelta(microseconds=1297902059)


@pytest.mark.parametrize(
    ("alias", "period"), [("@hourly-random", HOUR), ("@daily-random", 24 * HOUR), ("@weekly-random", 168 * HOUR)]
)
def test_a_random_alias_happens_once_in_its_period(alias: str, period: timedelta) -> None:
    cron = Cron.parse(alias, key="backup/7")
    first = cron.next_after(datetime(2026, 6, 1, tzinfo=UTC))

    assert cron.next_after(first) - first == period


def test_jitter_stays_below_its_limit_and_is_spread_over_it() -> None:
    delays = [jitter(str(number), HOUR) for number in range(1000)]

    assert all(timedelta() <= delay < HOUR for delay in delays)
    assert all(any(quarter * HOUR / 4 <= delay < (quarter + 1) * HOUR / 4 for delay in delays) for quarter in range(4))


def test_no_jitter_is_possible() -> None:
    assert jitter("backup/7", timedelta()) == timedelta()
