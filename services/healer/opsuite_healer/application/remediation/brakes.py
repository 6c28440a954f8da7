"""Brakes as people see them and let go of them: the pause of the healer, and circuits."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from opsuite_healer.application.remediation.errors import CircuitNotFound
from opsuite_healer.application.remediation.records import PART
from opsuite_healer.application.remediation.store import Store, Tx
from opsuite_healer.application.unit import begin, finish
from opsuite_healer.domain.remediation.circuit import Circuit
from opsuite_healer.domain.remediation.gates import Pause, pause_gate
from opsuite_healer.domain.targets import TargetRef
from opsuite_kernel.errors import InvalidInput, Violation
from opsuite_runs.port import Call


@dataclass(frozen=True, slots=True)
class Healer:
    """The healer as a whole."""

    pause: Pause | None
    remediations: Mapping[str, int]
    """That are not over, by state."""


class BrakesOfPeople:
    """The use cases."""

    def __init__(self, store: Store) -> None:
        self._store = store

    async def healer(self) -> Healer:
        """How it stands."""
        return await self._store.read(_healer)

    async def pause(self, reason: str, until: datetime | None, call: Call) -> Healer:
        """Begin no action any more. Raises InvalidInput (until)."""

        def body(tx: Tx) -> Healer:
            if begin(tx, call) is None:
                if until is not None and until <= tx.now():
                    raise InvalidInput([Violation("until", "is not in the future", "PAST")])
                tx.set_pause(Pause(reason, call.actor, until))
                finish(tx, call, "")
            return _healer(tx)

        return await self._store.write(body)

    async def resume(self, call: Call) -> Healer:
        """End a pause; those who were held look again."""

        def body(tx: Tx) -> Healer:
            if begin(tx, call) is None:
                tx.set_pause(None)
                finish(tx, call, "")
                for held in tx.held(""):
                    tx.nudge(PART, held)
            return _healer(tx)

        return await self._store.write(body)

    async def reset(self, target: TargetRef, action: str, call: Call) -> Circuit:
        """Close a circuit and forget what it counted. Raises CircuitNotFound."""
        name = target.canonical

        def body(tx: Tx) -> Circuit:
            if begin(tx, call) is None:
                if action not in tx.circuits(name):
                    raise CircuitNotFound(name, action)
                tx.put_circuit(name, action, Circuit())
                finish(tx, call, "")
                for held in tx.held(""):
                    tx.nudge(PART, held)
            return tx.circuits(name).get(action, Circuit())

        return await self._store.write(body)


def _healer(tx: Tx) -> Healer:
    pause = tx.pause()
    return Healer(None if pause_gate(pause, tx.now()).is_open else pause, tx.counts())
