"""What the deployer is rolling out, as it tells over gRPC. Fits `application.ports.RolloutView`.

One question answers for all targets that are looked at within a second: which workloads a rollout has now.
"""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Final

from opsuite.deployer.v1 import workload_service_pb2 as pb
from opsuite.deployer.v1.workload_service_pb2_grpc import WorkloadServiceStub
from opsuite_kernel.clock import Clock
from opsuite_kernel.errors import OpsuiteError, Unavailable
from opsuite_rpc.channel import Target, connect
from opsuite_scaler.domain.policy import TargetKind, TargetRef

if TYPE_CHECKING:  # there only for the eyes of a type checker
    from opsuite.deployer.v1.workload_service_pb2_grpc import WorkloadServiceAsyncStub

FRESH: Final = timedelta(seconds=1)
"""How old an answer may be."""
CALL_SECONDS: Final = 5.0


class DeployerRollouts:
    """Asks one deployer. `close` it at the end."""

    def __init__(self, deployer: Target, clock: Clock) -> None:
        self._deployer = deployer
        self._clock = clock
        self._asking = asyncio.Lock()
        self._told_at: float | None = None
        self._told: frozenset[str] = frozenset()
        self._server: WorkloadServiceAsyncStub | None = None
        self._connections = AsyncExitStack()

    async def close(self) -> None:
        """Close the connection."""
        self._server = None
        await self._connections.aclose()

    async def is_rolling_out(self, ref: TargetRef) -> bool:
        """Whether a rollout of the target is under way. Raises: Unavailable."""
        names = names_of(ref)
        if not names:
            return False
        async with self._asking:
            if self._told_at is None or self._clock.monotonic() - self._told_at > FRESH.total_seconds():
                self._told = await self._ask()
                self._told_at = self._clock.monotonic()
        return not names.isdisjoint(self._told)

    async def _ask(self) -> frozenset[str]:
        """Names of the workloads that are being rolled out."""
        try:
            async with asyncio.timeout(CALL_SECONDS):
                server = await self._connected()
                found = (await server.ListWorkloads(pb.ListWorkloadsRequest())).workloads
        except (OpsuiteError, TimeoutError, OSError) as fault:
            why = getattr(fault, "message", "") or str(fault) or "no answer in time"
            message = f"the deployer at {self._deployer.address} does not tell what it rolls out: {why}"
            raise Unavailable(message, reason="DEPLOYER_UNAVAILABLE") from fault
        return frozenset(one.name.removeprefix("workloads/") for one in found if one.rollout_of)

    async def _connected(self) -> WorkloadServiceAsyncStub:
        if self._server is None:
            # The token is read here, so that a deployer that is set up later is found.
            connection = await self._connections.enter_async_context(connect(self._deployer))
            channel: Any = connection.channel
            self._server = WorkloadServiceStub(channel)
        return self._server


def names_of(ref: TargetRef) -> frozenset[str]:
    """What the deployer may call a target; nothing for kinds of things that it never rolls out."""
    if ref.kind is TargetKind.WORKLOAD or (ref.kind is TargetKind.KUBERNETES_SCALE and ref.object_kind == "Deployment"):
        return frozenset({ref.name, f"{ref.namespace}.{ref.name}"} if ref.namespace else {ref.name})
    return frozenset()
