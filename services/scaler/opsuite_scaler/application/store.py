"""What scaling needs of its database."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from typing import Final, Protocol, TypeVar

from opsuite_runs.port import AuditEntry, Lease, Replay
from opsuite_scaler.application.records import (
    Activity,
    Happened,
    Observation,
    PolicyRecord,
    PoolRecord,
    TargetRecord,
)
from opsuite_scaler.domain.policy import TargetRef

T = TypeVar("T")


class Tx(Protocol):
    """One transaction. Nothing here waits for anything but the database."""

    def now(self) -> datetime:
        """The database's clock, the same for all replicas."""

    # --- calls

    def replayed(self, call: Replay) -> str | None:
        """The first answer to this call; None if it is new. Raises InvalidInput (REQUEST_ID_REUSED)."""

    def remember(self, call: Replay, answer: str) -> None:
        """Keep the answer to this call."""

    def audit(self, entry: AuditEntry) -> None:
        """Keep an act in the audit log together with what it did."""

    # --- policies

    def policy(self, policy: str) -> PolicyRecord | None:
        """A policy."""

    def policy_of(self, target: TargetRef) -> PolicyRecord | None:
        """The policy that looks after a target."""

    def add_policy(self, record: PolicyRecord) -> None:
        """Record a new policy and its target, not looked at yet. Raises TargetTaken, PolicyExists."""

    def put_policy(self, record: PolicyRecord) -> None:
        """Record a change of a policy."""

    def delete_policy(self, policy: str) -> None:
        """Forget a policy and all of its target but its events."""

    # --- targets

    def target(self, policy: str) -> TargetRecord | None:
        """A target."""

    def lock_target(self, policy: str) -> TargetRecord | None:
        """A target that nobody else changes before this transaction has ended."""

    def wish(self, policy: str, *, manual_until: datetime | None) -> int:
        """Tell the decider of a target that a person wants something: a look that has begun is void, the next is now.

        Keeps until when the size stays as a person set it; returns the number of the wish.
        """

    def record(self, lease: Lease, target: TargetRecord, *, despite_wishes: bool = False) -> None:
        """Keep what a look found, if the lease holds and no wish is newer than `target.wish`.

        Raises FencedOut (another owner, or the policy was deleted), Overtaken (a newer wish, unless `despite_wishes`);
        nothing is written then.
        """

    def append(self, policy: str, happened: Sequence[Happened]) -> None:
        """Tell what happened to a target, and count its revision on."""

    # --- activities

    def activity(self, policy: str, activity: str) -> Activity | None:
        """An activity with its steps and snapshot."""

    def add_activity(self, activity: Activity) -> None:
        """Record a new one."""

    def put_activity(self, activity: Activity) -> None:
        """Record what became of one."""

    def pending(self, policy: str) -> Sequence[Activity]:
        """Those of a policy that are recorded and not carried out, the oldest first."""

    # --- what was seen

    def observe(self, policy: str, observation: Observation) -> None:
        """Keep what was seen of a target."""

    def spend(self, policy: str, hour: datetime, replica_seconds: float) -> None:
        """Add to what a target has used within an hour."""

    def spent(self, policy: str, since: datetime) -> float:
        """Replica-seconds that a target has used since then, whole hours."""

    # --- pools

    def pool(self, pool: str) -> PoolRecord | None:
        """A pool."""

    def lock_pool(self, pool: str) -> None:
        """Let nobody else who shares a pool decide before this transaction has ended."""

    def add_pool(self, record: PoolRecord) -> None:
        """Record a new pool. Raises PoolExists."""

    def put_pool(self, record: PoolRecord) -> None:
        """Record a change of a pool."""

    def delete_pool(self, pool: str) -> None:
        """Forget a pool."""

    def sharers(self, pool: str) -> Sequence[tuple[PolicyRecord, TargetRecord]]:
        """The policies that share a pool, by name, and their targets."""

    # --- leases

    def claim(self, limit: int) -> Sequence[Lease]:
        """Take targets that nobody looks after, at most so many."""

    def take_over_all(self) -> Sequence[Lease]:
        """Take every target, whoever has it: only for the one process of a data directory, at its start."""

    def release(self, lease: Lease) -> None:
        """Let anybody claim the target at once."""


class Store(Protocol):
    """Runs transactions."""

    async def write(self, body: Callable[[Tx], T]) -> T:
        """What `body` returns, once it is durable and its events are told. Raises what `body` does, Unavailable."""

    async def read(self, body: Callable[[Tx], T]) -> T:
        """What `body` returns, of one consistent view. Raises what `body` does, Unavailable."""


class Overtaken(Exception):
    """A person has wanted something since the look began: look again."""


class Leases(Protocol):
    """Keeps leases alive; fits `opsuite_runs.keeper.LeaseKeeper`."""

    def hold(self, lease: Lease) -> None:
        """Renew it from now on."""

    def drop(self, run: str) -> None:
        """Renew it no longer."""

    def held(self) -> Sequence[Lease]:
        """Those that are renewed."""

    def may_act(self, run: str) -> bool:
        """Whether nobody else can own the run now."""


HISTORY_EVERY: Final = timedelta(minutes=5)
"""Time between two observations that are kept, unless the forecast of a policy wants them closer."""
