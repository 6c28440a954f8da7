"""Says in a few words what a step would do."""

from __future__ import annotations

import shlex

from opsuite_deployer.domain.pipeline import (
    Check,
    CheckTarget,
    Command,
    Docker,
    GrpcTarget,
    HttpTarget,
    Kubernetes,
    Rollout,
    StepKind,
    TcpTarget,
    Wait,
    Webhook,
    Workload,
    WorkloadTarget,
)
from opsuite_deployer.domain.rollout_explain import explain
from opsuite_deployer.domain.rollout_words import RolloutPlan
from opsuite_deployer.domain.strategy import STRATEGY_NAMES


def action_of(kind: StepKind, plan: RolloutPlan | None = None) -> str:
    """What a step with its templates filled would do, in one line; `plan` is that of a rollout."""
    match kind:
        case Command():
            where = f" (in {kind.working_dir})" if kind.working_dir else ""
            return shlex.join((kind.command, *kind.args)) + where
        case Docker():
            return f"run {kind.image}" + (f": {shlex.join(kind.command)}" if kind.command else "")
        case Check():
            return f"wait until {_asked(kind.target)} is healthy"
        case Wait():
            return f"wait {kind.duration.total_seconds():g} s"
        case Webhook():
            return f"POST to {kind.url}"
        case Kubernetes():
            return f"apply {kind.manifest_path}"
        case Rollout(workload):
            how = STRATEGY_NAMES[type(kind.strategy)].replace("_", "-")
            expected = f" ({_expectation(plan)})" if plan else ""
            return f"roll out {workload.replicas} of {workload.workload} {workload.version}, {how}{expected}"
        case Workload():
            return f"run {kind.replicas} of {kind.workload} {kind.version}: {shlex.join(kind.command)}"


def _expectation(plan: RolloutPlan) -> str:
    """What to expect of a rollout; starting of replicas is not counted."""
    if plan.skips_strategy:
        return f"steps and gates are skipped: {plan.skips_strategy}"
    expected = explain(plan)
    waits = ", waits for a person" if expected.waits_for_person else ""
    promoted, back = expected.least_to_promote.total_seconds(), expected.most_to_roll_back.total_seconds()
    return f"promoted after {promoted:g} s at the earliest{waits}, back within {back:g} s"


def _asked(target: CheckTarget) -> str:
    match target:
        case HttpTarget():
            return target.url
        case TcpTarget() | GrpcTarget():
            return target.address
        case WorkloadTarget():
            return f"workload {target.workload}{target.path}"
