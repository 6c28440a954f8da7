from __future__ import annotations

import threading

import pytest

from opsuite_repository.errors import Cancelled
from opsuite_repository.pipeline.work import Budget, Course

LONG = 60.0
"""Seconds, only to end a hang."""


def test_the_first_failure_ends_it_for_all() -> None:
    course, woken = Course(), list[str]()
    course.on_failure(lambda: woken.append("before"))

    with course.guarded():
        raise ValueError("first")
    with course.guarded():
        raise ValueError("second")
    course.on_failure(lambda: woken.append("after"))

    with pytest.raises(ValueError, match="first"):
        course.check()
    assert course.has_failed
    assert woken == ["before", "after"]


def test_a_wish_to_stop_and_a_lost_lock_are_noticed() -> None:
    cancelled = threading.Event()
    course = Course(cancelled)
    course.check()
    cancelled.set()
    with pytest.raises(Cancelled):
        course.check()

    def guard() -> None:
        raise PermissionError("lost")

    with pytest.raises(PermissionError, match="lost"):
        Course(None, guard).check()


def test_who_wants_more_than_there_is_waits_until_it_is_given_back() -> None:
    budget, got = Budget(10), threading.Event()
    taken = budget.take(7)

    def wanting() -> None:
        budget.give(budget.take(4))
        got.set()

    thread = threading.Thread(target=wanting)
    thread.start()
    budget.give(budget.take(3))
    assert not got.is_set()
    budget.give(taken)
    assert got.wait(LONG)
    thread.join(LONG)


def test_who_wants_more_than_all_gets_all() -> None:
    budget = Budget(10)
    assert budget.take(1000) == 10
    budget.give(10)
    assert budget.take(10) == 10
