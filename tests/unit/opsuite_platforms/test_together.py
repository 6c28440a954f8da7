from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence

import pytest

from opsuite_platforms.together import Together

PATIENCE = 30.0
"""Seconds that only end a hang."""


class Asked:
    """Answers with ten times the number, one round at a time, each when it is let go."""

    def __init__(self) -> None:
        self.rounds: list[Sequence[int]] = []
        self.begun = threading.Semaphore(0)
        self._go = threading.Semaphore(0)

    def answer(self, numbers: Sequence[int]) -> Sequence[int | Exception]:
        self.rounds.append(numbers)
        self.begun.release()
        assert self._go.acquire(timeout=PATIENCE)
        return [ValueError(number) if number < 0 else number * 10 for number in numbers]

    def let_go(self, rounds: int = 1) -> None:
        self._go.release(rounds)


@pytest.fixture
def asked() -> Asked:
    return Asked()


@pytest.fixture
def together(asked: Asked) -> Iterator[Together[int, int]]:
    together = Together(asked.answer)
    yield together
    together.close()


def test_who_asks_during_a_round_is_answered_by_the_next_one_with_all_others(
    asked: Asked, together: Together[int, int]
) -> None:
    first = together.ask(1)
    assert asked.begun.acquire(timeout=PATIENCE)
    others = [together.ask(2), together.ask(3)]
    asked.let_go(2)

    assert [one.result(PATIENCE) for one in (first, *others)] == [10, 20, 30]
    assert asked.rounds == [[1], [2, 3]]


def test_an_answer_that_is_an_exception_is_for_the_one_who_asked(asked: Asked, together: Together[int, int]) -> None:
    first = together.ask(1)
    assert asked.begun.acquire(timeout=PATIENCE)
    bad, good = together.ask(-2), together.ask(3)
    asked.let_go(2)

    with pytest.raises(ValueError, match="-2"):
        bad.result(PATIENCE)
    assert (first.result(PATIENCE), good.result(PATIENCE)) == (10, 30)


def test_a_round_that_fails_fails_for_all_and_the_next_one_goes_on() -> None:
    faults = [OSError("gone")]

    def answer(numbers: Sequence[int]) -> Sequence[int | Exception]:
        if faults:
            raise faults.pop()
        return numbers

    together = Together(answer)
    with pytest.raises(OSError, match="gone"):
        together.ask(1).result(PATIENCE)

    assert together.ask(7).result(PATIENCE) == 7
    together.close()


def test_who_no_longer_waits_is_not_asked_for(asked: Asked, together: Together[int, int]) -> None:
    first = together.ask(1)
    assert asked.begun.acquire(timeout=PATIENCE)
    given_up, other = together.ask(2), together.ask(3)
    assert given_up.cancel()
    asked.let_go(2)

    assert (first.result(PATIENCE), other.result(PATIENCE)) == (10, 30)
    assert asked.rounds == [[1], [3]]
