"""The watch stream of the contract, over the hub. Answers are serialised once for all watchers at the same place."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import aclosing
from datetime import timedelta
from typing import Final

import sqlalchemy as sa

from opsuite.scaler.v1 import decision_pb2
from opsuite.scaler.v1 import scaler_service_pb2 as pb
from opsuite_kernel.clock import Clock
from opsuite_rpc.values import timestamp
from opsuite_runs import events as event_log
from opsuite_runs import tokens
from opsuite_runs.watch import Batch, Hub, Idle
from opsuite_scaler.adapters import tables
from opsuite_scaler.adapters.calls import policy_id
from opsuite_scaler.adapters.database import SqlStore, SqlTx
from opsuite_scaler.adapters.decision_messages import status_message
from opsuite_scaler.adapters.policy_names import POLICIES
from opsuite_scaler.adapters.queries import ANY
from opsuite_scaler.application.errors import PolicyNotFound
from opsuite_scaler.application.policies import stand

DEFAULT_HEARTBEAT: Final = timedelta(seconds=15)
DEFAULT_BATCH: Final = 64
MOST_SHOWN: Final = 1000
"""Targets in a snapshot of all."""
ALL: Final = POLICIES + ANY


class Watches:
    """Serves WatchScalingStatus."""

    def __init__(self, store: SqlStore, hub: Hub, clock: Clock, life: str) -> None:
        self._store = store
        self._hub = hub
        self._clock = clock
        self._life = life

    async def follow(self, request: pb.WatchScalingStatusRequest) -> AsyncIterator[bytes]:
        """A snapshot unless it resumes, then every event after it; the end after that of a deleted policy."""
        follows = tokens.FEED if request.name == ALL else request.name
        after, is_over, first = await self._store.read(lambda tx: self._begin(tx, request))
        if first is not None:
            yield first.SerializeToString()
        if is_over:
            return
        heartbeat = request.heartbeat.ToTimedelta() if request.HasField("heartbeat") else DEFAULT_HEARTBEAT
        most = request.max_batch if request.HasField("max_batch") else DEFAULT_BATCH
        async with aclosing(self._hub.follow(follows, after, max_batch=most, heartbeat=heartbeat)) as answers:
            async for answer in answers:
                yield self._rendered(request.name, answer)
                if follows != tokens.FEED and isinstance(answer, Batch) and _is_last(answer):
                    return

    def _begin(
        self, tx: SqlTx, request: pb.WatchScalingStatusRequest
    ) -> tuple[int, bool, pb.WatchScalingStatusResponse | None]:
        """The number after which to go on, whether nothing will come, and what to begin with."""
        latest, is_over = self._latest(tx, request.name, resumes=bool(request.resume_token))
        if request.resume_token:
            after = tokens.decode(request.resume_token, life=self._life, follows=request.name, latest=latest)
            return after, is_over and after == latest, None
        statuses = self._all(tx) if request.name == ALL else [self._one(tx, policy_id(request.name))]
        first = pb.WatchScalingStatusResponse(
            snapshot=pb.StatusSnapshot(statuses=statuses),
            resume_token=tokens.encode(self._life, request.name, latest),
            server_time=timestamp(self._clock.now()),
        )
        return latest, False, first

    def _latest(self, tx: SqlTx, name: str, *, resumes: bool) -> tuple[int, bool]:
        """Number of the last event, and whether no other can follow it. Raises PolicyNotFound."""
        if name == ALL:
            return event_log.head(tx.connection, tables.events), False
        target = tx.target(policy_id(name))
        if target is not None:
            return target.revision, False
        c = tables.events.events.c
        last: int | None = tx.connection.execute(
            sa.select(sa.func.max(c.revision)).where(c.resource == name)
        ).scalar_one()
        if last is None or not resumes:
            raise PolicyNotFound(policy_id(name))
        return last, True

    def _one(self, tx: SqlTx, policy: str) -> decision_pb2.ScalingStatus:
        standing = stand(tx, policy)
        return status_message(standing.record, standing.target, standing.last, self._clock.now())

    def _all(self, tx: SqlTx) -> list[decision_pb2.ScalingStatus]:
        statement = sa.select(tables.policies.c.id).order_by(tables.policies.c.id).limit(MOST_SHOWN)
        return [self._one(tx, policy) for policy in tx.connection.execute(statement).scalars()]

    def _rendered(self, name: str, answer: Batch | Idle) -> bytes:
        if isinstance(answer, Batch) and (known := answer.memo.get(name)) is not None:
            rendered: bytes = known
            return rendered
        message = pb.WatchScalingStatusResponse(
            resume_token=tokens.encode(self._life, name, answer.last), server_time=timestamp(self._clock.now())
        )
        if isinstance(answer, Idle):
            message.bookmark.SetInParent()
            return message.SerializeToString()
        for event in answer.events:
            message.events.add().MergeFromString(event.payload)
        rendered = answer.memo[name] = message.SerializeToString()
        return rendered


def _is_last(batch: Batch) -> bool:
    last = decision_pb2.ScalingEvent.FromString(batch.events[-1].payload)
    return last.kind == decision_pb2.SCALING_EVENT_KIND_DELETED
