"""Removing snapshots and changing their tags, on a repository in memory."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from fakes.memory_storage import MemoryStorage

from opsuite_kernel.errors import InvalidInput
from opsuite_repository.choosing import Saved
from opsuite_repository.errors import StorageDenied
from opsuite_repository.forgetting import forget
from opsuite_repository.format import keys
from opsuite_repository.format.snapshots import Snapshot
from opsuite_repository.format.times import Instant
from opsuite_repository.repository import Repository
from opsuite_repository.storage.port import FileType
from opsuite_repository.tagging import TagChange, tag


class Keeping(MemoryStorage):
    """Does not let one file be deleted."""

    def __init__(self) -> None:
        super().__init__()
        self.kept = ""

    def delete(self, kind: FileType, name: str) -> None:
        if name == self.kept:
            raise StorageDenied("it stays")
        super().delete(kind, name)


class Lost(Exception):
    """The lock is gone."""


def a_guard(checks: int) -> Callable[[], None]:
    """Passes so many times."""
    left = iter(range(checks))

    def check() -> None:
        if next(left, None) is None:
            raise Lost

    return check


@pytest.fixture
def storage() -> Keeping:
    return Keeping()


@pytest.fixture
def repository(storage: Keeping) -> Repository:
    return Repository.init(storage, "x", cost=keys.Cost(n=2, r=1, p=1))


def saved(repository: Repository, *tags: str, original: str | None = None, ns: int = 0) -> Saved:
    snapshot = Snapshot(
        time=Instant(ns), tree=bytes(31) + b"1", paths=("/",), tags=tags, original=original, unknown={"rustic": 1}
    )
    return Saved(repository.write_document(FileType.SNAPSHOT, snapshot.encode()), snapshot)


def names(repository: Repository) -> set[str]:
    return {file.name for file in repository.storage.list(FileType.SNAPSHOT)}


def test_what_cannot_be_removed_is_told_and_the_others_go(repository: Repository, storage: Keeping) -> None:
    first, second, third = (saved(repository, ns=ns).id for ns in range(3))
    storage.kept = second

    report = forget(repository, [first, second, third])

    assert report.removed == [first, third]
    assert report.failed == [(second, "it stays")]
    assert names(repository) == {second}


def test_nothing_is_removed_once_the_lock_is_lost(repository: Repository) -> None:
    first, second = (saved(repository, ns=ns).id for ns in range(2))

    with pytest.raises(Lost):
        forget(repository, [first, second], guard=a_guard(1))

    assert names(repository) == {second}


def test_forgetting_what_is_gone_is_fine(repository: Repository) -> None:
    one = saved(repository).id

    assert forget(repository, [one, one]).failed == []


@pytest.mark.parametrize(
    ("change", "before", "after"),
    [
        (TagChange(add=("b", "a")), ("a",), ("a", "b")),
        (TagChange(remove=("a", "x")), ("a", "b"), ("b",)),
        (TagChange(add=("b",), remove=("b",)), ("a",), ("a",)),
        (TagChange(set_to=("b", "b", "")), ("a",), ("b",)),
        (TagChange(set_to=()), ("a",), ()),
    ],
)
def test_tags_are_set_added_and_removed(change: TagChange, before: tuple[str, ...], after: tuple[str, ...]) -> None:
    assert change.of(before) == after


def test_a_change_says_one_thing() -> None:
    with pytest.raises(InvalidInput):
        TagChange()
    with pytest.raises(InvalidInput):
        TagChange(set_to=("a",), add=("b",))


def test_the_new_snapshot_is_stored_before_the_old_one_goes_and_names_the_first(
    repository: Repository, storage: Keeping
) -> None:
    old = saved(repository, "a")
    storage.log.clear()

    (done,) = tag(repository, [old], TagChange(add=("b",)))
    again = tag(repository, [Saved(done.new_id, repository.read_snapshot(done.new_id))], TagChange(add=("c",)))

    assert storage.log[:2] == ["write snapshots", "delete snapshots"]
    assert names(repository) == {again[0].new_id}
    changed = repository.read_snapshot(again[0].new_id)
    assert (changed.tags, changed.original, changed.unknown) == (("a", "b", "c"), old.id, {"rustic": 1})


def test_a_snapshot_that_has_the_tags_already_is_left_alone(repository: Repository) -> None:
    old = saved(repository, "a", "b")

    assert tag(repository, [old], TagChange(add=("a",))) == []
    assert names(repository) == {old.id}


def test_no_tags_change_once_the_lock_is_lost(repository: Repository) -> None:
    both = [saved(repository, ns=ns) for ns in range(2)]

    with pytest.raises(Lost):
        tag(repository, both, TagChange(add=("a",)), guard=a_guard(1))

    assert both[0].id not in names(repository)
    assert both[1].id in names(repository)
