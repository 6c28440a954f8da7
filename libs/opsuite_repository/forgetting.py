"""Removing snapshots, by a policy or by name. What they alone referred to stays until `prune`."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from datetime import datetime
from typing import ClassVar, NamedTuple

from opsuite_kernel.errors import Conflict, OpsuiteError
from opsuite_repository.choosing import DEFAULT_GROUPS, GroupBy, GroupKey, Saved, grouped
from opsuite_repository.repository import Repository
from opsuite_repository.retention import Policy, Verdict, plan
from opsuite_repository.storage.port import FileType


class NothingKept(Conflict):
    """The policy would keep none of a group's snapshots. Nothing was removed of any group."""

    reason: ClassVar[str] = "NOTHING_KEPT"

    def __init__(self, key: GroupKey) -> None:
        super().__init__(f"the policy keeps none of the snapshots of {key}", metadata={"group": str(key)})
        self.key = key


class GroupPlan(NamedTuple):
    """What a policy means for one group."""

    key: GroupKey
    verdicts: list[Verdict]
    """Newest first."""

    @property
    def kept(self) -> list[Saved]:
        """Those that stay."""
        return [verdict.saved for verdict in self.verdicts if verdict.keep]

    @property
    def removed(self) -> list[Saved]:
        """Those that go."""
        return [verdict.saved for verdict in self.verdicts if not verdict.keep]


class ForgetReport(NamedTuple):
    """What came of it."""

    removed: list[str]
    failed: list[tuple[str, str]]
    """Ids of snapshots that are still there, and why."""


def plan_groups(
    snapshots: Iterable[Saved], policy: Policy, *, now: datetime, by: Iterable[GroupBy] = DEFAULT_GROUPS
) -> list[GroupPlan]:
    """The plan of each group. Raises NothingKept, as restic does, unless the policy is empty: then all go."""
    plans = [GroupPlan(key, plan(group, policy, now=now)) for key, group in grouped(snapshots, by).items()]
    for each in plans:
        if policy and not each.kept:
            raise NothingKept(each.key)
    return plans


def forget(repository: Repository, ids: Iterable[str], *, guard: Callable[[], None] | None = None) -> ForgetReport:
    """Remove snapshots; those that cannot be removed are reported, and the others go. Repeating it is fine.

    The caller holds the exclusive lock; `guard` is asked before each and raises when it was lost.
    """
    report = ForgetReport([], [])
    for id_ in ids:
        if guard is not None:
            guard()
        try:
            repository.storage.delete(FileType.SNAPSHOT, id_)
            report.removed.append(id_)
        except OpsuiteError as error:
            report.failed.append((id_, error.message))
    return report
