"""How every call that changes something begins and ends within its transaction."""

from __future__ import annotations

from opsuite_runs.port import Call
from opsuite_scaler.application.store import Tx


def begin(tx: Tx, call: Call) -> str | None:
    """Audit the call; its first answer if it is a repeat of an earlier one, else None."""
    if call.audit:
        tx.audit(call.audit)
    return tx.replayed(call.replay) if call.replay else None


def finish(tx: Tx, call: Call, answer: str) -> None:
    """Keep the answer for repeats of the call."""
    if call.replay:
        tx.remember(call.replay, answer)
