"""Targets whose size another server keeps: `opsuite.scaler.v1.ExternalTargetService`."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from contextlib import AsyncExitStack, contextmanager
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final

from google.protobuf.message import Message

from opsuite.scaler.v1 import decision_pb2
from opsuite.scaler.v1 import external_target_service_pb2 as pb
from opsuite.scaler.v1.external_target_service_pb2_grpc import ExternalTargetServiceStub
from opsuite_kernel.errors import Conflict, InvalidInput, NotFound, OpsuiteError, Stale, Unavailable
from opsuite_rpc.channel import Target, connect
from opsuite_scaler.adapters.targets.registry import unknown
from opsuite_scaler.application.ports import Scale
from opsuite_scaler.domain.policy import TargetRef
from opsuite_scaler.domain.snapshot import Member, MemberPhase

if TYPE_CHECKING:  # there only for the eyes of a type checker
    from opsuite.scaler.v1.external_target_service_pb2_grpc import ExternalTargetServiceAsyncStub

PHASES: Final = {
    decision_pb2.MEMBER_PHASE_UNSPECIFIED: MemberPhase.RUNNING,
    decision_pb2.MEMBER_PHASE_PENDING: MemberPhase.PENDING,
    decision_pb2.MEMBER_PHASE_RUNNING: MemberPhase.RUNNING,
    decision_pb2.MEMBER_PHASE_FAILED: MemberPhase.FAILED,
    decision_pb2.MEMBER_PHASE_DELETING: MemberPhase.DELETING,
}


class ExternalTargets:
    """Fits `targets.registry.SizedTargets`, for targets of kind EXTERNAL. `close` it at the end."""

    def __init__(self, target_at: Callable[[str], Target] = Target) -> None:
        """`target_at` adds to an address what opens it: a token, certificates. Other machines need TLS."""
        self._target_at = target_at
        self._servers: dict[str, ExternalTargetServiceAsyncStub] = {}
        self._connecting = asyncio.Lock()
        self._connections = AsyncExitStack()

    async def close(self) -> None:
        """Close every connection."""
        self._servers.clear()
        await self._connections.aclose()

    async def get_scale(self, ref: TargetRef) -> Scale:
        """The size as its server tells it."""
        server = await self._server(ref)
        with translated(ref):
            told = await server.GetSize(pb.GetSizeRequest(name=ref.name, namespace=ref.namespace))
        there = told.status_replicas if told.HasField("status_replicas") else told.spec_replicas
        return Scale(told.spec_replicas, there, tuple(member_of(each) for each in told.members), told.version)

    async def set_scale(self, ref: TargetRef, replicas: int, *, expected: Scale) -> None:
        """Ask its server for a size."""
        request = pb.SetSizeRequest(
            name=ref.name,
            namespace=ref.namespace,
            replicas=replicas,
            expected_replicas=expected.spec_replicas,
            expected_version=expected.version,
        )
        server = await self._server(ref)
        with translated(ref):
            await server.SetSize(request)

    async def _server(self, ref: TargetRef) -> ExternalTargetServiceAsyncStub:
        if not ref.address:
            raise unknown("a target of kind external needs an address")
        async with self._connecting:
            if ref.address not in self._servers:
                connection = await self._connections.enter_async_context(connect(self._target_at(ref.address)))
                self._servers[ref.address] = ExternalTargetServiceStub(connection.channel)
        return self._servers[ref.address]


@contextmanager
def translated(ref: TargetRef) -> Iterator[None]:
    """Whatever else a server says than what the contract has is a failure of it."""
    try:
        yield
    except NotFound as refusal:
        raise NotFound("target", ref.name) from refusal
    except (Conflict, Stale) as refusal:
        raise Conflict(f"{ref.name}: {refusal.message}", reason="SIZE_CHANGED") from refusal
    except InvalidInput:
        raise
    except OpsuiteError as fault:
        message = f"the server of {ref.name} at {ref.address} does not answer: {fault.message}"
        raise Unavailable(message, reason="TARGET_UNAVAILABLE") from fault


def member_of(message: decision_pb2.Member) -> Member:
    """A member as the decision sees it."""
    return Member(
        name=message.name,
        phase=PHASES.get(message.phase, MemberPhase.RUNNING),
        ready=message.ready if message.HasField("ready") else None,
        started_at=_time(message, "start_time"),
        ready_changed_at=_time(message, "ready_change_time"),
        requests=dict(message.requests),
    )


def _time(message: Message, field: str) -> datetime | None:
    moment: datetime | None = None
    if message.HasField(field):
        moment = getattr(message, field).ToDatetime(tzinfo=UTC)
    return moment
