"""How much a size may change at once, and within the last periods; then the bounds.

Each rate policy counts from the size at the beginning of its period, which is the present one without what was added
and with what was removed since. Of several the one that allows the largest change counts, or the smallest, as the
policy says.
"""

from __future__ import annotations

from math import ceil
from typing import NamedTuple

from opsuite_scaler.domain.decision import SizeEvent
from opsuite_scaler.domain.draft import Draft
from opsuite_scaler.domain.policy import Behavior, Direction, RateKind, RatePolicy, ScalingRules, Select

FEWEST_AT_ONCE = 4
"""Without `behavior` a small target may always grow to this size in one step."""


class Limit(NamedTuple):
    """How far a size may go, and what says so."""

    replicas: int
    told: str


def limit(draft: Draft) -> None:
    """Cap what is wanted by the rates and the bounds; the tighter one is named."""
    if draft.wanted > draft.current:
        _cap(draft)
    elif draft.wanted < draft.current:
        _floor(draft)


def _cap(draft: Draft) -> None:
    behavior, bounds = draft.policy.behavior, draft.bounds
    rate = _up_limit(draft, behavior) if behavior else _doubled(draft.current)
    if rate.replicas < bounds.high:
        if draft.wanted > rate.replicas:
            _apply(
                draft,
                "rate_limit_up",
                rate.replicas,
                "ScaleUpLimit",
                f"it may grow only to {rate.replicas}: {rate.told}",
            )
    elif draft.wanted > bounds.high:
        told = f"more than the maximum of {bounds.high} ({bounds.high_from})"
        _apply(draft, "max_replicas", bounds.high, "TooManyReplicas", told)


def _floor(draft: Draft) -> None:
    behavior, bounds = draft.policy.behavior, draft.bounds
    rate = _down_limit(draft, behavior) if behavior else Limit(0, "")
    if rate.replicas > bounds.low:
        if draft.wanted < rate.replicas:
            _apply(
                draft,
                "rate_limit_down",
                rate.replicas,
                "ScaleDownLimit",
                f"it may shrink only to {rate.replicas}: {rate.told}",
            )
    elif draft.wanted < bounds.low:
        told = f"fewer than the minimum of {bounds.low} ({bounds.low_from})"
        _apply(draft, "min_replicas", bounds.low, "TooFewReplicas", told)


def _apply(draft: Draft, rule: str, bound: int, reason: str, told: str) -> None:
    draft.apply(rule, bound, reason, f"{draft.wanted} wanted, {told}", {"wanted": draft.wanted, "bound": bound})


def _doubled(current: int) -> Limit:
    return Limit(max(2 * current, FEWEST_AT_ONCE), f"twice its size or {FEWEST_AT_ONCE}, in one step")


def _up_limit(draft: Draft, behavior: Behavior) -> Limit:
    """At least the present size; from zero at least 1, since a percentage of nothing never starts anything."""
    found = _selected(draft, behavior.scale_up, Direction.UP)
    if found is None:
        return Limit(draft.current, "growing is disabled")
    return found if found.replicas > draft.current else found._replace(replicas=max(draft.current, 1))


def _down_limit(draft: Draft, behavior: Behavior) -> Limit:
    found = _selected(draft, behavior.scale_down, Direction.DOWN)
    if found is None:
        return Limit(draft.current, "shrinking is disabled")
    return found if found.replicas < draft.current else found._replace(replicas=draft.current)


def _selected(draft: Draft, rules: ScalingRules, direction: Direction) -> Limit | None:
    """What the policy that counts allows; None when nothing is allowed."""
    if rules.select is Select.DISABLED or not rules.policies:
        return None
    limits = [_allowed(draft, policy, direction) for policy in rules.policies]
    largest_counts = (rules.select is Select.MAX) is (direction is Direction.UP)
    return max(limits) if largest_counts else min(limits)


def _allowed(draft: Draft, policy: RatePolicy, direction: Direction) -> Limit:
    start = draft.current - _changed(draft, draft.state.ups, policy) + _changed(draft, draft.state.downs, policy)
    grows = direction is Direction.UP
    if policy.kind is RateKind.PODS:
        replicas = start + policy.value if grows else start - policy.value
    elif grows:
        replicas = ceil(start * (1 + policy.value / 100))
    else:
        replicas = int(start * (1 - policy.value / 100))
    unit = "%" if policy.kind is RateKind.PERCENT else ""
    return Limit(replicas, f"{policy.value}{unit} of change in {policy.period.total_seconds():g} s from {start}")


def _changed(draft: Draft, log: tuple[SizeEvent, ...], policy: RatePolicy) -> int:
    cutoff = draft.now - policy.period
    return sum(event.change for event in log if event.at > cutoff)
