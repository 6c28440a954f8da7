"""EnvironmentService: messages in, one use case, messages out."""

from __future__ import annotations

from datetime import timedelta
from typing import Final

from google.protobuf.duration_pb2 import Duration

from opsuite.deployer.v1 import environment_service_pb2 as pb
from opsuite.deployer.v1 import environment_service_pb2_grpc as stubs
from opsuite_deployer.adapters.calls import Context, call_of, parent_of
from opsuite_deployer.adapters.deployment_messages import timestamp
from opsuite_deployer.application.deployments import Call
from opsuite_deployer.application.environments import Environments, EnvironmentView, LockWish, Place
from opsuite_deployer.domain.deployment import Deployment
from opsuite_deployer.domain.environment import EnvironmentLock
from opsuite_rpc.access import current_principal
from opsuite_rpc.calls import current_call

MOST_SHOWN: Final = 100


class EnvironmentServicer(stubs.EnvironmentServiceServicer):
    """Serves the contract of environments."""

    def __init__(self, environments: Environments) -> None:
        self._environments = environments

    async def GetEnvironment(
        self, request: pb.GetEnvironmentRequest, context: Context[pb.GetEnvironmentRequest, pb.GetEnvironmentResponse]
    ) -> pb.GetEnvironmentResponse:
        """Return an environment."""
        view = await self._environments.get(_place(request.name), current_principal().name)
        return pb.GetEnvironmentResponse(environment=_environment(view))

    async def ListEnvironments(
        self,
        request: pb.ListEnvironmentsRequest,
        context: Context[pb.ListEnvironmentsRequest, pb.ListEnvironmentsResponse],
    ) -> pb.ListEnvironmentsResponse:
        """Return the environments of a pipeline."""
        views = await self._environments.all(request.parent.removeprefix("pipelines/"), current_principal().name)
        return pb.ListEnvironmentsResponse(environments=[_environment(view) for view in views])

    async def LockEnvironment(
        self,
        request: pb.LockEnvironmentRequest,
        context: Context[pb.LockEnvironmentRequest, pb.LockEnvironmentResponse],
    ) -> pb.LockEnvironmentResponse:
        """Keep everybody else out."""
        ttl = request.ttl.ToTimedelta() if request.HasField("ttl") else None
        current_call().details["message"] = request.message
        view = await self._environments.lock(LockWish(_place(request.name), request.message, ttl), call_of(request))
        return pb.LockEnvironmentResponse(environment=_environment(view))

    async def UnlockEnvironment(
        self,
        request: pb.UnlockEnvironmentRequest,
        context: Context[pb.UnlockEnvironmentRequest, pb.UnlockEnvironmentResponse],
    ) -> pb.UnlockEnvironmentResponse:
        """End the caller's lock."""
        view = await self._environments.unlock(_place(request.name), call_of(request))
        return pb.UnlockEnvironmentResponse(environment=_environment(view))

    async def ForceUnlockEnvironment(
        self,
        request: pb.ForceUnlockEnvironmentRequest,
        context: Context[pb.ForceUnlockEnvironmentRequest, pb.ForceUnlockEnvironmentResponse],
    ) -> pb.ForceUnlockEnvironmentResponse:
        """End a lock whoever holds it."""
        view = await self._environments.unlock(_place(request.name), call_of(request), force=True)
        return pb.ForceUnlockEnvironmentResponse(environment=_environment(view))

    async def RenewLock(
        self, request: pb.RenewLockRequest, context: Context[pb.RenewLockRequest, pb.RenewLockResponse]
    ) -> pb.RenewLockResponse:
        """Let the ttl of the caller's lock begin anew."""
        lock = await self._environments.renew(_place(request.name), Call(current_principal().name))
        return pb.RenewLockResponse(lock=_lock(lock))


def _place(name: str) -> Place:
    return Place(*parent_of(name))


def _environment(view: EnvironmentView) -> pb.Environment:
    return pb.Environment(
        name=view.place.name,
        stable=_stable(view.stable) if view.stable else None,
        holder=view.holder.name if view.holder else "",
        queue=[one.name for one in view.waiting[:MOST_SHOWN]],
        queue_length=len(view.waiting),
        lock=_lock(view.lock) if view.lock else None,
        deployable=not view.obstacles,
        obstacles=[pb.DeployObstacle(reason=one.reason, message=one.message) for one in view.obstacles],
        promotes_from=view.after or "",
    )


def _stable(deployment: Deployment) -> pb.StableVersion:
    return pb.StableVersion(
        version=deployment.version,
        pipeline_revision=deployment.pipeline_revision,
        deployment=deployment.name,
        end_time=timestamp(deployment.ended_at),
    )


def _lock(lock: EnvironmentLock) -> pb.EnvironmentLock:
    return pb.EnvironmentLock(
        holder=lock.holder,
        message=lock.message,
        create_time=timestamp(lock.created_at),
        expire_time=timestamp(lock.expires_at),
        ttl=_duration(lock.ttl),
    )


def _duration(ttl: timedelta | None) -> Duration | None:
    if ttl is None:
        return None
    message = Duration()
    message.FromTimedelta(ttl)
    return message
