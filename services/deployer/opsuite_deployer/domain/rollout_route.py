"""Who gets requests, and who may be stopped.

Requests go to replicas that are available, and never to nothing while something is there. A replica is stopped only
when it has left the route, every edge that may still have an older one has acknowledged that, and the time to drain is
over: until then it is `leaving`.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime

from opsuite_deployer.domain.rollout_draft import RolloutDraft
from opsuite_deployer.domain.rollout_state import Phase
from opsuite_deployer.domain.rollout_words import CANARY_TRACK, STABLE_TRACK, RolloutEvent, SeenReplica
from opsuite_deployer.domain.strategy import Canary
from opsuite_platforms.traffic.port import Endpoint, Match, Route, Track

ALL = 100
"""Weight of a track that stands alone."""


@dataclass(frozen=True, slots=True)
class Spread:
    """How requests are to be sent."""

    tracks: tuple[Track, ...]
    matches: tuple[Match, ...] = ()
    mirror_percent: float = 0.0


# --- who gets requests -----------------------------------------------------------------------------------------------


def spread(draft: RolloutDraft) -> Spread | None:
    """How requests are to be sent now; None if nobody can take any, or nobody sends any: then nothing is changed."""
    if not draft.plan.has_router:
        return None
    target, old = _serving(draft)
    if not target and not old:
        return _nobody(draft)
    if draft.old is None:
        return _first_spread(draft, target)
    to_old, to_target = _shares(draft, len(old), len(target))
    if not old:
        name = STABLE_TRACK if is_alone(draft) else CANARY_TRACK
        return Spread((_track(name, draft.target, ALL, target),))
    if not target or (draft.state.is_aborting and to_target == 0):
        return Spread((_track(STABLE_TRACK, draft.old, ALL, old),))
    tracks = (
        _track(STABLE_TRACK, draft.old, to_old, old),
        _track(CANARY_TRACK, draft.target, to_target, target),
    )
    if draft.state.is_aborting or draft.state.promoted_at is not None:
        return Spread(tracks)
    return Spread(tracks, draft.plan.matches, draft.plan.mirror_percent)


def _nobody(draft: RolloutDraft) -> Spread | None:
    """With nobody to send requests to, all is left as it is: it may be the asking that is broken.

    On the way back the old version is tried all the same, and where all replicas may be missing they are let go.
    """
    old = draft.old
    if old is None or not (draft.state.is_aborting or (draft.shifts_replicas and draft.state.keep[old] == 0)):
        return None
    return Spread((_track(STABLE_TRACK, old, ALL, draft.kept(old)),))


def _first_spread(draft: RolloutDraft, target: Sequence[SeenReplica]) -> Spread | None:
    """Without an old version: all or, until it is whole for the first time, nothing."""
    is_out = draft.plan.stable is not None or draft.state.weight > 0
    return Spread((_track(STABLE_TRACK, draft.target, ALL, target),)) if is_out and target else None


def is_alone(draft: RolloutDraft) -> bool:
    """Whether the old version has gone for good."""
    is_over, old = draft.state.phase in {Phase.COMPLETING, Phase.SUCCEEDED}, draft.old
    return is_over and (old is None or (draft.state.keep[old] == 0 and draft.revision(old).desired == 0))


def _serving(draft: RolloutDraft) -> tuple[Sequence[SeenReplica], Sequence[SeenReplica]]:
    """Replicas of the target and the old version that are sent requests: available ones, else healthy ones."""
    for is_fit in (draft.is_available, draft.is_ready):
        target, *old = ([one for one in draft.kept(name) if is_fit(name, one)] for name in draft.revisions)
        if target or any(old):
            break
    return target, old[0] if old else []


def _shares(draft: RolloutDraft, old: int, target: int) -> tuple[int, int]:
    """Weights of the old version and the target that the rollout has reached."""
    if draft.shifts_replicas:
        return old, target
    most, weight = draft.plan.max_weight, draft.state.weight
    if draft.state.is_aborting:
        weight = min(weight, _left_over(draft))
    return most - weight, weight


def _left_over(draft: RolloutDraft) -> int:
    """Weight that the old version cannot take yet after an abort: only if it was let shrink."""
    strategy = draft.plan.strategy
    if not (isinstance(strategy, Canary) and strategy.dynamic_stable_scale) or draft.old is None:
        return 0
    size = draft.state.stable_size or 1
    return max(0, draft.plan.max_weight - draft.plan.max_weight * draft.count_available(draft.old) // size)


def _track(name: str, revision: str, weight: int, replicas: Iterable[SeenReplica]) -> Track:
    endpoints = {one.endpoint for one in replicas if one.endpoint is not None}
    return Track(name, revision, weight, tuple(sorted(endpoints)))


# --- whether it is so ------------------------------------------------------------------------------------------------


def is_settled(draft: RolloutDraft) -> bool:
    """Whether requests are sent as they are to be, acknowledged by everybody who has to."""
    if not draft.plan.has_router:
        return True
    wanted, seen = spread(draft), draft.seen.route
    if wanted is None or seen is None or _asked(seen.route) != wanted:
        return False
    return seen.in_force and not seen.rejection and (draft.is_going_back or not seen.silent)


def may_send_more(draft: RolloutDraft) -> bool:
    """Whether the target may get more requests: not while an edge is silent, which would not know of a way back."""
    seen = draft.seen.route
    return draft.is_going_back or seen is None or not seen.silent


def _asked(route: Route) -> Spread:
    return Spread(route.tracks, route.matches, route.mirror.percent if route.mirror else 0.0)


def judge_route(draft: RolloutDraft) -> None:
    """Abort if an edge refuses the route that was asked for last; tell of silent edges."""
    seen = draft.seen.route
    if seen is None:
        return
    silent = ", ".join(seen.silent)
    message = f"edges that cannot be reached: {silent}; the new version gets no more requests until they are back"
    draft.notice(RolloutEvent.EDGES_SILENT, bool(silent), message, edges=silent)
    rejection = seen.rejection if summary(seen.route.tracks) == draft.state.tracks else ""
    said = f"the route is refused: {rejection}"
    if draft.state.is_aborting:
        draft.notice(RolloutEvent.ROUTE_REJECTED, bool(rejection), said, rejection=rejection)
    elif rejection:
        draft.abort("ROUTE_REJECTED", said)


# --- who may be stopped ----------------------------------------------------------------------------------------------


def summary(tracks: Iterable[Track]) -> dict[str, tuple[int, tuple[str, ...]]]:
    """Tracks as the state remembers them: weight and endpoints by revision."""
    return {track.workload: (track.weight, tuple(map(_address, track.endpoints))) for track in tracks}


def update_leaving(draft: RolloutDraft, wanted: Spread | None) -> None:
    """Note what is asked for, who leaves by it, and since when nobody sends those requests any more."""
    seen = draft.seen.route
    asked = _receivers(_asked(seen.route)) if seen is not None else frozenset[str]()
    staying = asked if wanted is None else _receivers(wanted)
    is_known = seen is not None and seen.in_force and (draft.is_going_back or not seen.silent)
    leaving: dict[str, datetime | None] = {}
    for name in sorted((asked | draft.state.receivers | set(draft.state.leaving)) - staying):
        since = None if name in asked else draft.state.leaving.get(name) or (draft.now if is_known else None)
        if since is None or draft.waits_until(since + draft.plan.safety.drain):
            leaving[name] = since
    tracks = draft.state.tracks if wanted is None else summary(wanted.tracks)
    draft.change(leaving=leaving, receivers=staying, tracks=tracks)


def _receivers(spread: Spread) -> frozenset[str]:
    """Revisions and endpoints that get requests."""
    matched = {match.track for match in spread.matches}
    found: set[str] = set()
    for track in spread.tracks:
        if track.weight > 0 or track.name in matched:
            found |= {track.workload, *map(_address, track.endpoints)}
    return frozenset(found)


def needed(draft: RolloutDraft, revision: str) -> int:
    """Replicas that must not be stopped yet: those to keep, and all up to the last one that is not drained."""
    seen, keep = draft.revision(revision), draft.state.keep[revision]
    floor = 0
    for index, replica in enumerate(seen.replicas[: seen.desired]):
        floor = index + 1 if _is_busy(draft, revision, replica) else floor
    return max(keep, floor)


def _is_busy(draft: RolloutDraft, revision: str, replica: SeenReplica) -> bool:
    """Whether a replica may have requests to answer. On the way back nobody waits for one that does not answer."""
    if replica.endpoint is None:  # the platform drains single ones by itself
        is_last = draft.state.receivers == {revision}  # all may be missing: nothing to wait for
        return draft.state.keep[revision] == 0 and _is_used(draft, revision) and not is_last
    name = _address(replica.endpoint)
    is_lost = draft.state.is_aborting and not draft.is_ready(revision, replica)
    return _is_used(draft, name) and not (is_lost and draft.state.leaving.get(name) is not None)


def _is_used(draft: RolloutDraft, name: str) -> bool:
    return name in draft.state.receivers or name in draft.state.leaving


def _address(endpoint: Endpoint) -> str:
    return f"{endpoint.host}:{endpoint.port}"
