"""ScalableTargetService: sizes as they are, whoever wants them changed."""

from __future__ import annotations

from opsuite.scaler.v1 import policy_pb2
from opsuite.scaler.v1 import target_service_pb2 as pb
from opsuite.scaler.v1 import target_service_pb2_grpc as stubs
from opsuite_rpc.calls import audited_as
from opsuite_scaler.adapters.calls import Context
from opsuite_scaler.adapters.decision_messages import member_message
from opsuite_scaler.adapters.policy_messages import target_of
from opsuite_scaler.adapters.policy_rendering import target_message
from opsuite_scaler.application.sizes import Sizes
from opsuite_scaler.domain.policy import TargetRef


class TargetServicer(stubs.ScalableTargetServiceServicer):
    """Serves the contract of sizes."""

    def __init__(self, sizes: Sizes) -> None:
        self._sizes = sizes

    async def GetScale(
        self, request: pb.GetScaleRequest, context: Context[pb.GetScaleRequest, pb.GetScaleResponse]
    ) -> pb.GetScaleResponse:
        """Return a size."""
        return pb.GetScaleResponse(scale=await self._scale(target_of(request.target)))

    async def UpdateScale(
        self, request: pb.UpdateScaleRequest, context: Context[pb.UpdateScaleRequest, pb.UpdateScaleResponse]
    ) -> pb.UpdateScaleResponse:
        """Change a size."""
        audited_as(_told(request.target), replicas=str(request.replicas))
        ref = target_of(request.target)
        expected = request.expected_replicas if request.HasField("expected_replicas") else None
        await self._sizes.set(ref, request.replicas, expected)
        return pb.UpdateScaleResponse(scale=await self._scale(ref))

    async def _scale(self, ref: TargetRef) -> pb.Scale:
        scale, policy = await self._sizes.get(ref)
        return pb.Scale(
            target=target_message(ref),
            spec_replicas=scale.spec_replicas,
            status_replicas=scale.status_replicas,
            members=[member_message(one) for one in scale.members],
            version=scale.version,
            policy=policy.name if policy else "",
        )


def _told(target: policy_pb2.ScaleTargetRef) -> str:
    return f"targets/{target.platform or target.api_version or 'process'}/{target.name}"
