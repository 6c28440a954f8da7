"""What must be right about a pipeline beyond the shape of its fields. Every violation is reported, by its path.

Paths start at the pipeline: `stages[0].steps[1].command.args[2]`; the adapter puts `pipeline.` in front.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import replace
from graphlib import CycleError, TopologicalSorter
from typing import Protocol

from opsuite_deployer.domain.filling import BUILT_IN, port_names
from opsuite_deployer.domain.hook_rules import moment_violations
from opsuite_deployer.domain.pipeline import (
    KIND_NAMES,
    Check,
    CheckTarget,
    Command,
    ContainerEngine,
    Docker,
    GrpcTarget,
    HttpTarget,
    Kubernetes,
    Pipeline,
    Rollout,
    Stage,
    Step,
    TcpTarget,
    Webhook,
    Workload,
    WorkloadPlatform,
    WorkloadTarget,
)
from opsuite_deployer.domain.revisions import LONGEST_NAME
from opsuite_deployer.domain.rollout_rules import rollout_violations
from opsuite_deployer.domain.routing_rules import routing_violations
from opsuite_deployer.domain.strategy import BlueGreen, Canary, GateStep, RolloutGate, Strategy
from opsuite_kernel.errors import InvalidInput, Violation
from opsuite_validation.templates import opaque, substitute
from opsuite_validation.values import check_dns_label


class Policy(Protocol):
    """What may be started on the deployer's machine. Templates may use the `declared` names."""

    def command(self, command: str, args: Sequence[str], declared: Collection[str]) -> Sequence[Violation]:
        """What is against a command and its arguments; paths `command` and `args[i]`."""

    def workload(self, command: Sequence[str], declared: Collection[str]) -> Sequence[Violation]:
        """What is against the argument vector of a workload; paths `command[i]`."""

    def environment(self, names: Collection[str]) -> Sequence[Violation]:
        """What is against variables that a pipeline sets; paths `env["NAME"]`."""


def violations(pipeline: Pipeline, policy: Policy) -> list[Violation]:
    """Everything that is wrong with a pipeline of correct shape."""
    found = [*_variables(pipeline), *_environments(pipeline), *_needs(pipeline)]
    names = {*BUILT_IN, *pipeline.variables}
    workloads = {
        step.kind.workload.workload if isinstance(step.kind, Rollout) else step.kind.workload
        for stage in pipeline.stages
        for step in stage.steps
        if isinstance(step.kind, Workload | Rollout)
    }
    for index, stage in enumerate(pipeline.stages):
        found += (violation.below(f"stages[{index}]") for violation in _stage(stage, names, workloads, policy))
    for index, hook in enumerate(pipeline.hooks):
        wrong = [*moment_violations(pipeline, hook), *_step(hook.step, names, workloads, policy)]
        found += (violation.below(f"hooks[{index}]") for violation in wrong)
    return found


def _variables(pipeline: Pipeline) -> Iterator[Violation]:
    for name in sorted(set(pipeline.variables) & {*BUILT_IN}):
        yield Violation(f'variables["{name}"]', "is set by the deployer", "RESERVED")
    for name in sorted(pipeline.variables):
        if name == "port" or name.startswith("port_"):
            yield Violation(f'variables["{name}"]', "names that begin with port belong to workloads", "RESERVED")


def _environments(pipeline: Pipeline) -> Iterator[Violation]:
    for name in sorted(set(pipeline.environment_concurrency) - set(pipeline.environments)):
        yield Violation(f'environment_concurrency["{name}"]', "is not one of the environments", "UNKNOWN")
    if pipeline.timeout is not None and pipeline.timeout > pipeline.max_duration:
        yield Violation("timeout", "is longer than max_duration", "CONTRADICTORY")


def _needs(pipeline: Pipeline) -> Iterator[Violation]:
    names = [stage.name for stage in pipeline.stages]
    sound = True
    for index, stage in enumerate(pipeline.stages):
        for position, needed in enumerate(stage.needs or ()):
            if needed not in names:
                sound = False
                field = f"stages[{index}].needs.stages[{position}]"
                yield Violation(field, f"{needed} is not a stage of this pipeline", "UNKNOWN")
    if not sound or len(set(names)) != len(names):
        return
    graph = {
        stage.name: [names[before] for before in pipeline.needed_before(index)]
        for index, stage in enumerate(pipeline.stages)
    }
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        circle = " → ".join(reversed(error.args[1]))
        yield Violation("stages", f"needs go in a circle: {circle}", "CIRCULAR")


def _stage(stage: Stage, names: Collection[str], workloads: Collection[str], policy: Policy) -> Iterator[Violation]:
    for index, step in enumerate(stage.steps):
        yield from (violation.below(f"steps[{index}]") for violation in _step(step, names, workloads, policy))
    for index, gate in enumerate(stage.gates):
        for position, check in enumerate(gate.checks):
            prefix = f"gates[{index}].checks[{position}]"
            yield from (violation.below(prefix) for violation in _check(check, names, workloads))


def _step(step: Step, names: Collection[str], workloads: Collection[str], policy: Policy) -> Iterator[Violation]:
    if step.retry.backoff > step.retry.max_backoff:
        yield Violation("retry.backoff", "is longer than max_backoff", "CONTRADICTORY")
    match step.kind:
        case Command() as command:
            found = _command(command, names, policy)
        case Docker() as docker:
            found = _docker(docker, names)
        case Check() as check:
            found = _check(check, names, workloads)
        case Workload() as workload:
            found = _workload(workload, names, policy)
        case Kubernetes() as kubernetes:
            found = _kubernetes(kubernetes, names)
        case Rollout() as rollout:
            found = _rollout(rollout, names, workloads, policy)
        case Webhook() as webhook:
            found = _templates("metadata", webhook.metadata, names)
        case _:
            return
    yield from (violation.below(KIND_NAMES[type(step.kind)]) for violation in found)


def _command(command: Command, names: Collection[str], policy: Policy) -> Iterator[Violation]:
    yield from policy.command(command.command, command.args, names)
    yield from policy.environment(command.env)
    for violation in policy.environment(command.secret_env):
        yield replace(violation, field=f"secret_{violation.field}")
    yield from _template("working_dir", command.working_dir, names)
    yield from _templates("env", command.env, names)
    for name in sorted(set(command.env) & set(command.secret_env)):
        yield Violation(f'secret_env["{name}"]', "is in env as well", "CONTRADICTORY")


def _docker(docker: Docker, names: Collection[str]) -> Iterator[Violation]:
    yield from _template("image", docker.image, names)
    for index, text in enumerate(docker.command):
        yield from _template(f"command[{index}]", text, names)
    yield from _templates("environment_vars", docker.env, names)
    for index, mount in enumerate(docker.mounts):
        yield from _template(f"mounts[{index}].source", mount.source, names)
    yield from _template("namespace", docker.namespace, names)
    if docker.engine is ContainerEngine.KUBERNETES_JOB and docker.mounts:
        yield Violation("mounts", "a Kubernetes Job has no directories of the deployer's machine", "CONTRADICTORY")
    if docker.engine is ContainerEngine.DOCKER and docker.namespace:
        yield Violation("namespace", "the Docker Engine has no namespaces", "CONTRADICTORY")


def _rollout(
    rollout: Rollout, names: Collection[str], workloads: Collection[str], policy: Policy
) -> Iterator[Violation]:
    yield from (violation.below("workload") for violation in _workload(rollout.workload, names, policy))
    yield from _side_by_side(rollout.workload, names)
    yield from rollout_violations(
        rollout.strategy, rollout.safety, rollout.workload.replicas, has_router=rollout.traffic is not None
    )
    yield from routing_violations(rollout)
    for field, gate in _gates_of(rollout.strategy):
        for index, check in enumerate(gate.checks):
            yield from (violation.below(f"{field}.checks[{index}]") for violation in _check(check, names, workloads))


def _gates_of(strategy: Strategy) -> Iterator[tuple[str, RolloutGate]]:
    """The gates of a strategy with their paths."""
    match strategy:
        case BlueGreen():
            named = {"pre_promotion": strategy.pre_promotion, "post_promotion": strategy.post_promotion}
            yield from ((f"blue_green.{field}", gate) for field, gate in named.items() if gate)
        case Canary():
            for index, step in enumerate(strategy.steps):
                if isinstance(step, GateStep):
                    yield f"canary.steps[{index}].gate", step.gate
            if strategy.background:
                yield "canary.background", strategy.background


def _side_by_side(workload: Workload, names: Collection[str]) -> Iterator[Violation]:
    """Old and new run at the same time."""
    if len(opaque(workload.workload, names)) > LONGEST_NAME:
        yield Violation("workload.workload", f"is longer than {LONGEST_NAME} characters", "MAX_LEN")
    for index, port in enumerate(workload.ports):
        if port.number is not None and workload.platform is not WorkloadPlatform.KUBERNETES:
            reason = "a fixed number serves one replica, and two versions run side by side"
            yield Violation(f"workload.ports[{index}].number", reason, "CONTRADICTORY")


def _kubernetes(kubernetes: Kubernetes, names: Collection[str]) -> Iterator[Violation]:
    yield from _template("manifest_path", kubernetes.manifest_path, names)
    yield from _template("namespace", kubernetes.namespace, names)


def _workload(workload: Workload, names: Collection[str], policy: Policy) -> Iterator[Violation]:
    yield from _template("workload", workload.workload, names)
    if problem := check_dns_label(opaque(workload.workload, names)):
        yield Violation("workload", problem, "DNS_LABEL")
    yield from _template("version", workload.version, names)
    yield from _template("directory", workload.directory, names)
    yield from _template("image", workload.image, names)
    yield from _template("namespace", workload.namespace, names)
    yield from _placed(workload)
    own = {*names, *port_names(workload)}
    if (
        workload.platform is WorkloadPlatform.PROCESS and workload.command
    ):  # what a container runs is the image's affair
        yield from policy.workload(workload.command, own)
    yield from policy.environment(workload.env)
    for index, text in enumerate(workload.command):
        yield from _template(f"command[{index}]", text, own)
    yield from _templates("env", workload.env, own)
    for index, port in enumerate(workload.ports):
        shared = workload.platform is not WorkloadPlatform.KUBERNETES  # where each pod has an address of its own
        if shared and port.number is not None and workload.replicas > 1:
            reason = f"a fixed number serves one replica, not {workload.replicas}"
            yield Violation(f"ports[{index}].number", reason, "CONTRADICTORY")


def _placed(workload: Workload) -> Iterator[Violation]:
    """What the platform needs, and what it has no use for."""
    process = workload.platform is WorkloadPlatform.PROCESS
    if process and not workload.command:
        yield Violation("command", "a process needs one", "REQUIRED")
    if not process and not workload.image:
        yield Violation("image", "a container needs one", "REQUIRED")
    only_containers = {"image": workload.image, "cpus": workload.cpus, "memory_bytes": workload.memory_bytes}
    for field, value in only_containers.items():
        if process and value:
            yield Violation(field, "is for containers, not for processes", "CONTRADICTORY")
    if not process and workload.directory:
        yield Violation("directory", "is for processes, not for containers", "CONTRADICTORY")
    if workload.platform is not WorkloadPlatform.KUBERNETES and workload.namespace:
        yield Violation("namespace", "only Kubernetes has namespaces", "CONTRADICTORY")


def _check(check: Check, names: Collection[str], workloads: Collection[str]) -> Iterator[Violation]:
    if check.timeout > check.deadline:
        yield Violation("timeout", "is longer than deadline", "CONTRADICTORY")
    for field, text in _texts(check.target):
        yield from _template(field, text, names)
    if isinstance(check.target, WorkloadTarget) and check.target.workload not in workloads:
        yield Violation("workload.workload", f"no step of this pipeline runs {check.target.workload}", "UNKNOWN")


def _texts(target: CheckTarget) -> list[tuple[str, str]]:
    match target:
        case HttpTarget():
            return [("http.url", target.url), ("http.body_contains", target.body_contains)]
        case TcpTarget():
            return [("tcp.address", target.address)]
        case GrpcTarget():
            return [("grpc.address", target.address)]
        case WorkloadTarget():
            return [("workload.body_contains", target.body_contains)]


def _templates(field: str, texts: Mapping[str, str], names: Collection[str]) -> Iterator[Violation]:
    for key in sorted(texts):
        yield from _template(f'{field}["{key}"]', texts[key], names)


def _template(field: str, text: str, names: Collection[str]) -> Iterator[Violation]:
    try:
        substitute(text, dict.fromkeys(names, "x"))
    except InvalidInput as error:
        yield from (Violation(field, violation.description, violation.reason) for violation in error.violations)
