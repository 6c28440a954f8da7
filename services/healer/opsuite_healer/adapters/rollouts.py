"""What the deployer knows of a target: the workload that it belongs to, and what was rolled out there last.

Both fit `application.recent_rollouts.RecentRollouts`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from typing import Final

from opsuite.deployer.v1 import deployment_pb2, workload_service_pb2
from opsuite.deployer.v1 import deployment_service_pb2 as deployments_pb
from opsuite.deployer.v1.deployment_service_pb2_grpc import DeploymentServiceStub
from opsuite.deployer.v1.workload_service_pb2_grpc import WorkloadServiceStub
from opsuite_healer.adapters.peers import Peer
from opsuite_healer.application.recent_rollouts import RecentRollout
from opsuite_healer.domain.targets import TargetRef
from opsuite_kernel.errors import InvalidInput, NotFound, OpsuiteError, Unavailable

LOOKED_AT: Final = 50
"""Deployments of an environment among which the last that changed something is looked for."""
WORKLOADS: Final = "workloads/"


class NobodyRollsOut:
    """Stands in where there is no deployer: nothing was rolled out."""

    async def last(self, target: TargetRef) -> RecentRollout | None:
        """Nothing."""
        return None


class DeployerRollouts:
    """Asks one deployer."""

    def __init__(self, deployer: Peer) -> None:
        self._deployer = deployer

    async def last(self, target: TargetRef) -> RecentRollout | None:
        """The last deployment that changed a target; None if there was none, or the deployer does not know it."""
        try:
            workload = await self.workload(target)
            if workload is None or not workload.environment:
                return None
            return last_of(await self._deployments(workload.environment))
        except Unavailable:
            raise
        except OpsuiteError as error:  # it answers, but not to us
            raise Unavailable(f"the deployer does not tell: {error.message}", reason=error.reason) from error

    async def workload(self, target: TargetRef) -> workload_service_pb2.Workload | None:
        """The workload that a target is, or is a revision of; None where no rollout has made one."""
        for name in names_of(target):
            if (found := await self._workload(name)) is not None:
                return found
        listed = await self._deployer.ask(
            lambda channel: WorkloadServiceStub(channel).ListWorkloads(workload_service_pb2.ListWorkloadsRequest())
        )
        return next((one for one in listed.workloads if _has_revision(one, target.workload)), None)

    async def deployment(self, name: str) -> deployment_pb2.Deployment:
        """A deployment by its name. Raises NotFound."""
        request = deployments_pb.GetDeploymentRequest(name=name)
        answer: deployments_pb.GetDeploymentResponse = await self._deployer.ask(
            lambda channel: DeploymentServiceStub(channel).GetDeployment(request)
        )
        return answer.deployment

    async def _workload(self, name: str) -> workload_service_pb2.Workload | None:
        request = workload_service_pb2.GetWorkloadRequest(name=name)
        try:
            answer: workload_service_pb2.GetWorkloadResponse = await self._deployer.ask(
                lambda channel: WorkloadServiceStub(channel).GetWorkload(request)
            )
            return answer.workload
        except (NotFound, InvalidInput):  # also a name that the deployer would never give
            return None

    async def _deployments(self, environment: str) -> Sequence[deployment_pb2.Deployment]:
        request = deployments_pb.ListDeploymentsRequest(parent=environment, page_size=LOOKED_AT)
        answer: deployments_pb.ListDeploymentsResponse = await self._deployer.ask(
            lambda channel: DeploymentServiceStub(channel).ListDeployments(request)
        )
        return answer.deployments


def last_of(newest_first: Sequence[deployment_pb2.Deployment]) -> RecentRollout | None:
    """The newest deployment of an environment that has begun to change something."""
    begun = [one for one in newest_first if one.HasField("start_time")]
    if not begun:
        return None
    last = begun[0]
    before = next((one for one in begun[1:] if one.stable and one.version != last.version), None)
    return RecentRollout(
        deployment=last.name,
        version=last.version,
        previous_version=before.version if before else "",
        started_at=_time(last, "start_time") or datetime.min.replace(tzinfo=UTC),
        ended_at=_time(last, "end_time"),
        is_healthy=last.status == deployment_pb2.DEPLOYMENT_STATUS_SUCCEEDED,
        is_rollback=bool(last.rollback_of),
    )


def names_of(target: TargetRef) -> Iterator[str]:
    """How the deployer may call a target."""
    if target.namespace:
        yield f"{WORKLOADS}{target.namespace}.{target.workload}"
    yield f"{WORKLOADS}{target.workload}"


def _has_revision(workload: workload_service_pb2.Workload, name: str) -> bool:
    return any(revision.name == name for revision in workload.revisions)


def _time(deployment: deployment_pb2.Deployment, field: str) -> datetime | None:
    if not deployment.HasField(field):  # type: ignore[arg-type]  # both of its fields that are asked for are times
        return None
    moment: datetime = getattr(deployment, field).ToDatetime(tzinfo=UTC)
    return moment
