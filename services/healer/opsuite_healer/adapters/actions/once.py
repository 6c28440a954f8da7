"""Remembers that an act has begun, for acts that must not be repeated when nobody knows how they ended."""

from __future__ import annotations

import hashlib
import json
import uuid
from typing import Final

from opsuite_healer.adapters.unit import SqlStore, SqlUnit
from opsuite_healer.application.actions import ActionCall
from opsuite_runs.port import Replay

BEGUN: Final = "begun"


class Once:
    """Keeps one row for each act, beside the repeated calls of RPCs and for as long as those."""

    def __init__(self, store: SqlStore) -> None:
        self._store = store

    async def begin(self, call: ActionCall) -> bool:
        """Whether this is the first time; from now on it is not."""
        return await self._store.write(lambda unit: begin(unit, call))


def begin(unit: SqlUnit, call: ActionCall) -> bool:
    """The same inside a transaction, together with what the act writes."""
    replay = _replay_of(call)
    if unit.replayed(replay) is not None:
        return False
    unit.remember(replay, BEGUN)
    return True


def request_id_of(call: ActionCall) -> str:
    """The UUID that names an act to those that are asked to do it."""
    try:
        return str(uuid.UUID(call.key))
    except ValueError:
        return str(uuid.uuid5(uuid.NAMESPACE_URL, call.key))


def _replay_of(call: ActionCall) -> Replay:
    written = json.dumps([call.spec.kind, dict(call.spec.params)], sort_keys=True)
    fingerprint = hashlib.sha256(written.encode()).digest()
    return Replay(call.actor, f"actions/{call.spec.kind}", call.key, fingerprint)
