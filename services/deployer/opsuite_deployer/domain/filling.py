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
    StepKind,
    TcpTarget,
    Wait,
    Workload,
    WorkloadTarget,
)
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
            return replace(
                kind,
                args=_all(kind.args, values),
                working_dir=substitute(kind.working_dir, values),
                env=_values(kind.env, values),
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
        case Wait():
            return kind


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


def workloads_of(pipeline: Pipeline, deployment: Deployment) -> Iterator[Workload]:
    """The workloads that a deployment has to do with, filled, in the order of the pipeline. Raises InvalidInput."""
    values = values_for(pipeline, deployment)
    for stage in pipeline.stages:
        for step in stage.steps:
            if isinstance(step.kind, Workload):
                yield fill_workload(step.kind, values)


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
