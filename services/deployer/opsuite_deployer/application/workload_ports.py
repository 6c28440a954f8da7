"""What rollouts need from a transaction: the workloads that they look after, and the revisions of those."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from opsuite_deployer.domain.pipeline import WorkloadPlatform
from opsuite_platforms.port import WorkloadSpec


@dataclass(frozen=True, slots=True)
class WorkloadRecord:
    """A workload that rollouts look after. `id` is the last part of its resource name."""

    id: str
    pipeline: str
    environment: str
    """One pipeline in one environment looks after it; no other may."""
    stable: str | None = None
    """Revision that was promoted last."""
    rollout_of: str = ""
    """Deployment that is rolling it out; empty if none is."""


@dataclass(frozen=True, slots=True)
class RevisionRecord:
    """A revision of a workload, with what its platform has to know to run it."""

    name: str
    workload: str
    """Id of the workload."""
    spec: WorkloadSpec
    platform: WorkloadPlatform
    namespace: str
    deployment: str
    """Deployment that asked for it first."""
    created_at: datetime
    promoted_at: datetime | None = None
    """When it last became the stable one."""
    retire_at: datetime | None = None
    """When its replicas may go; None if that is not planned."""
    idle: bool = False
    """Whether they are gone."""
    routed_port: str = ""
    """Port of a replica that edges send requests to; empty means the first one."""


class WorkloadTx(Protocol):
    """Part of `ports.Tx`."""

    def workload(self, uid: str) -> WorkloadRecord | None:
        """A workload; None if no rollout has ever looked after it."""

    def workloads(self) -> Sequence[WorkloadRecord]:
        """All of them, by id."""

    def keep_workload(self, record: WorkloadRecord) -> None:
        """Record a workload, or how it is now."""

    def workload_revisions(self, workload: str) -> Sequence[RevisionRecord]:
        """Its revisions, those promoted last first and those never promoted last."""

    def keep_revision(self, record: RevisionRecord) -> None:
        """Record a revision, or how it is now; who asked for it first stays."""

    def retirable(self, now: datetime) -> Sequence[RevisionRecord]:
        """Revisions whose replicas may go by now."""

    def retired(self, record: RevisionRecord) -> None:
        """Record that its replicas are gone, unless somebody has use for it again since."""

    def forget_revision(self, record: RevisionRecord) -> None:
        """Forget a revision."""
