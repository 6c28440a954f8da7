"""What is remembered of a rollout between two looks, and its form as a JSON document.

It holds what cannot be seen: how far the rollout has got, since when things hold, what people wished. Everything else
is looked at anew each time.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields, replace
from datetime import UTC, datetime
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
    asking: int = 0
    """Grows when gates are to be asked anew."""
    weight: int = 0
    """Weight of the new version that its steps have reached, of `Canary.max_weight`."""
    replicas_set: int | None = None
    """What the last SetReplicas said."""
    stable_size: int | None = None
    """Size of the old version before the rollout: what an abort brings back."""
    keep: Mapping[str, int] = field(default_factory=dict)
    """Replicas by revision that are to stay; those beyond are drained. Empty before the first look."""
    replicas: Mapping[str, int] = field(default_factory=dict)
    """Replicas by revision that were asked for last."""
    tracks: Mapping[str, tuple[int, tuple[str, ...]]] = field(default_factory=dict)
    """Route that was asked for last: weight and endpoints ("host:port") by revision."""
    receivers: frozenset[str] = frozenset()
    """Endpoints and revisions that get requests by it."""
    leaving: Mapping[str, datetime | None] = field(default_factory=dict)
    """Endpoints and revisions that no longer get requests, and since when no edge sends any; None: some may still."""
    records: Mapping[str, ReplicaRecord] = field(default_factory=dict)
    """By name of the replica, of both revisions."""
    available: int = 0
    """Replicas of the new version that were available at the last look, out of `wanted`."""
    wanted: int = 0
    best: int = 0
    """Most of them in the present step."""
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
    is_safe: bool = True
    """Whether, when it failed, the old version had all requests again."""
    is_idle: bool = False
    """Whether it only waits because a step says so: then nobody expects it to get on."""
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
        return f"{name}#{self.asking}"


def begin(now: datetime) -> RolloutState:
    """The state of a rollout that has just been wished for."""
    return RolloutState(Phase.PROGRESSING, started_at=now, entered_at=now, progress_at=now)


def thawed(state: RolloutState, now: datetime) -> RolloutState:
    """The state after a pause: what counts time goes on where it stopped, unless it still waits for a person."""
    if state.frozen_at is None or state.pause_reason is not None:
        return state
    by = now - state.frozen_at
    return replace(
        state,
        frozen_at=None,
        entered_at=state.entered_at + by,
        progress_at=state.progress_at + by,
        batch_done_at=state.batch_done_at + by if state.batch_done_at else None,
        promoted_at=state.promoted_at + by if state.promoted_at else None,
        records={name: replace(record, clock=record.clock + by) for name, record in state.records.items()},
    )


def aborting(state: RolloutState, reason: str, message: str, now: datetime) -> RolloutState:
    """The state on its way back; nothing is waited for any more."""
    return replace(
        thawed(replace(state, pause=None, is_held=False, pause_message=""), now),
        phase=Phase.ABORTING,
        entered_at=now,
        progress_at=now,
        aborted_at=now,
        abort_reason=reason,
        abort_message=message,
        is_idle=False,
    )


# --- as a document ---------------------------------------------------------------------------------------------------


def to_document(state: RolloutState) -> dict[str, Any]:
    """The state as plain JSON values; what is as at the beginning is left out."""
    document: dict[str, Any] = {"version": VERSION}
    for one in fields(RolloutState):
        value = getattr(state, one.name)
        if one.name in _NEEDED or value != _DEFAULTS[one.name]:
            document[one.name] = _plain(value)
    return document


def from_document(document: Mapping[str, Any]) -> RolloutState:
    """The state that `to_document` was given. Raises Internal (written by a version that this one does not know)."""
    if document.get("version") != VERSION:
        raise Internal(f"a rollout's state has version {document.get('version')}, not {VERSION}")
    known = {name: document[name] for name in document if name != "version"}
    return RolloutState(**{name: _READERS.get(name, _as_it_is)(value) for name, value in known.items()})


def _plain(value: Any) -> Any:
    match value:
        case Enum():
            return value.value
        case datetime():
            return value.isoformat()
        case frozenset():
            return sorted(value)
        case tuple():
            return [_plain(one) for one in value]
        case ReplicaRecord():
            return {one.name: _plain(getattr(value, one.name)) for one in fields(ReplicaRecord)}
        case Mapping():
            return {name: _plain(one) for name, one in value.items()}
        case _:
            return value


def _as_it_is(value: Any) -> Any:
    return value


def _time(value: str | None) -> datetime | None:
    return None if value is None else datetime.fromisoformat(value)


def _record(value: Mapping[str, Any]) -> ReplicaRecord:
    times = {"clock": _time(value["clock"]), "healthy_since": _time(value["healthy_since"])}
    return ReplicaRecord(**{**value, **times})


def _tracks(value: Mapping[str, Any]) -> dict[str, tuple[int, tuple[str, ...]]]:
    return {name: (weight, tuple(endpoints)) for name, (weight, endpoints) in value.items()}


_TIMES: Final = ("started_at", "entered_at", "progress_at", "frozen_at", "batch_done_at", "promoted_at", "aborted_at")
_READERS: Final[Mapping[str, Callable[[Any], Any]]] = {
    **dict.fromkeys(_TIMES, _time),
    **dict.fromkeys(("receivers", "settled", "notices"), frozenset),
    "phase": Phase,
    "pause": PauseReason,
    "tracks": _tracks,
    "leaving": lambda value: {name: _time(one) for name, one in value.items()},
    "records": lambda value: {name: _record(one) for name, one in value.items()},
}
"""How values become what they were, by field; those that are not here are plain."""
_NEEDED: Final = frozenset({"phase", "started_at", "entered_at", "progress_at"})
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_DEFAULTS: Final[Mapping[str, Any]] = {one.name: getattr(begin(_EPOCH), one.name) for one in fields(RolloutState)}
