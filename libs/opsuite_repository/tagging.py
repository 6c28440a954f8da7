"""Giving snapshots other tags. A snapshot is never changed: one with other tags takes its place, and has another id."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from typing import NamedTuple

from opsuite_kernel.errors import InvalidInput, Violation
from opsuite_repository.choosing import Saved
from opsuite_repository.repository import Repository
from opsuite_repository.storage.port import FileType


@dataclass(frozen=True, slots=True, kw_only=True)
class TagChange:
    """What becomes of the tags. Raises InvalidInput when it says nothing, or two things at once."""

    set_to: tuple[str, ...] | None = None
    """Exactly these; () for none."""
    add: tuple[str, ...] = ()
    remove: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if (self.set_to is None) == (not self.add and not self.remove):
            raise InvalidInput([Violation("tags", "either set them, or add and remove some", "REQUIRED")])

    def of(self, tags: tuple[str, ...]) -> tuple[str, ...]:
        """The tags after it; the order stays, and nothing is there twice."""
        wanted = (*tags, *self.add) if self.set_to is None else self.set_to
        return tuple(tag for tag in dict.fromkeys(wanted) if tag and tag not in self.remove)


class Tagged(NamedTuple):
    """A snapshot that was replaced."""

    old_id: str
    new_id: str


def tag(
    repository: Repository,
    snapshots: Iterable[Saved],
    change: TagChange,
    *,
    guard: Callable[[], None] | None = None,
) -> list[Tagged]:
    """Replace those whose tags the change affects. The caller holds the exclusive lock; `guard` raises when it is lost.

    The new snapshot is stored before the old one goes: a crash in between leaves both, and the next try removes one.
    """
    done = []
    for id_, snapshot in snapshots:
        tags = change.of(snapshot.tags)
        if tags == snapshot.tags:
            continue
        if guard is not None:
            guard()
        changed = replace(snapshot, tags=tags, original=snapshot.original or id_)
        new_id = repository.write_document(FileType.SNAPSHOT, changed.encode())
        repository.storage.delete(FileType.SNAPSHOT, id_)
        done.append(Tagged(id_, new_id))
    return done
