"""Revisions whose time has come go; one that a rollout has found use for meanwhile stays."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any, TypeVar

from fakes.clock import NOON, FakeClock
from fakes.platform import FakePlatform

from opsuite_deployer.application.retiring import Retiring
from opsuite_deployer.application.workload_ports import RevisionRecord, WorkloadRecord
from opsuite_deployer.domain.pipeline import WorkloadPlatform
from opsuite_platforms.port import WorkloadSpec

T = TypeVar("T")


def a_revision(name: str) -> RevisionRecord:
    spec = WorkloadSpec(name, "1.0", ("serve",), "/", replicas=2, part_of="web")
    return RevisionRecord(name, "web", spec, WorkloadPlatform.PROCESS, "", "d", NOON, retire_at=NOON)


@dataclass
class Revisions:
    """Fits what `Retiring` needs of a store: the revisions of one workload."""

    all: dict[str, RevisionRecord] = field(default_factory=dict)

    async def read(self, body: Callable[[Any], T]) -> T:
        return body(self)

    write = read

    def workload(self, uid: str) -> WorkloadRecord:
        return WorkloadRecord(uid, "shop", "staging", stable="web-0")

    def workload_revisions(self, workload: str) -> Sequence[RevisionRecord]:
        return list(self.all.values())

    def retirable(self, now: datetime) -> Sequence[RevisionRecord]:
        return [one for one in self.all.values() if one.retire_at is not None and one.retire_at <= now]

    def retired(self, record: RevisionRecord) -> None:
        self.all[record.name] = replace(self.all[record.name], retire_at=None, idle=True)


class SlowPlatform(FakePlatform):
    """One on which something happens while it scales."""

    def __init__(self, meanwhile: Callable[[], None]) -> None:
        super().__init__()
        self._meanwhile = meanwhile

    async def scale(self, name: str, replicas: int, *, expected: int | None = None, epoch: int | None = None) -> None:
        await super().scale(name, replicas, expected=expected, epoch=epoch)
        self._meanwhile()


async def test_a_revision_that_a_rollout_needs_again_meanwhile_is_left_alone() -> None:
    store = Revisions({name: a_revision(name) for name in ("web-1", "web-2")})

    def a_rollout_begins() -> None:
        store.all["web-2"] = replace(store.all["web-2"], retire_at=None)

    platform = SlowPlatform(a_rollout_begins)
    for revision in store.all.values():
        await platform.apply(revision.spec, epoch=1)
    platforms: Any = type("Platforms", (), {"workloads": lambda *_: platform})()
    any_store: Any = store

    await Retiring(any_store, platforms, FakeClock()).run()

    sizes = {name: (await platform.observe(name)).desired_replicas for name in store.all}
    assert sizes == {"web-1": 0, "web-2": 2}
    assert {one.name for one in store.all.values() if one.idle} == {"web-1"}
