"""What is remembered of a rollout between two looks, and its form as a JSON document.

It holds what cannot be seen: how far the rollout has got, since when things hold, what people wished. Everything else
is looked at anew each time.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import Enum
from typing import Any, Final

from opsuite_kernel.errors import Internal

VERSION: Final = 1


class Phase(Enum):
    """What a rollout is doing."""

    PROGRESSING = "PROGRESSING"
    """Replicas are moved, steps are gone through."""
    PROMOTING = "PROMOTING"
    """The new version is brought to full size, then gets all requests."""
    COMPLETING = "COMPLETING"
    """The new version has all requests; it is looked at once more, and the old one goes."""
    ABORTING = "ABORTING"
    """Requests are brought back to the old version."""
    SUCCEEDED = "SUCCEEDED"
    FAILED = "FAILED"

    @property
    def is_terminal(self) -> bool:
        """Whether the rollout has ended."""
        return self in {Phase.SUCCEEDED, Phase.FAILED}


class PauseReason(Enum):
    """Why a rollout waits for a person."""

    MANUAL = "MANUAL"
    STEP = "STEP"
    INCONCLUSIVE = "INCONCLUSIVE"


@dataclass(frozen=True, slots=True)
class ReplicaRecord:
    """What is remembered of a replica."""

    clock: datetime
    """From when its `healthy_deadline` counts: first seen, or lost after it was available."""
    restarts: int
    """Count when it was first seen."""
    restarts_seen: int = 0
    """Count at the last look: when it grows, health starts anew."""
    healthy_since: datetime | None = None
    """None if it is not healthy, or was never asked."""
    from_before: bool = False
    """It ran before the rollout and was not asked yet: healthy at the first answer, it counts at once."""


@dataclass(frozen=True, slots=True)
class RolloutState:
    """Where a rollout stands."""

    phase: Phase
    started_at: datetime
    entered_at: datetime
    """When the present phase or step began; pauses move it."""
    progress_at: datetime
    """When it last got further; pauses move it."""
    step: int = 0
    """Index of the present step."""
    attempt: int = 1
    """Grows with every restart and retry."""
    asking: int = 0
    """Grows when gates are to be asked anew."""
    weight: int = 0
    """Weight of the new version that its steps have reached, of `Canary.max_weight`."""
    replicas_set: int | None = None
    """What the last SetReplicas said."""
    stable_size: int | None = None
    """Size of the old version before the rollout: what an abort brings back. None before the first look."""
    keep: Mapping[str, int] = field(default_factory=dict)
    """Replicas by revision that are to stay; those beyond are drained."""
    replicas: Mapping[str, int] = field(default_factory=dict)
    """Replicas by revision that were asked for last."""
    tracks: Mapping[str, tuple[int, tuple[str, ...]]] = field(default_factory=dict)
    """Route that was asked for last: weight and endpoints ("host:port") by revision."""
    leaving: Mapping[str, datetime | None] = field(default_factory=dict)
    """Endpoints and revisions that no longer get requests, and since when no edge sends any; None: some may still."""
    records: Mapping[str, ReplicaRecord] = field(default_factory=dict)
    """By name of the replica, of both revisions."""
    available: int = 0
    """Replicas of the new version that were available at the last look, out of `wanted`."""
    wanted: int = 0
    best: int = 0
    """Most of them in the present step."""
    was_available: bool = False
    """Whether one ever was, in this attempt."""
    pause: PauseReason | None = None
    """STEP or INCONCLUSIVE."""
    pause_message: str = ""
    is_held: bool = False
    """Paused by a person, beside whatever else it waits for."""
    frozen_at: datetime | None = None
    """When time stopped to count, for either kind of pause."""
    batch_done_at: datetime | None = None
    """When all new replicas were last available, for pauses between batches."""
    skips_rest: bool = False
    """Somebody promoted it fully: what steps and gates are left do not count."""
    post_passed: bool = False
    """The gate after the promotion has passed."""
    promoted_at: datetime | None = None
    """When all requests went to the new version, acknowledged."""
    aborted_at: datetime | None = None
    abort_reason: str = ""
    abort_message: str = ""
    settled: frozenset[str] = frozenset()
    """Of "replicas" and "route" those that were seen as asked: a difference is somebody else's doing."""
    notices: frozenset[str] = frozenset()
    """What was told and still holds, so that it is told once."""

    @property
    def is_aborting(self) -> bool:
        """Whether it is on its way back, or has been."""
        return self.aborted_at is not None

    @property
    def pause_reason(self) -> PauseReason | None:
        """Why it waits for a person; None if it does not."""
        return PauseReason.MANUAL if self.is_held else self.pause

    def gate_key(self, name: str) -> str:
        """What names this asking of a gate."""
        return f"{name}#{self.attempt}.{self.asking}"


def begin(now: datetime) -> RolloutState:
    """The state of a rollout that has just been wished for."""
    return RolloutState(Phase.PROGRESSING, started_at=now, entered_at=now, progress_at=now)


# --- as a document ---------------------------------------------------------------------------------------------------


def to_document(state: RolloutState) -> dict[str, Any]:
    """The state as plain JSON values."""
    raise NotImplementedError


def from_document(document: Mapping[str, Any]) -> RolloutState:
    """The state that `to_document` was given. Raises Internal (written by a version that this one does not know)."""
    if document.get("version") != VERSION:
        raise Internal(f"a rollout's state has version {document.get('version')}, not {VERSION}")
    raise NotImplementedError


_ = timedelta
