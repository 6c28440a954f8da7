"""One transaction, as every part knows it. What a part reads and writes beyond this is a port of its own.

A part's own transaction is made over a unit, so that what passes from part to part (a check finds trouble, an incident
is opened) is written together, or not at all.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Protocol, TypeVar

from opsuite_runs.port import AuditEntry, Call, Replay

T = TypeVar("T")
Tx_co = TypeVar("Tx_co", covariant=True)


class Unit(Protocol):
    """One transaction. Nothing here waits for anything but the database."""

    def now(self) -> datetime:
        """The database's clock, the same for all replicas and through the whole transaction."""

    def replayed(self, call: Replay) -> str | None:
        """The first answer to this call; None if it is new. Raises InvalidInput (REQUEST_ID_REUSED)."""

    def remember(self, call: Replay, answer: str) -> None:
        """Keep the answer to this call."""

    def audit(self, entry: AuditEntry) -> None:
        """Keep an act in the audit log together with what it did."""

    def tell(self, resource: str, revision: int, payload: bytes) -> None:
        """Append an event to the log: the next revision of the resource, and a message of the contract."""

    def nudge(self, part: str, run: str = "") -> None:
        """Once this is durable, let `part` know, here and in other replicas, that a run wants to be looked at."""


class Store(Protocol[Tx_co]):
    """Runs transactions of one part."""

    async def write(self, body: Callable[[Tx_co], T]) -> T:
        """What `body` returns, once it is durable and its events are told. Raises what `body` does, Unavailable."""

    async def read(self, body: Callable[[Tx_co], T]) -> T:
        """What `body` returns, of one consistent view. Raises what `body` does, Unavailable."""


def begin(unit: Unit, call: Call) -> str | None:
    """Audit a call that changes something; its first answer if it is a repeat of an earlier one, else None."""
    if call.audit:
        unit.audit(call.audit)
    return unit.replayed(call.replay) if call.replay else None


def finish(unit: Unit, call: Call, answer: str) -> None:
    """Keep the answer for repeats of the call."""
    if call.replay:
        unit.remember(call.replay, answer)
