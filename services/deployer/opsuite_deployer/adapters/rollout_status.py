"""Where a rollout stands, as the contract shows it."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Final

from google.protobuf.timestamp_pb2 import Timestamp

from opsuite.deployer.v1 import rollout_pb2 as pb
from opsuite.deployer.v1 import workload_pb2
from opsuite_deployer.domain.rollout_run import EdgeStanding, ReplicaStanding, RolloutStanding, TrackStanding

_PHASES: Final = {name.removeprefix("ROLLOUT_PHASE_"): number for name, number in pb.RolloutPhase.items()}


def rollout_status(standing: RolloutStanding) -> pb.RolloutStatus:
    """A standing as the contract shows it."""
    return pb.RolloutStatus(
        workload=standing.workload,
        strategy=standing.strategy,
        phase=_PHASES[standing.phase],
        step=standing.step,
        step_count=standing.step_count,
        message=standing.message,
        tracks=[_track(track) for track in standing.tracks],
        edges=[_edge(edge) for edge in standing.edges],
        since=_timestamp(standing.since),
    )


def _track(track: TrackStanding) -> pb.RolloutTrack:
    return pb.RolloutTrack(
        name=track.name,
        revision=track.revision,
        version=track.version,
        weight=track.weight,
        weight_in_force=track.weight_in_force,
        replicas=track.replicas,
        available_replicas=track.available,
        replica_statuses=[_replica(replica) for replica in track.details],
    )


def _replica(replica: ReplicaStanding) -> workload_pb2.ReplicaStatus:
    return workload_pb2.ReplicaStatus(
        name=replica.name,
        phase=replica.phase,
        available=replica.available,
        restarts=replica.restarts,
        message=replica.message,
        endpoint=replica.endpoint,
    )


def _edge(edge: EdgeStanding) -> workload_pb2.RouteEdge:
    return workload_pb2.RouteEdge(
        id=edge.id,
        connected=edge.connected,
        applied=edge.applied,
        rejection=edge.rejection,
        last_seen_time=_timestamp(edge.last_seen) if edge.last_seen else None,
    )


def _timestamp(moment: datetime) -> Timestamp:
    stamp = Timestamp()
    stamp.FromDatetime(moment.astimezone(UTC))
    return stamp
