"""Looks, before the first step, whether everything that the steps need is there; changes nothing, reports all."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache, partial
from typing import Final

from opsuite_deployer.application.platforms import Platforms
from opsuite_deployer.application.ports import Machine, Problem, SecurityLog
from opsuite_deployer.application.routing import Routers, route_name
from opsuite_deployer.domain.deployment import Deployment, PartKey, PartKind, StepStatus
from opsuite_deployer.domain.filling import fill, values_for
from opsuite_deployer.domain.hooks import applies, field_of
from opsuite_deployer.domain.pipeline import (
    Command,
    Docker,
    Kubernetes,
    OnFailure,
    Pipeline,
    Rollout,
    Step,
    StepKind,
    Webhook,
    Workload,
    WorkloadPlatform,
)
from opsuite_deployer.domain.rollout_words import RolloutPlan
from opsuite_deployer.domain.routing import EdgeRouter, TrafficRouting
from opsuite_kernel.errors import InvalidInput, OpsuiteError
from opsuite_notify.port import SecretRef
from opsuite_validation.values import check_dns_label, check_image

BRINGS_ROUTES: Final = (Kubernetes, Command, Docker)
"""Steps that may make an HTTPRoute or a Service."""


@dataclass(frozen=True, slots=True)
class PlannedStep:
    """A step that would run, with its templates filled."""

    field: str
    stage: str
    step: Step
    kind: StepKind
    rollout: RolloutPlan | None = None
    """What a rollout would do from what is stable now; None for every other step, and where nobody asks."""


class Preflight:
    """Checks tools, paths, disk, platform, engine, routes and credentials."""

    def __init__(
        self,
        *,
        machine: Machine,
        platforms: Platforms,
        routers: Routers,
        min_free_bytes: int,
        security: SecurityLog,
    ) -> None:
        self._machine = machine
        self._platforms = platforms
        self._routers = routers
        self._min_free_bytes = min_free_bytes
        self._security = security

    async def run(self, pipeline: Pipeline, deployment: Deployment) -> list[Problem]:
        """Every check and what it found before a deployment; what the command policy refuses is a security event."""
        checks = await self.look(pipeline, deployment)
        for check in checks:
            if check.refused:
                await self._security.command_rejected(deployment, check.field, [check.message])
        return checks

    async def look(self, pipeline: Pipeline, deployment: Deployment) -> list[Problem]:
        """Every check and what it found, in the order of the pipeline."""
        steps = [one for one in planned(pipeline, deployment) if not _may_be_broken(one.step, deployment)]
        once = _Once(self._machine)
        checks = [self._disk()]
        for planned_step in steps:
            checks += self._step(planned_step, once)
        checks += await asyncio.gather(*self._places([one.kind for one in steps]))
        return checks

    def _places(self, kinds: Sequence[StepKind]) -> Iterator[Awaitable[Problem]]:
        """Questions to the platforms and engines that the steps need, each asked once."""
        workloads = (one.workload if isinstance(one, Rollout) else one for one in kinds)
        places = {(one.platform, one.namespace): None for one in workloads if isinstance(one, Workload)}
        for platform, namespace in places:
            place = f"platform {platform.value}" + (f", namespace {namespace}" if namespace else "")
            yield _ask(place, partial(self._check_platform, platform, namespace))
        if any(isinstance(one, Kubernetes) for one in kinds):
            yield _ask("Kubernetes", self._platforms.manifests().check)
        containers = {(one.engine, one.namespace, one.image): one for one in kinds if isinstance(one, Docker)}
        for container in sorted(containers.values(), key=lambda one: one.image):
            yield _ask(f"image {container.image}", partial(self._check_image, container))
        for index, one in enumerate(kinds):
            if isinstance(one, Rollout) and one.traffic and not isinstance(one.traffic.router, EdgeRouter):
                is_brought = any(isinstance(earlier, BRINGS_ROUTES) for earlier in kinds[:index])
                yield _ask(f"route {route_name(one)}", partial(self._check_route, one, one.traffic, is_brought))

    async def _check_platform(self, platform: WorkloadPlatform, namespace: str) -> None:
        await self._platforms.workloads(platform, namespace).check()

    async def _check_image(self, container: Docker) -> None:
        await self._platforms.containers(container).check(container.image)

    async def _check_route(self, rollout: Rollout, routing: TrafficRouting, is_brought: bool) -> None:
        """Routes are made by people, or by an earlier step: only the first have to be there now."""
        router = self._routers.router(routing, rollout.workload.namespace)
        await router.check()
        if not is_brought:
            await router.observe(route_name(rollout))

    def _disk(self) -> Problem:
        free = self._machine.free_bytes()
        message = f"{free // 1_048_576} MiB free, {self._min_free_bytes // 1_048_576} MiB are needed"
        return Problem("disk", free >= self._min_free_bytes, message)

    def _step(self, planned_step: PlannedStep, once: _Once) -> Iterator[Problem]:
        match planned_step.kind:
            case Command() as command:
                yield self._tool(command, planned_step.field, once)
                yield _path(once, command.working_dir, f"{planned_step.field}.command.working_dir")
                for name, ref in command.secret_env.items():
                    field = f'{planned_step.field}.command.secret_env["{name}"]'
                    yield _look(f"secret {name}", field, partial(self._found, ref))
            case Webhook(secret=ref) if ref is not None:
                field = f"{planned_step.field}.webhook.secret"
                yield _look(f"secret of hook {planned_step.step.name}", field, partial(self._found, ref))
            case Docker() as docker:
                if problem := check_image(docker.image):
                    yield Problem(f"image {docker.image}", False, problem, f"{planned_step.field}.docker.image")
                for index, mount in enumerate(docker.mounts):
                    yield _path(once, mount.source, f"{planned_step.field}.docker.mounts[{index}].source")
            case Workload() as workload:
                yield from self._workload(workload, f"{planned_step.field}.workload", once)
            case Kubernetes(path):
                yield _path(once, path, f"{planned_step.field}.kubernetes.manifest_path", "manifests")
            case Rollout(workload):
                yield from self._workload(workload, f"{planned_step.field}.rollout.workload", once)

    def _workload(self, workload: Workload, field: str, once: _Once) -> Iterator[Problem]:
        if workload.platform is WorkloadPlatform.PROCESS:
            yield _path(once, workload.directory, f"{field}.directory")
            yield self._program(workload, once, f"{field}.command")
        elif problem := check_image(workload.image):
            yield Problem(f"image {workload.image}", False, problem, f"{field}.image")
        if problem := check_dns_label(workload.workload):
            yield Problem(f"workload {workload.workload}", False, problem, field)

    def _found(self, ref: SecretRef) -> str:
        self._machine.secret(ref)
        return "found"

    def _tool(self, command: Command, field: str, once: _Once) -> Problem:
        if problems := self._machine.judge(command.command, command.args, once.directory_or_none(command.working_dir)):
            return _refused(f"command {command.command}", problems, field)
        return _look(f"tool {command.command}", field, lambda: once.program(command.command))

    def _program(self, workload: Workload, once: _Once, field: str) -> Problem:
        """A program named by a path may be brought by an earlier step; every other has to be there now."""
        subject = f"tool {workload.command[0]}"
        if problems := self._machine.judge_workload(workload.command):
            return _refused(subject, problems, field)
        if "/" in workload.command[0]:
            return Problem(subject, passed=True, message="is looked for when the step runs", field=field)
        return _look(subject, field, lambda: once.program(workload.command[0]))


class _Once:
    """The machine, asked each question once: the steps of one deployment mostly ask for the same."""

    def __init__(self, machine: Machine) -> None:
        self.program = cache(machine.program)
        self.directory = cache(machine.directory)

    def directory_or_none(self, path: str) -> str | None:
        """Where a command would run; None where it may not, which is told by a check of its own."""
        try:
            return self.directory(path)
        except InvalidInput:
            return None


def _path(once: _Once, path: str, field: str, what: str = "directory") -> Problem:
    return _look(f"{what} {path or '.'}", field, lambda: once.directory(path))


def planned(pipeline: Pipeline, deployment: Deployment) -> Iterator[PlannedStep]:
    """The steps that a deployment would run, in the order of the pipeline. Raises InvalidInput (template)."""
    values = values_for(pipeline, deployment)
    for stage_index, stage in enumerate(pipeline.stages):
        for index, step in enumerate(stage.steps if applies(stage, deployment) else ()):
            key = PartKey(stage_index, PartKind.STEP, index)
            if deployment.part(key).status is not StepStatus.SKIPPED:
                yield PlannedStep(field_of(pipeline, key), stage.name, step, fill(step.kind, values))


def _may_be_broken(step: Step, deployment: Deployment) -> bool:
    """Whether it is a hook that may fail, of a rollback: nothing stands in the way of a way back."""
    return bool(deployment.rollback_of) and step.on_failure is OnFailure.CONTINUE


def _refused(subject: str, problems: Sequence[str], field: str) -> Problem:
    return Problem(subject, passed=False, message="; ".join(problems), field=field, refused=True)


def _look(subject: str, field: str, look: Callable[[], str]) -> Problem:
    try:
        return Problem(subject, passed=True, message=look(), field=field)
    except InvalidInput as error:
        return Problem(subject, passed=False, message=error.message, field=field)


async def _ask(subject: str, check: Callable[[], Awaitable[None]]) -> Problem:
    try:
        await check()
    except OpsuiteError as error:
        return Problem(subject, passed=False, message=error.message)
    return Problem(subject, passed=True, message="answers")
