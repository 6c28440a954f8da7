"""What comes before the metrics: a target that is switched off, and sizes outside of the bounds."""

from __future__ import annotations

from opsuite_scaler.domain.draft import Draft


def gate(draft: Draft) -> None:
    """End here for a target that a person set to zero; bring a size outside the bounds to the nearest one."""
    current, bounds = draft.current, draft.bounds
    if current == 0 and draft.policy.min_replicas > 0 and not draft.state.scaled_to_zero:
        message = "a target at zero is switched off, since its policy does not scale to zero"
        draft.apply("gate", 0, "ScalingDisabled", message, {"min_replicas": draft.policy.min_replicas})
        draft.has_ended = True
    elif current > bounds.high:
        told = f"more than the maximum of {bounds.high}"
        _correct(draft, "max_replicas", bounds.high, "TooManyReplicas", told, bounds.high_from)
    elif current < bounds.low:
        told = f"fewer than the minimum of {bounds.low}"
        _correct(draft, "min_replicas", bounds.low, "TooFewReplicas", told, bounds.low_from)


def _correct(draft: Draft, rule: str, bound: int, reason: str, told: str, origin: str) -> None:
    draft.is_correction = True
    message = f"{draft.current} replicas are {told} ({origin})"
    draft.apply(rule, bound, reason, message, {"bound": bound, "from": origin})
