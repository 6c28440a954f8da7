"""WorkloadService: messages in, one use case, messages out."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from typing import Final

from opsuite.deployer.v1 import workload_pb2
from opsuite.deployer.v1 import workload_service_pb2 as pb
from opsuite.deployer.v1 import workload_service_pb2_grpc as stubs
from opsuite_deployer.adapters.calls import Context
from opsuite_deployer.adapters.deployment_messages import timestamp
from opsuite_deployer.application.workload_ports import RevisionRecord, WorkloadRecord
from opsuite_deployer.application.workload_view import RevisionView, Workloads, WorkloadView
from opsuite_deployer.domain.pipeline import WorkloadPlatform
from opsuite_platforms.port import Replica, ReplicaPhase
from opsuite_platforms.traffic.port import EdgeStatus
from opsuite_rpc.calls import time_remaining
from opsuite_runs.calls import replay_of

PLATFORMS: Final = {
    platform: workload_pb2.WorkloadPlatform.Value(f"WORKLOAD_PLATFORM_{platform.name}") for platform in WorkloadPlatform
}
RESTART_SECONDS: Final = 55.0
"""Longest time for a restart: a little less than the server gives a call."""


class WorkloadServicer(stubs.WorkloadServiceServicer):
    """Serves the contract of workloads."""

    def __init__(self, workloads: Workloads) -> None:
        self._workloads = workloads

    async def GetWorkload(
        self, request: pb.GetWorkloadRequest, context: Context[pb.GetWorkloadRequest, pb.GetWorkloadResponse]
    ) -> pb.GetWorkloadResponse:
        """Return a workload as it is now."""
        return pb.GetWorkloadResponse(workload=_whole(await self._workloads.get(workload_of(request.name))))

    async def ListWorkloads(
        self, request: pb.ListWorkloadsRequest, context: Context[pb.ListWorkloadsRequest, pb.ListWorkloadsResponse]
    ) -> pb.ListWorkloadsResponse:
        """Return every workload, without replicas."""
        return pb.ListWorkloadsResponse(workloads=[_brief(*one) for one in await self._workloads.all()])

    async def RestartWorkload(
        self,
        request: pb.RestartWorkloadRequest,
        context: Context[pb.RestartWorkloadRequest, pb.RestartWorkloadResponse],
    ) -> pb.RestartWorkloadResponse:
        """Restart a workload replica by replica."""
        left = time_remaining()
        within = timedelta(seconds=RESTART_SECONDS if left is None else min(left, RESTART_SECONDS))
        view = await self._workloads.restart(workload_of(request.name), within, replay_of(request))
        return pb.RestartWorkloadResponse(workload=_whole(view))


def workload_of(name: str) -> str:
    """The id in a resource name of correct shape."""
    return name.removeprefix("workloads/")


def edge_message(edge: EdgeStatus) -> workload_pb2.RouteEdge:
    """An edge as the contract shows it."""
    return workload_pb2.RouteEdge(
        id=edge.id,
        connected=edge.connected,
        applied=edge.applied,
        rejection=edge.rejection,
        last_seen_time=timestamp(edge.last_seen),
    )


def _whole(view: WorkloadView) -> pb.Workload:
    message = _head(view.record, [one.record for one in view.revisions])
    message.revisions.extend(_revision(one) for one in view.revisions)
    message.drift.extend(view.drift)
    message.edges.extend(edge_message(edge) for edge in (view.route.edges if view.route else ()))
    return message


def _brief(record: WorkloadRecord, revisions: Sequence[RevisionRecord]) -> pb.Workload:
    message = _head(record, revisions)
    message.revisions.extend(_revision(RevisionView(one, one.name == record.stable, None)) for one in revisions)
    return message


def _head(record: WorkloadRecord, revisions: Sequence[RevisionRecord]) -> pb.Workload:
    message = pb.Workload(
        name=f"workloads/{record.id}",
        rollout_of=_deployment(record, record.rollout_of),
        environment=f"pipelines/{record.pipeline}/environments/{record.environment}",
    )
    if revisions:
        message.platform = PLATFORMS[revisions[0].platform]
    return message


def _revision(view: RevisionView) -> pb.WorkloadRevision:
    record, status = view.record, view.status
    message = pb.WorkloadRevision(
        name=record.name,
        version=record.spec.version,
        stable=view.is_stable,
        replicas=status.desired_replicas if status else 0,
        replica_statuses=[_replica(one, record) for one in (status.replicas if status else ())],
        deployment=record.deployment,
        create_time=timestamp(record.created_at),
        promote_time=timestamp(record.promoted_at),
        remove_time=timestamp(record.retire_at),
    )
    if view.weight is not None:
        message.weight = view.weight
    return message


def _replica(replica: Replica, record: RevisionRecord) -> workload_pb2.ReplicaStatus:
    port = replica.ports.get(record.routed_port) or next(iter(replica.ports.values()), None)
    return workload_pb2.ReplicaStatus(
        name=replica.name,
        phase=replica.phase.value,
        available=replica.phase is ReplicaPhase.RUNNING,
        restarts=replica.restarts,
        message=replica.message,
        endpoint=f"{replica.host}:{port}" if port else "",
    )


def _deployment(record: WorkloadRecord, uid: str) -> str:
    return f"pipelines/{record.pipeline}/environments/{record.environment}/deployments/{uid}" if uid else ""
