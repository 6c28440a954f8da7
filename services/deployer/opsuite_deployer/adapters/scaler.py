"""Which workloads a scaler sizes, as it tells over gRPC. Fits `application.platforms.Sizes`."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any, Final

from opsuite.scaler.v1 import policy_pb2 as pb
from opsuite.scaler.v1.scaler_service_pb2 import ListScalingPoliciesRequest
from opsuite.scaler.v1.scaler_service_pb2_grpc import ScalerServiceStub
from opsuite_deployer.domain.pipeline import Workload
from opsuite_kernel.errors import OpsuiteError, Unavailable
from opsuite_rpc.channel import Target, connect

CALL_SECONDS: Final = 3.0
PAGE: Final = 1000
WORKLOADS: Final = frozenset({pb.TARGET_KIND_WORKLOAD, pb.TARGET_KIND_UNSPECIFIED})
"""Policies are told as they were written; a kind that is not written is the first."""


class NobodyScales:
    """Fits `Sizes`, where there is no scaler."""

    async def are_scaled(self, workload: Workload) -> bool:
        """Never."""
        return False


class ScalerSizes:
    """Asks one scaler, once at the beginning of each rollout."""

    def __init__(self, scaler: Target) -> None:
        self._scaler = scaler

    async def are_scaled(self, workload: Workload) -> bool:
        """Whether a policy that is not only rehearsed sizes the workload. Raises: Unavailable."""
        try:
            async with asyncio.timeout(CALL_SECONDS), connect(self._scaler) as connection:
                channel: Any = connection.channel
                async for policy in _policies(ScalerServiceStub(channel)):
                    if policy.mode.mode != pb.SCALING_MODE_DRY_RUN and is_of(policy.target, workload):
                        return True
        except (OpsuiteError, TimeoutError, OSError) as fault:
            why = getattr(fault, "message", "") or str(fault) or "no answer in time"
            message = f"the scaler at {self._scaler.address} does not tell what it sizes: {why}"
            raise Unavailable(message, reason="SCALER_UNAVAILABLE") from fault
        return False


async def _policies(scaler: Any) -> AsyncIterator[pb.ScalingPolicy]:
    token = ""
    while True:
        page = await scaler.ListScalingPolicies(ListScalingPoliciesRequest(page_size=PAGE, page_token=token))
        for policy in page.policies:
            yield policy
        if not (token := page.next_page_token):
            return


def is_of(target: pb.ScaleTargetRef, workload: Workload) -> bool:
    """Whether a policy's target is a workload that rollouts look after."""
    return (
        target.kind in WORKLOADS
        and target.name == workload.workload
        and (target.platform or "process") == workload.platform.value
        and target.namespace == workload.namespace
    )
