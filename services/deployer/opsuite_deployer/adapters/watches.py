"""The watch streams of the contract, over the hub. Answers are serialised once for all watchers at the same place."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import aclosing
from datetime import timedelta
from typing import Final

import sqlalchemy as sa
from google.protobuf.duration_pb2 import Duration
from google.protobuf.timestamp_pb2 import Timestamp

from opsuite.deployer.v1 import deployment_pb2
from opsuite.deployer.v1 import deployment_service_pb2 as pb
from opsuite_deployer.adapters import tables
from opsuite_deployer.adapters.calls import parent_of, reference_of
from opsuite_deployer.adapters.deployment_messages import STATUSES
from opsuite_deployer.adapters.queries import ANY, Queries
from opsuite_deployer.domain.deployment import TERMINAL
from opsuite_kernel.clock import Clock
from opsuite_runs import events as event_log
from opsuite_runs import tokens
from opsuite_runs.port import Event
from opsuite_runs.watch import Batch, Hub, Idle
from opsuite_storage.store import Store

DEFAULT_HEARTBEAT: Final = timedelta(seconds=15)
DEFAULT_BATCH: Final = 64
MISSED_KEPT: Final = 64
"""Answers to who resumes that are kept, each of at most one batch of events."""
_ENDED: Final = frozenset(STATUSES[status] for status in TERMINAL)


class Watches:
    """Serves WatchDeployment and WatchDeployments."""

    def __init__(self, store: Store, hub: Hub, queries: Queries, clock: Clock, life: str) -> None:
        self._store = store
        self._hub = hub
        self._queries = queries
        self._clock = clock
        self._life = life
        self._missed: dict[tuple[str, int, int], asyncio.Task[bytes]] = {}

    async def one(self, request: pb.WatchDeploymentRequest) -> AsyncIterator[bytes]:
        """A snapshot unless it resumes, every event after it, and the end after the last one."""
        # Thousands of these frames wait for what comes next, so no message is a variable here.
        after, is_over, first = await self._begin_one(request)
        if first:
            yield first
        if is_over:
            return
        name, first = request.name, b""
        following = self._hub.follow(name, after, max_batch=_most(request), heartbeat=_heartbeat(request))
        async with aclosing(following) as answers:
            async for answer in answers:
                yield self._rendered(name, answer, pb.WatchDeploymentResponse)
                if isinstance(answer, Batch) and _is_last(answer):
                    return

    async def _begin_one(self, request: pb.WatchDeploymentRequest) -> tuple[int, bool, bytes]:
        """The revision after which to go on, whether nothing will come, and what to begin with, which may be nothing.

        That is the snapshot or, for who resumes, the events that were missed, if they are one answer.
        """
        name = request.name
        deployment = (await self._queries.deployment(reference_of(name))).message
        latest, has_ended = deployment.revision, deployment.status in _ENDED
        if request.resume_token:
            after = tokens.decode(request.resume_token, life=self._life, follows=name, latest=latest)
            if not 0 < latest - after <= _most(request):
                return after, has_ended and after == latest, b""
            return latest, has_ended, await self._missed_between(name, after, latest)
        snapshot = pb.WatchDeploymentResponse(
            snapshot=deployment, resume_token=self._token(name, latest), server_time=self._now()
        )
        return latest, has_ended, snapshot.SerializeToString()

    async def _missed_between(self, name: str, after: int, latest: int) -> bytes:
        """The events in between: read and rendered once for all who come back from there, thousands after a restart."""
        key = (name, after, latest)
        if (reading := self._missed.get(key)) is None:
            while len(self._missed) >= MISSED_KEPT:
                del self._missed[next(iter(self._missed))]
            reading = self._missed[key] = asyncio.create_task(self._read_missed(*key))
            reading.add_done_callback(lambda done: self._forget_failed(key, done))
        return await asyncio.shield(reading)  # one watcher that leaves does not end it for the others

    async def _read_missed(self, name: str, after: int, latest: int) -> bytes:
        events = await self._store.read(
            lambda connection: event_log.read_resource(connection, tables.events, name, after, latest - after)
        )
        return self._rendered(name, Batch(tuple(events), latest), pb.WatchDeploymentResponse)

    def _forget_failed(self, key: tuple[str, int, int], done: asyncio.Task[bytes]) -> None:
        if (done.cancelled() or done.exception() is not None) and self._missed.get(key) is done:
            del self._missed[key]

    async def many(self, request: pb.WatchDeploymentsRequest) -> AsyncIterator[bytes]:
        """A snapshot of what is under way unless it resumes, then the events of all deployments below the parent."""
        parent = parent_of(request.parent)
        after, snapshot = await self._store.read(lambda connection: self._begin(connection, request, parent))
        if snapshot is not None:
            yield snapshot.SerializeToString()
        following = self._hub.follow(tokens.FEED, after, max_batch=_most(request), heartbeat=_heartbeat(request))
        wanted = _filter(parent)
        silent_until = self._clock.monotonic() + _heartbeat(request).total_seconds()
        async with aclosing(following) as answers:
            async for answer in answers:
                if isinstance(answer, Batch) and not any(wanted(event) for event in answer.events):
                    if self._clock.monotonic() < silent_until:
                        continue
                    answer = Idle(answer.last)
                silent_until = self._clock.monotonic() + _heartbeat(request).total_seconds()
                yield self._rendered(request.parent, answer, pb.WatchDeploymentsResponse, wanted)

    def _begin(
        self, connection: sa.Connection, request: pb.WatchDeploymentsRequest, parent: tuple[str, str]
    ) -> tuple[int, pb.WatchDeploymentsResponse | None]:
        head = event_log.head(connection, tables.events)
        if request.resume_token:
            return tokens.decode(request.resume_token, life=self._life, follows=request.parent, latest=head), None
        snapshot = pb.DeploymentsSnapshot(deployments=self._queries.under_way(connection, parent))
        token = self._token(request.parent, head)
        return head, pb.WatchDeploymentsResponse(snapshot=snapshot, resume_token=token, server_time=self._now())

    def _rendered(
        self,
        follows: str,
        answer: Batch | Idle,
        response: type[pb.WatchDeploymentResponse] | type[pb.WatchDeploymentsResponse],
        wanted: Callable[[Event], bool] = lambda _: True,
    ) -> bytes:
        if isinstance(answer, Idle):
            return response(
                bookmark=pb.Bookmark(), resume_token=self._token(follows, answer.last), server_time=self._now()
            ).SerializeToString()
        if (known := answer.memo.get(follows)) is None:
            message = response(resume_token=self._token(follows, answer.last), server_time=self._now())
            for event in answer.events:
                if wanted(event):
                    message.events.add().MergeFromString(event.payload)
            known = answer.memo[follows] = message.SerializeToString()
        rendered: bytes = known
        return rendered

    def _token(self, follows: str, number: int) -> str:
        return tokens.encode(self._life, follows, number)

    def _now(self) -> Timestamp:
        now = Timestamp()
        now.FromDatetime(self._clock.now())
        return now


def _filter(parent: tuple[str, str]) -> Callable[[Event], bool]:
    """Whether an event is of a deployment below the parent, by the resource's name."""
    pipeline, environment = parent

    def wanted(event: Event) -> bool:
        _, of_pipeline, _, of_environment, *_ = event.resource.split("/")
        return pipeline in {ANY, of_pipeline} and environment in {ANY, of_environment}

    return wanted


def _is_last(batch: Batch) -> bool:
    last = deployment_pb2.DeploymentEvent.FromString(batch.events[-1].payload)
    return last.kind == deployment_pb2.DEPLOYMENT_EVENT_KIND_ENDED


def _most(request: pb.WatchDeploymentRequest | pb.WatchDeploymentsRequest) -> int:
    return request.max_batch if request.HasField("max_batch") else DEFAULT_BATCH


def _heartbeat(request: pb.WatchDeploymentRequest | pb.WatchDeploymentsRequest) -> timedelta:
    given: Duration = request.heartbeat
    return given.ToTimedelta() if request.HasField("heartbeat") else DEFAULT_HEARTBEAT
