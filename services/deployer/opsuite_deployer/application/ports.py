"""What the use cases need from the world, named after the need.

`Store.write` runs one synchronous function in one transaction; it never awaits, and what it raises undoes it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Protocol, TypeVar

from opsuite_deployer.application.workload_ports import WorkloadTx
from opsuite_deployer.domain.deployment import Deployment
from opsuite_deployer.domain.environment import EnvironmentLock
from opsuite_deployer.domain.pipeline import NotificationRule, Pipeline
from opsuite_deployer.domain.turn import Happened, Wish
from opsuite_notify.port import Message, SecretRef
from opsuite_platforms.port import OutputLine
from opsuite_runs.port import AuditEntry, Lease, Replay

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Revision:
    """A registered revision of a pipeline. `document` is its contract form, opaque here."""

    pipeline: Pipeline
    number: int
    document: bytes
    created_at: datetime
    created_by: str = ""
    deleted: bool = False

    @property
    def etag(self) -> str:
        """Changes with every registration."""
        return f'"{self.number}"'


@dataclass(frozen=True, slots=True)
class Standing:
    """A deployment as the store has it, with what only the store knows."""

    deployment: Deployment
    revision: int
    """Number of its last event."""
    queue_position: int = 0

    @property
    def etag(self) -> str:
        """Changes with every event."""
        return f'"{self.revision}"'


@dataclass(frozen=True, slots=True)
class Owned:
    """A deployment with the lease that lets this process act for it."""

    deployment: Deployment
    pipeline: Pipeline
    lease: Lease
    turn: int
    """Turns that were recorded so far; a write that names another number is refused."""
    fence: int
    """Grows with every claim of any deployment: by it a platform tells a late writer from the present owner."""


@dataclass(frozen=True, slots=True)
class FiledWish:
    """A wish and its number, by which the owner strikes it off."""

    id: int
    wish: Wish


@dataclass(frozen=True, slots=True)
class StepLine:
    """One line that a step wrote."""

    stage: str
    step: str
    attempt: int
    line: OutputLine


class Tx(WorkloadTx, Protocol):
    """One transaction. Nothing here waits for anything but the database."""

    # replay protection
    def replayed(self, call: Replay) -> str | None:
        """What the call returned when it was made first; None if it is new. Raises InvalidInput (REQUEST_ID_REUSED)."""

    def remember(self, call: Replay, result: str, now: datetime) -> None:
        """Keep what a call returned."""

    def audit(self, entry: AuditEntry) -> None:
        """Keep an act in the audit log."""

    # pipelines
    def revision_of(self, pipeline: str, number: int | None = None) -> Revision | None:
        """A revision, or the latest (also of a deleted pipeline); None if there is none."""

    def add_revision(self, revision: Revision) -> None:
        """Record a revision; it becomes the latest, and a deleted pipeline comes back."""

    def hide(self, pipeline: str) -> None:
        """Mark a pipeline as deleted."""

    # deployments
    def newest(self) -> str:
        """Id of the deployment that was asked for last, of all; empty if there is none."""

    def add(self, deployment: Deployment, happened: Sequence[Happened]) -> None:
        """Record a new deployment and its first events."""

    def get(self, uid: str, *, lock: bool = False) -> Standing | None:
        """A deployment with its parts; with `lock` nobody else changes it before this transaction ends."""

    def owned(self, lease: Lease) -> Owned:
        """A deployment with its recorded pipeline revision. Raises FencedOut."""

    def hold(self, lease: Lease) -> None:
        """Lock the row of a deployment that is ours until this transaction ends. Raises FencedOut."""

    def save(self, owned: Owned, after: Deployment, happened: Sequence[Happened]) -> Owned:
        """Record a turn of the owner: state and events together. Raises FencedOut, and then nothing is written."""

    def change(self, before: Deployment, after: Deployment, happened: Sequence[Happened]) -> None:
        """Record a change of a deployment that nobody owns, locked by `get` before."""

    def tell(self, deployment: Deployment, happened: Sequence[Happened]) -> None:
        """Record events of a locked deployment without changing it."""

    def holder(self, pipeline: str, environment: str) -> Deployment | None:
        """The deployment that holds the slot."""

    def is_touched_since(self, deployment: Deployment) -> bool:
        """Whether another deployment of its place began after it, or is there or waiting now."""

    def queue_length(self, pipeline: str, environment: str) -> int:
        """How many are queued."""

    def place_of(self, deployment: Deployment) -> int:
        """How many queued deployments go before it, and itself if it is one of them."""

    def waiting(self, pipeline: str, environment: str) -> Sequence[Deployment]:
        """Queued deployments, in the order in which they go."""

    def latest_stable(self, pipeline: str, environment: str, *, before: Deployment) -> Deployment | None:
        """The latest stable deployment that began before `before` did, not itself."""

    def stable_now(self, pipeline: str, environment: str) -> Deployment | None:
        """The stable deployment that began last."""

    def is_in_use(self, pipeline: str) -> Deployment | None:
        """A deployment of the pipeline that has not ended, if there is one."""

    # environments
    def now(self) -> datetime:
        """The database's clock, the same for all replicas: by it locks end."""

    def lock_of(self, pipeline: str, environment: str) -> EnvironmentLock | None:
        """The lock that holds now."""

    def put_lock(self, lock: EnvironmentLock) -> None:
        """Keep a lock in place of the one that is there."""

    def drop_lock(self, pipeline: str, environment: str) -> None:
        """Forget a lock."""

    def expired_locks(self) -> Sequence[EnvironmentLock]:
        """Locks whose time is over; until they are dropped, those who wait go on waiting."""

    # queue and ownership
    def serialise_admission(self) -> None:
        """Let no other transaction admit before this one ends."""

    def active_count(self) -> int:
        """Deployments that hold a slot and have not ended, over all replicas."""

    def admissible(self, limit: int) -> Sequence[Deployment]:
        """Queued deployments whose environment is free, each the first there that no lock keeps out, in order."""

    def claim(self, uid: str) -> Lease | None:
        """Take a deployment that nobody owns for this process."""

    def release(self, lease: Lease) -> None:
        """Give a deployment back: anybody may claim it at once."""

    def given_back(self) -> Sequence[str]:
        """Deployments at work that their last owner let go of in good order, and nobody has claimed since."""

    def claim_orphans(self, limit: int, *, but: Sequence[str]) -> Sequence[Lease]:
        """Take deployments at work whose owner is gone, but for those that run here whatever their lease says."""

    def take_over_all(self) -> Sequence[Lease]:
        """Take every deployment at work, whoever owns it: only for who holds the data directory alone."""

    # wishes
    def file_wish(self, uid: str, wish: Wish, now: datetime) -> None:
        """Put a wish where the owner finds it."""

    def wishes(self, uid: str) -> Sequence[FiledWish]:
        """Wishes not struck off, oldest first."""

    def strike_off(self, ids: Sequence[int]) -> None:
        """Remove wishes that were taken in."""

    def with_wishes(self, uids: Sequence[str]) -> Sequence[str]:
        """Those of `uids` that have wishes."""

    # logs and notifications
    def add_lines(self, uid: str, first: int, lines: Sequence[StepLine]) -> None:
        """Record log lines, numbered from `first`."""

    def count_lines(self, uid: str, stage: str, step: str, attempt: int) -> int:
        """Lines recorded of one attempt of a step."""

    def last_line(self, uid: str) -> int:
        """Number of the last log line; 0 if there is none."""

    def tell_people(self, deployment: Deployment, rules: Sequence[NotificationRule], message: Message) -> None:
        """Put a message in the outbox, once for each rule."""


class Leases(Protocol):
    """The leases of this process, kept alive."""

    def hold(self, lease: Lease) -> None:
        """Renew it from now on."""

    def drop(self, run: str) -> None:
        """Renew it no longer."""

    def held(self) -> Sequence[Lease]:
        """Those that are renewed."""

    def may_act(self, run: str) -> bool:
        """Whether it was renewed so lately that nobody else can own the run."""


class Store(Protocol):
    """Where pipelines and deployments are kept. Events of a transaction reach watchers when it has committed."""

    async def write(
        self,
        body: Callable[[Tx], T],
        then: Callable[[T], None] | None = None,
        at_commit: Callable[[T], None] | None = None,
    ) -> T:
        """Run `body` in one transaction; what it wrote is durable when this returns. Raises what `body` raises.

        `then` gets what it returned when it is durable, also when the caller is cancelled meanwhile. `at_commit` gets
        it sooner, maybe in another thread: it neither waits nor raises.
        """

    async def read(self, body: Callable[[Tx], T]) -> T:
        """Run `body` on one consistent view."""


@dataclass(frozen=True, slots=True)
class Problem:
    """A preflight check and what it found."""

    subject: str
    passed: bool
    message: str
    field: str = ""
    refused: bool = False
    """Whether the command policy refuses it, which is a security event."""


class Machine(Protocol):
    """The machine that command steps run on. Every question is answered anew: links and files may change."""

    def judge(self, command: str, args: Sequence[str], directory: str | None = None) -> Sequence[str]:
        """What the command policy has against an argument vector; empty if nothing.

        With the directory it is to run in, also where its paths lead through links.
        """

    def judge_workload(self, command: Sequence[str]) -> Sequence[str]:
        """What the command policy has against a workload's argument vector; empty if nothing."""

    def workload(self, command: Sequence[str], directory: str) -> tuple[str, ...]:
        """A workload's argument vector with the absolute path of its program. Raises InvalidInput."""

    def program(self, command: str) -> str:
        """Absolute path of an allowed program. Raises InvalidInput."""

    def directory(self, path: str) -> str:
        """Absolute path of a directory below the roots, links resolved. Raises InvalidInput."""

    def free_bytes(self) -> int:
        """Space left where the service keeps its data and the roots are; the least of them."""

    def search_path(self) -> str:
        """Value of PATH for programs: the trusted directories."""

    def secret(self, ref: SecretRef) -> str:
        """The secret. Raises InvalidInput when it is not allowed or not there."""


class SecurityLog(Protocol):
    """Where attempts are kept that the command policy refused."""

    async def command_rejected(self, deployment: Deployment, step: str, problems: Sequence[str]) -> None:
        """Keep it durably before returning."""


@dataclass(frozen=True, slots=True)
class CommandDefaults:
    """Limits of command steps that say nothing themselves."""

    memory_bytes: int | None = None
    file_size_bytes: int | None = None
    output_bytes: int = 1_048_576
    grace: timedelta = timedelta(seconds=5)
