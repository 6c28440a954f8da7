"""Fills the templates of a step. Substitution happens inside one text; it never makes two arguments of one."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace

from opsuite_deployer.domain.deployment import Deployment
from opsuite_deployer.domain.pipeline import (
    Check,
    CheckTarget,
    Command,
    Docker,
    GrpcTarget,
    HttpTarget,
    Kubernetes,
    Pipeline,
    Rollout,
    StepKind,
    TcpTarget,
    Wait,
    Webhook,
    Workload,
    WorkloadTarget,
)
from opsuite_deployer.domain.revisions import revision_name
from opsuite_deployer.domain.strategy import BlueGreen, Canary, GateStep, Rolling, RolloutGate, Strategy
from opsuite_validation.templates import substitute

BUILT_IN = ("version", "environment", "deployment_id")
"""Names that every template may use besides the pipeline's variables."""


def values_for(pipeline: Pipeline, deployment: Deployment) -> dict[str, str]:
    """Values of every name that the templates of a deployment may use."""
    return {
        **pipeline.variables,
        **deployment.variables,
        "version": deployment.version,
        "environment": deployment.environment,
        "deployment_id": deployment.id,
    }


def port_names(workload: Workload) -> tuple[str, ...]:
    """Names that only the platform can fill, for each replica: `port` and `port_NAME`."""
    return ("port", *(f"port_{port.name.replace('-', '_')}" for port in workload.ports)) if workload.ports else ()


def fill(kind: StepKind, values: Mapping[str, str]) -> StepKind:
    """Return a step's kind with every template filled. Raises InvalidInput (undeclared name)."""
    match kind:
        case Command():
            return _filled(
                kind, _all(kind.args, values), substitute(kind.working_dir, values), _values(kind.env, values)
            )
        case Docker():
            mounts = tuple(replace(mount, source=substitute(mount.source, values)) for mount in kind.mounts)
            return replace(
                kind,
                image=substitute(kind.image, values),
                command=_all(kind.command, values),
                env=_values(kind.env, values),
                mounts=mounts,
                namespace=substitute(kind.namespace, values),
            )
        case Check():
            return fill_check(kind, values)
        case Workload():
            return fill_workload(kind, values)
        case Kubernetes():
            return replace(
                kind,
                manifest_path=substitute(kind.manifest_path, values),
                namespace=substitute(kind.namespace, values),
            )
        case Rollout():
            return fill_rollout(kind, values)
        case Webhook():
            return replace(kind, metadata=_values(kind.metadata, values))
        case Wait():
            return kind


def _filled(command: Command, args: tuple[str, ...], working_dir: str, env: dict[str, str]) -> Command:
    """The command with these in place of its templates; itself where it has none."""
    if (args, working_dir, env) == (command.args, command.working_dir, command.env):
        return command
    return replace(command, args=args, working_dir=working_dir, env=env)


def fill_rollout(rollout: Rollout, values: Mapping[str, str]) -> Rollout:
    """Return a rollout with every template filled. Raises InvalidInput (undeclared name)."""
    return replace(
        rollout, workload=fill_workload(rollout.workload, values), strategy=_strategy(rollout.strategy, values)
    )


def _strategy(strategy: Strategy, values: Mapping[str, str]) -> Strategy:
    match strategy:
        case Rolling():
            return strategy
        case BlueGreen():
            before, after = _gate(strategy.pre_promotion, values), _gate(strategy.post_promotion, values)
            return replace(strategy, pre_promotion=before, post_promotion=after)
        case Canary():
            steps = tuple(
                replace(step, gate=fill_gate(step.gate, values)) if isinstance(step, GateStep) else step
                for step in strategy.steps
            )
            return replace(strategy, steps=steps, background=_gate(strategy.background, values))


def _gate(gate: RolloutGate | None, values: Mapping[str, str]) -> RolloutGate | None:
    return fill_gate(gate, values) if gate else None


def fill_gate(gate: RolloutGate, values: Mapping[str, str]) -> RolloutGate:
    """Return a gate with every template filled. Raises InvalidInput (undeclared name)."""
    return replace(gate, checks=tuple(fill_check(check, values) for check in gate.checks))


def fill_workload(workload: Workload, values: Mapping[str, str]) -> Workload:
    """Return a workload with every template filled, but for what only the platform knows: its ports."""
    own = {**values, **{name: f"${{{name}}}" for name in port_names(workload)}}
    return replace(
        workload,
        workload=substitute(workload.workload, values),
        version=substitute(workload.version, values) or values["version"],
        command=_all(workload.command, own),
        directory=substitute(workload.directory, values),
        env=_values(workload.env, own),
        image=substitute(workload.image, values),
        namespace=substitute(workload.namespace, values),
    )


def workloads_of(pipeline: Pipeline, deployment: Deployment) -> Iterator[tuple[Workload, str]]:
    """The workloads that a deployment brings about, filled, each with its name on its platform. Raises InvalidInput."""
    values = values_for(pipeline, deployment)
    for stage in pipeline.stages:
        for step in stage.steps:
            if isinstance(step.kind, Workload):
                workload = fill_workload(step.kind, values)
                yield workload, workload.workload
            elif isinstance(step.kind, Rollout):
                workload = fill_workload(step.kind.workload, values)
                yield workload, revision_name(workload)


def fill_check(check: Check, values: Mapping[str, str]) -> Check:
    """Return a check with every template filled. Raises InvalidInput (undeclared name)."""
    return replace(check, target=_target(check.target, values))


def _target(target: CheckTarget, values: Mapping[str, str]) -> CheckTarget:
    match target:
        case HttpTarget():
            body = substitute(target.body_contains, values)
            return replace(target, url=substitute(target.url, values), body_contains=body)
        case TcpTarget():
            return replace(target, address=substitute(target.address, values))
        case GrpcTarget():
            return replace(target, address=substitute(target.address, values))
        case WorkloadTarget():
            body = substitute(target.body_contains, values)
            return replace(target, workload=substitute(target.workload, values), body_contains=body)


def _all(texts: tuple[str, ...], values: Mapping[str, str]) -> tuple[str, ...]:
    return tuple(substitute(text, values) for text in texts)


def _values(texts: Mapping[str, str], values: Mapping[str, str]) -> dict[str, str]:
    return {name: substitute(text, values) for name, text in texts.items()}
