"""Zero replicas and back, in the same pipeline as every other size.

Queues and the like can say at zero that there is work; CPU cannot. While one of them is above its activation, at least
one replica is wanted. When none is, they want none, whatever their values say in detail; metrics of the members may
still hold a size, as a worker that is busy with the last item does.
"""

from __future__ import annotations

from opsuite_scaler.domain.draft import Draft
from opsuite_scaler.domain.policy import SPEAKS_AT_ZERO, MetricSpec


def activate(draft: Draft) -> None:
    """Want at least one replica while something is active, else none for what is not."""
    if draft.policy.min_replicas > 0:
        return
    speakers = [spec for spec in draft.policy.metrics if spec.kind in SPEAKS_AT_ZERO and not spec.is_input]
    if not speakers:
        return
    if active := next((spec for spec in speakers if _is_active(draft, spec)), None):
        draft.last_active = draft.now
        if draft.wanted == 0:
            draft.apply("activation", 1, "Active", f"{active.name} is active", {"metric": active.name})
        return
    draft.last_active = draft.last_active or draft.now
    is_known = all(draft.values[spec.name] is not None or spec.name in draft.stand_ins for spec in speakers)
    least = max(draft.by_members, draft.current) if draft.has_failures else draft.by_members
    if is_known and least < draft.wanted:
        draft.apply("activation", least, "NotActive", "no metric is above its activation", {})


def _is_active(draft: Draft, spec: MetricSpec) -> bool:
    value = draft.values[spec.name]
    if value is None:
        return draft.stand_ins.get(spec.name, 0) > 0
    return value > spec.activation
