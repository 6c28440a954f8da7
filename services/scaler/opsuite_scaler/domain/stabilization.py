"""Sizes that were wanted a moment ago restrain the one that is wanted now.

Going up takes the least of what was wanted within the window of that direction, going down the most; the present size
is held between both, so it never moves against the request. What is remembered is what was wanted before this stage.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime, timedelta

from opsuite_scaler.domain.decision import Recommendation
from opsuite_scaler.domain.draft import Draft
from opsuite_scaler.domain.policy import DOWN_STABILIZATION, Behavior

Log = tuple[Recommendation, ...]


def seed(draft: Draft) -> None:
    """A target seen for the first time counts as having wanted its size: it does not shrink for one window."""
    if not draft.recommendations:
        draft.recommendations = (Recommendation(draft.now, draft.current),)


def stabilize(draft: Draft) -> None:
    """Clamp what is wanted by what was, and remember it."""
    if draft.is_blind and draft.wanted <= draft.current:
        return  # not a recommendation: nothing is known
    behavior, log, wanted = draft.policy.behavior, draft.recommendations, draft.wanted
    if behavior is None:
        _down_only(draft, log)
        draft.recommendations = remembered(log, wanted, draft.now, DOWN_STABILIZATION)
    else:
        _both_ways(draft, log, behavior)
        longest = max(behavior.scale_up.stabilization, behavior.scale_down.stabilization)
        draft.recommendations = remembered(log, wanted, draft.now, longest)


def _down_only(draft: Draft, log: Log) -> None:
    """Without `behavior` an entry exactly as old as the window still counts."""
    cutoff = draft.now - DOWN_STABILIZATION
    _clamp(draft, max(draft.wanted, _most(entry for entry in log if entry.at >= cutoff)), DOWN_STABILIZATION)


def _both_ways(draft: Draft, log: Log, behavior: Behavior) -> None:
    up, down = behavior.scale_up.stabilization, behavior.scale_down.stabilization
    up_cutoff, down_cutoff = draft.now - up, draft.now - down
    lower = min([draft.wanted, *(entry.replicas for entry in log if entry.at > up_cutoff)])
    upper = max(draft.wanted, _most(entry for entry in log if entry.at > down_cutoff))
    size = min(max(draft.current, lower), upper)
    _clamp(draft, size, up if draft.wanted >= draft.current else down)


def _most(entries: Iterable[Recommendation]) -> int:
    return max((entry.replicas for entry in entries), default=0)


def _clamp(draft: Draft, size: int, window: timedelta) -> None:
    if size == draft.wanted:
        return
    went_up = draft.wanted >= draft.current
    reason = "ScaleUpStabilized" if went_up and draft.policy.behavior else "ScaleDownStabilized"
    extreme = "lowest" if reason == "ScaleUpStabilized" else "highest"
    message = (
        f"{draft.wanted} wanted now, held at {size}: the {extreme} of the last {window.total_seconds():g} s counts"
    )
    rule = "stabilization_up" if reason == "ScaleUpStabilized" else "stabilization_down"
    draft.apply(rule, size, reason, message, {"wanted": draft.wanted, "window_seconds": window.total_seconds()})


def remembered(log: Log, wanted: int, now: datetime, longest: timedelta) -> Log:
    """The log with `wanted`, without entries that can bind no more: too old, or outdone both ways by later ones."""
    cutoff = now - longest
    kept = [Recommendation(now, wanted)]
    least = most = wanted
    for entry in reversed(log):
        if entry.at < cutoff:
            break
        if entry.replicas > most:
            most = entry.replicas
            kept.append(entry)
        elif entry.replicas < least:
            least = entry.replicas
            kept.append(entry)
    kept.reverse()
    return tuple(kept)
