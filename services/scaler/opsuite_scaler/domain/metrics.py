"""The stage that asks every metric and takes the largest proposal.

A metric that fails cannot be outvoted downwards: as long as one does, nothing gets smaller. Upwards the others may act.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Final

from opsuite_scaler.domain import by_members, by_total, formula, quality, response_time
from opsuite_scaler.domain.decision import MetricMemory, Step
from opsuite_scaler.domain.draft import Draft
from opsuite_scaler.domain.policy import NEEDS_MEMBERS, OF_MEMBERS, MetricKind, MetricSpec
from opsuite_scaler.domain.proposals import MetricFailed, Proposal
from opsuite_scaler.domain.snapshot import Reading

Way = Callable[[Draft, MetricSpec, Reading], Proposal]
WAYS: Final[Mapping[MetricKind, Way]] = {
    MetricKind.RESOURCE: by_members.propose,
    MetricKind.PODS: by_members.propose,
    MetricKind.OBJECT: by_total.propose,
    MetricKind.EXTERNAL: by_total.propose,
    MetricKind.RESPONSE_TIME: response_time.propose,
    MetricKind.FORMULA: by_total.propose,
}
FAILURE_REASONS: Final[Mapping[MetricKind, str]] = {
    MetricKind.RESOURCE: "FailedGetResourceMetric",
    MetricKind.PODS: "FailedGetPodsMetric",
    MetricKind.OBJECT: "FailedGetObjectMetric",
    MetricKind.EXTERNAL: "FailedGetExternalMetric",
    MetricKind.RESPONSE_TIME: "FailedGetResponseTime",
    MetricKind.FORMULA: "FailedComputeFormula",
}
_LAST: Final = (MetricKind.RESPONSE_TIME, MetricKind.FORMULA)
"""These look at the values of others, and formulas at those of latency too."""


def ask_all(draft: Draft) -> None:
    """Ask every metric; afterwards the size wanted is the largest proposal, or the present one."""
    memories: dict[str, MetricMemory] = {}
    winner: Step | None = None
    failures: list[Step] = []
    proposes = False
    for spec in _in_order(draft.policy.metrics):
        proposes = proposes or not spec.is_input
        if draft.current == 0 and spec.kind in NEEDS_MEMBERS:
            _skip(draft, spec, memories)
            continue
        proposal, memories[spec.name], why = _ask(draft, spec)
        if spec.is_input:
            continue
        if proposal is None:
            failures.append(_fail(draft, spec, why))
        else:
            winner = _weigh(draft, spec, proposal, winner)
    draft.memories = memories
    _combine(draft, winner, failures, proposes)


def _in_order(metrics: tuple[MetricSpec, ...]) -> Sequence[MetricSpec]:
    if any(spec.kind in _LAST for spec in metrics):
        return sorted(metrics, key=lambda spec: _LAST.index(spec.kind) if spec.kind in _LAST else -1)
    return metrics


def _ask(draft: Draft, spec: MetricSpec) -> tuple[Proposal | None, MetricMemory, str]:
    """The proposal of a metric or of its fallback, what to remember, and why there is none."""
    memory = draft.memories.get(spec.name, quality.UNKNOWN)
    try:
        reading = formula.read(draft, spec) if spec.kind is MetricKind.FORMULA else quality.usable(draft, spec)
        proposal = WAYS[spec.kind](draft, spec, reading)
    except MetricFailed as failure:
        return _fall_back(draft, spec, quality.after_failure(memory, failure), failure)
    draft.values[spec.name] = proposal.value
    return proposal, quality.after_value(proposal.value, reading, draft), ""


def _fall_back(
    draft: Draft, spec: MetricSpec, memory: MetricMemory, failure: MetricFailed
) -> tuple[Proposal | None, MetricMemory, str]:
    why = str(failure)
    draft.values[spec.name] = None
    if isinstance(failure, quality.DropUnconfirmed):
        return None, memory, why
    if remembered := quality.last_value(draft, spec, memory):
        return _of_last_value(draft, spec, remembered, why), memory, why
    replicas = quality.stand_in(draft, spec, memory)
    if replicas is None:
        return None, memory, why
    draft.stand_ins[spec.name] = replicas
    return quality.stood_in(spec, replicas, memory, why), memory, why


def _of_last_value(draft: Draft, spec: MetricSpec, remembered: Reading, why: str) -> Proposal | None:
    try:
        proposal = WAYS[spec.kind](draft, spec, remembered)
    except MetricFailed:  # it has a value, but the target has no members that it could be divided by
        return None
    draft.values[spec.name] = proposal.value
    return proposal._replace(message=f"{why}; its last value stands in: {proposal.message}")


def _weigh(draft: Draft, spec: MetricSpec, proposal: Proposal, winner: Step | None) -> Step:
    """Note a proposal; returns the step of the one that leads now."""
    leads = winner is None or proposal.replicas > draft.wanted
    after = proposal.replicas if leads else draft.wanted
    step = draft.note("metric_proposal", after, proposal.reason, proposal.message, proposal.inputs)
    if spec.kind in OF_MEMBERS:
        draft.by_members = max(draft.by_members, proposal.replicas)
    return step if leads or winner is None else winner


def _fail(draft: Draft, spec: MetricSpec, why: str) -> Step:
    reason = FAILURE_REASONS[spec.kind]
    if spec.container and spec.kind is MetricKind.RESOURCE:
        reason = "FailedGetContainerResourceMetric"
    return draft.note("metric_failure", draft.wanted, reason, why, {"metric": spec.name})


def _skip(draft: Draft, spec: MetricSpec, memories: dict[str, MetricMemory]) -> None:
    draft.values[spec.name] = None
    if spec.name in draft.memories:
        memories[spec.name] = draft.memories[spec.name]
    if not spec.is_input:
        message = f"{spec.name} says nothing while there are no replicas"
        draft.settled = draft.note("metric_skipped", draft.wanted, "NoReplicas", message, {"metric": spec.name})


def _combine(draft: Draft, winner: Step | None, failures: list[Step], proposes: bool) -> None:
    draft.has_failures = bool(failures)
    if not proposes:
        floor = draft.bounds.low
        draft.apply("no_metrics", floor, "NoMetrics", f"only the floor of {floor} asks for replicas", {})
    elif winner is None:
        draft.is_blind = True
        draft.settled = failures[0] if failures else draft.settled
    elif failures and draft.wanted < draft.current:
        draft.is_blind = True
        first = failures[0]
        message = f"kept at {draft.current}, since not all metrics have a value: {first.message}"
        draft.apply("failure_blocks_down", draft.current, first.reason, message, first.inputs)
    else:
        draft.settled = winner
