from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from opsuite_repository.errors import Malformed
from opsuite_repository.format.locks import Lock, conflicting, is_stale, parse
from opsuite_repository.format.times import Instant, from_datetime

NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)


def a_lock(age: timedelta = timedelta(0), **changed: Any) -> Lock:
    given: dict[str, Any] = {"exclusive": False, "hostname": "here", "username": "me", "pid": 7}
    return Lock(**{**given, "time": from_datetime(NOON - age), **changed})


def test_a_lock_is_written_as_restic_does_and_comes_back() -> None:
    lock = a_lock(uid=5)
    assert lock.encode() == (
        b'{"time":"2026-01-01T12:00:00Z","exclusive":false,"hostname":"here","username":"me","pid":7,"uid":5}'
    )
    assert parse(lock.encode()) == lock


@pytest.mark.parametrize("document", [b"{}", b"[]", b'{"time":"2026-01-01T12:00:00Z","pid":"x"}'])
def test_what_is_no_lock_is_refused(document: bytes) -> None:
    with pytest.raises(Malformed):
        parse(document)


@pytest.mark.parametrize(
    ("others", "exclusive", "kept_out"),
    [
        ([], True, False),
        ([False], False, False),
        ([False], True, True),
        ([True], False, True),
        ([False, True], True, True),
    ],
)
def test_shared_locks_bear_each_other_and_an_exclusive_one_nobody(
    others: list[bool], exclusive: bool, kept_out: bool
) -> None:
    found = conflicting([a_lock(exclusive=each) for each in others], exclusive=exclusive)
    assert (found is not None) is kept_out


def test_the_one_that_keeps_others_out_is_named() -> None:
    holder = a_lock(exclusive=True, pid=9)
    assert conflicting([a_lock(), holder], exclusive=False) is holder
    assert str(holder) == "exclusively process 9 of me on here since 2026-01-01T12:00:00Z"


@pytest.mark.parametrize(
    ("age", "hostname", "is_alive", "stale"),
    [
        (timedelta(minutes=30), "there", False, False),
        (timedelta(minutes=30, microseconds=1), "there", True, True),
        (timedelta(0), "here", False, True),
        (timedelta(0), "here", True, False),
        (timedelta(0), "there", False, False),
        (timedelta(hours=-5), "there", False, False),
    ],
)
def test_a_lock_is_stale_by_age_or_when_its_process_here_is_gone(
    age: timedelta, hostname: str, is_alive: bool, stale: bool
) -> None:
    assert is_stale(a_lock(age, hostname=hostname), now=NOON, hostname="here", is_alive=is_alive) is stale


def test_the_zone_of_a_lock_changes_nothing() -> None:
    lock = a_lock(timedelta(minutes=31), hostname="there")
    elsewhere = a_lock(hostname="there", time=Instant(lock.time.ns, -300))
    assert is_stale(elsewhere, now=NOON, hostname="here", is_alive=True)
