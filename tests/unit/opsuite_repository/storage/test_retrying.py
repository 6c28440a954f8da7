"""How often a storage is asked again, and how long it is left alone in between."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta

import pytest

from opsuite_kernel.errors import OpsuiteError
from opsuite_repository.errors import Damaged, FileMissing, StorageDenied, StorageFull, StorageUnavailable
from opsuite_repository.storage.retrying import Patience, persist


def failing(*errors: OpsuiteError) -> Callable[[], str]:
    """An action that fails so, one error a call, and then succeeds."""
    left = list(errors)

    def act() -> str:
        if left:
            raise left.pop(0)
        return "done"

    return act


def test_what_is_unavailable_is_asked_again_until_the_attempts_are_used_up() -> None:
    waits: list[float] = []
    lost = [StorageUnavailable(str(number)) for number in range(4)]

    assert persist(failing(*lost[:3]), Patience(attempts=4), sleep=waits.append) == "done"
    assert len(waits) == 3
    with pytest.raises(StorageUnavailable, match="3"):
        persist(failing(*lost), Patience(attempts=4), sleep=waits.append)


def test_damage_on_the_way_is_asked_for_again_once_and_without_waiting() -> None:
    waits: list[float] = []

    assert persist(failing(Damaged("f", "x")), Patience(), sleep=waits.append) == "done"
    with pytest.raises(Damaged):
        persist(failing(Damaged("f", "x"), Damaged("f", "x")), Patience(), sleep=waits.append)
    assert waits == []


@pytest.mark.parametrize("error", [FileMissing("f"), StorageDenied("no"), StorageFull("full")])
def test_an_answer_is_final(error: OpsuiteError) -> None:
    with pytest.raises(type(error)):
        persist(failing(error), Patience(), sleep=lambda _: None)


def test_waits_double_up_to_the_longest_and_spread() -> None:
    patience = Patience(first_wait=1.0, longest_wait=10.0)

    assert [patience.wait(attempt, None, 0.0) for attempt in (1, 2, 3, 4, 5, 60)] == [1, 2, 4, 8, 10, 10]
    assert patience.wait(3, None, 1.0) == 2


def test_the_server_may_ask_for_a_longer_wait_within_bounds() -> None:
    waits: list[float] = []
    patience = Patience(first_wait=1.0, longest_wait=10.0)
    asked = [StorageUnavailable("busy", retry_after=timedelta(seconds=seconds)) for seconds in (7, 3600)]

    persist(failing(*asked), patience, sleep=waits.append)

    assert waits == [7, 10]
