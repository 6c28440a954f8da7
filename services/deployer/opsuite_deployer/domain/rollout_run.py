"""A rollout as its deployment keeps it: what it found when it began, what it remembers, how it stands for people."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any

from opsuite_deployer.domain.rollout_state import RolloutState, from_document, to_document


@dataclass(frozen=True, slots=True)
class RolloutStart:
    """What a rollout found when it began. It never changes, also when the rollout has made its own revision stable."""

    stable: str | None
    """Revision that was promoted last; None if there is none."""
    stable_version: str = ""
    within_rollback_window: bool = False
    """Whether the target was stable so lately that steps and gates are left out."""
    replicas: int | None = None
    """Size of the stable revision, which somebody else than the pipeline decides about; None: the pipeline does."""


@dataclass(frozen=True, slots=True)
class ReplicaStanding:
    """One replica, for people."""

    name: str
    phase: str
    available: bool
    restarts: int
    message: str
    endpoint: str = ""


@dataclass(frozen=True, slots=True)
class TrackStanding:
    """One version, for people."""

    name: str
    revision: str
    version: str
    weight: int = 0
    """Share of the requests in percent that was asked for."""
    weight_in_force: bool = False
    replicas: int = 0
    available: int = 0
    details: tuple[ReplicaStanding, ...] = ()


@dataclass(frozen=True, slots=True)
class EdgeStanding:
    """One edge, for people."""

    id: str
    connected: bool
    applied: bool
    rejection: str = ""
    last_seen: datetime | None = None


@dataclass(frozen=True, slots=True)
class RolloutStanding:
    """Where a rollout stands, for people."""

    workload: str
    strategy: str
    phase: str
    since: datetime
    step: int = 0
    step_count: int = 0
    message: str = ""
    tracks: tuple[TrackStanding, ...] = ()
    edges: tuple[EdgeStanding, ...] = ()


@dataclass(frozen=True, slots=True)
class RolloutRun:
    """A rollout under way or ended, as part of a deployment."""

    start: RolloutStart
    state: RolloutState
    standing: RolloutStanding


def run_to_document(run: RolloutRun) -> dict[str, Any]:
    """The run as plain JSON values."""
    standing = asdict(run.standing)
    standing["since"] = run.standing.since.isoformat()
    for edge in standing["edges"]:
        edge["last_seen"] = edge["last_seen"] and edge["last_seen"].isoformat()
    return {"start": asdict(run.start), "state": to_document(run.state), "standing": standing}


def run_from_document(document: Mapping[str, Any]) -> RolloutRun:
    """The run that `run_to_document` was given."""
    standing = document["standing"]
    tracks = (
        TrackStanding(**track | {"details": tuple(ReplicaStanding(**one) for one in track["details"])})
        for track in standing["tracks"]
    )
    return RolloutRun(
        start=RolloutStart(**document["start"]),
        state=from_document(document["state"]),
        standing=RolloutStanding(
            **standing
            | {
                "since": datetime.fromisoformat(standing["since"]),
                "tracks": tuple(tracks),
                "edges": tuple(_edge(edge) for edge in standing["edges"]),
            }
        ),
    )


def _edge(document: Mapping[str, Any]) -> EdgeStanding:
    seen = document["last_seen"]
    return EdgeStanding(**{**document, "last_seen": datetime.fromisoformat(seen) if seen else None})
