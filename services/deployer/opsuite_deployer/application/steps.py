"""Does one attempt of a step or gate, and says how it ended. What it does was written down before it is called."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace
from typing import Final, Protocol, runtime_checkable

from opsuite_deployer.application.attempt import Attempt
from opsuite_deployer.application.checks import Checks, Where
from opsuite_deployer.application.platforms import Platforms
from opsuite_deployer.application.ports import CommandDefaults, Machine, SecurityLog, StepLine
from opsuite_deployer.application.rollouts import Link, Rollouts
from opsuite_deployer.application.webhooks import Webhooks
from opsuite_deployer.application.workloads import workload_spec
from opsuite_deployer.domain.deployment import PartKind
from opsuite_deployer.domain.filling import fill, fill_check, values_for, workloads_of
from opsuite_deployer.domain.pipeline import Check, Command, Docker, Kubernetes, Rollout, Wait, Webhook, Workload
from opsuite_deployer.domain.rollout_parts import rollout_at
from opsuite_deployer.domain.turn import Outcome, PartEnded
from opsuite_kernel.clock import Clock
from opsuite_kernel.errors import NotFound, OpsuiteError
from opsuite_platforms.manifests_port import ManifestSet
from opsuite_platforms.port import (
    CommandRunner,
    CommandSpec,
    ContainerSpec,
    Exit,
    ExitKind,
    MountSpec,
    OnOutput,
    OutputLine,
    Platform,
)

LAST_LINES: Final = 10
"""Log lines that a failure carries."""

Sink = Callable[[Sequence[StepLine]], None]
"""Gets the lines that steps write; must not block."""

_OUTCOMES: Final = {
    ExitKind.EXITED: Outcome.FAILED,
    ExitKind.SIGNALLED: Outcome.FAILED,
    ExitKind.NOT_STARTED: Outcome.FAILED,
    ExitKind.TIMED_OUT: Outcome.TIMED_OUT,
    ExitKind.CANCELLED: Outcome.CANCELLED,
    ExitKind.LOST: Outcome.UNKNOWN,
}


class Armed(Protocol):
    """A command that is ready to start; it has to be run or dropped."""

    def begin(self) -> None:
        """Start it, from any thread, without waiting; `run` tells how that went."""

    async def run(self, on_output: OnOutput) -> Exit:
        """What `CommandRunner.run` does, of a program that may have begun."""

    async def drop(self) -> None:
        """Take it back: nothing of it is alive when this returns."""


@runtime_checkable
class ArmingRunner(CommandRunner, Protocol):
    """A runner that can have everything ready before a program may start."""

    def arm(self, spec: CommandSpec) -> Armed | None:
        """Get ready to run a program; None if that would take waiting."""


class Steps:
    """Does steps and gates through the ports of the world."""

    def __init__(
        self,
        *,
        commands: CommandRunner,
        platforms: Platforms,
        checks: Checks,
        rollouts: Rollouts,
        webhooks: Webhooks,
        machine: Machine,
        clock: Clock,
        defaults: CommandDefaults,
        security: SecurityLog,
    ) -> None:
        self._commands = commands
        self._arming = commands if isinstance(commands, ArmingRunner) else None
        self._platforms = platforms
        self._checks = checks
        self._rollouts = rollouts
        self._webhooks = webhooks
        self._machine = machine
        self._clock = clock
        self._defaults = defaults
        self._security = security

    def arm(self, attempt: Attempt) -> Armed | None:
        """Get a command ready before its intent is recorded; None for what `run` sees to when it has been."""
        try:
            command = _command_of(attempt)
            if self._arming is None or command is None:
                return None
            directory, problems = self._judge(command)
            return None if problems else self._arming.arm(self._spec(attempt, command, directory))
        except (OpsuiteError, OSError):  # it is met again when the step runs, and told there
            return None

    async def run(self, attempt: Attempt, sink: Sink, link: Link, armed: Armed | None = None) -> PartEnded:
        """Do it to its end; `link` ties a rollout to its deployment, `armed` is the command if it is ready.

        Cancelling the call ends local programs and leaves containers to whoever adopts them.
        """
        last: deque[str] = deque(maxlen=LAST_LINES)

        def on_output(lines: Sequence[OutputLine]) -> None:
            last.extend(line.text for line in lines)
            sink([StepLine(attempt.stage, attempt.step.name, attempt.number, line) for line in lines])

        try:
            ended = _ended(attempt, await armed.run(on_output)) if armed else await self._do(attempt, on_output, link)
        except OpsuiteError as error:
            ended = PartEnded(attempt.key, attempt.number, Outcome.FAILED, message=error.message)
        return replace(ended, last_log_lines=tuple(last)) if last else ended

    async def stop(self, attempt: Attempt) -> None:
        """End what outlives a cancelled `run`: a container; a rollout is left as it is."""
        rollout = rollout_at(attempt.owned.pipeline, attempt.owned.deployment, attempt.key)
        if rollout is not None:
            await self._rollouts.leave(attempt, rollout)
        if (docker := _container_of(attempt)) is not None:
            await self._platforms.containers(docker).stop(attempt.operation, grace=self._defaults.grace)

    async def forget(self, attempt: Attempt) -> None:
        """Clean up after a result that is recorded."""
        if (docker := _container_of(attempt)) is not None:
            await self._platforms.containers(docker).forget(attempt.operation)

    async def _do(self, attempt: Attempt, on_output: Callable[[Sequence[OutputLine]], None], link: Link) -> PartEnded:
        values = values_for(attempt.owned.pipeline, attempt.owned.deployment)
        if attempt.key.kind is PartKind.GATE:
            gate = attempt.owned.pipeline.stages[attempt.key.stage].gates[attempt.key.position]
            return await self._ask(attempt, [fill_check(check, values) for check in gate.checks])
        match fill(attempt.step.kind, values):
            case Command() as command:
                return _ended(attempt, await self._command(attempt, command, on_output))
            case Docker() as docker:
                return _ended(attempt, await self._container(attempt, docker, on_output))
            case Check() as check:
                return await self._in_time(attempt, self._ask(attempt, [check]))
            case Wait(duration):
                return await self._wait(attempt, duration.total_seconds())
            case Workload() as workload:
                return await self._in_time(attempt, self._workload(attempt, workload))
            case Kubernetes() as kubernetes:
                return await self._in_time(attempt, self._manifests(attempt, kubernetes, on_output))
            case Webhook() as webhook:
                return await self._in_time(attempt, self._webhooks.call(attempt, webhook))
            case Rollout() as rollout:
                return await self._rollouts.run(attempt, rollout, self._where(attempt), link)

    # programs and containers

    async def _command(
        self, attempt: Attempt, command: Command, on_output: Callable[[Sequence[OutputLine]], None]
    ) -> Exit:
        directory, problems = self._judge(command)
        if problems:
            step = f"{attempt.stage}/{attempt.step.name}"
            await self._security.command_rejected(attempt.owned.deployment, step, problems)
            return Exit(ExitKind.NOT_STARTED, message="; ".join(problems))
        return await self._commands.run(self._spec(attempt, command, directory), on_output)

    def _judge(self, command: Command) -> tuple[str, Sequence[str]]:
        """Where a command is to run, and what the command policy has against it there. Raises InvalidInput."""
        directory = self._machine.directory(command.working_dir)
        return directory, self._machine.judge(command.command, command.args, directory)

    def _spec(self, attempt: Attempt, command: Command, directory: str) -> CommandSpec:
        secrets = {name: self._machine.secret(ref) for name, ref in command.secret_env.items()}
        return CommandSpec(
            argv=(self._machine.program(command.command), *command.args),
            directory=directory,
            env={"PATH": self._machine.search_path(), **_identity(attempt), **command.env, **secrets},
            timeout=attempt.step.timeout,
            memory_bytes=command.memory_bytes or self._defaults.memory_bytes,
            cpu_seconds=command.cpu_seconds,
            file_size_bytes=command.file_size_bytes
            if command.file_size_bytes is not None
            else self._defaults.file_size_bytes,
            output_bytes=self._defaults.output_bytes,
            grace=self._defaults.grace,
            secrets=tuple(secrets.values()),
        )

    async def _container(
        self, attempt: Attempt, docker: Docker, on_output: Callable[[Sequence[OutputLine]], None]
    ) -> Exit:
        deployment = attempt.owned.deployment
        spec = ContainerSpec(
            name=attempt.operation,
            image=docker.image,
            command=docker.command,
            env={**_identity(attempt), **docker.env},
            labels={
                "opsuite.run": deployment.id,
                "opsuite.step": f"{attempt.stage}/{attempt.step.name}",
                "opsuite.attempt": str(attempt.number),
                "opsuite.epoch": str(attempt.owned.lease.epoch),
            },
            timeout=attempt.step.timeout,
            mounts=tuple(
                MountSpec(self._machine.directory(mount.source), mount.target, mount.writable)
                for mount in docker.mounts
            ),
            cpus=docker.cpus,
            memory_bytes=docker.memory_bytes,
            pids=docker.pids,
            network_disabled=docker.network_disabled,
            output_bytes=self._defaults.output_bytes,
            grace=self._defaults.grace,
        )
        return await self._platforms.containers(docker).run(spec, _skipping(on_output, attempt.lines_before))

    # checks, waits, workloads

    async def _ask(self, attempt: Attempt, checks: Sequence[Check]) -> PartEnded:
        healthy, said = await self._checks.decide_all(checks, self._where(attempt))
        return PartEnded(attempt.key, attempt.number, Outcome.SUCCEEDED if healthy else Outcome.FAILED, message=said)

    async def _wait(self, attempt: Attempt, seconds: float) -> PartEnded:
        began = attempt.owned.deployment.part(attempt.key).started_at or self._clock.now()
        left = seconds - (self._clock.now() - began).total_seconds()
        await asyncio.sleep(max(0.0, min(left, seconds)))
        return PartEnded(attempt.key, attempt.number, Outcome.SUCCEEDED)

    def _where(self, attempt: Attempt) -> Where:
        """Where the workloads of the attempt's pipeline are, as its deployment names them."""

        def find(name: str) -> tuple[Platform, str]:
            for workload, there in workloads_of(attempt.owned.pipeline, attempt.owned.deployment):
                if workload.workload == name:
                    return self._platforms.workloads(workload.platform, workload.namespace), there
            raise NotFound("workload", name)

        return find

    async def _workload(self, attempt: Attempt, workload: Workload) -> PartEnded:
        spec = workload_spec(workload, self._machine, _identity(attempt))
        await self._platforms.workloads(workload.platform, workload.namespace).apply(spec, epoch=attempt.owned.fence)
        said = f"{workload.replicas} of {workload.workload} {workload.version} asked for"
        return PartEnded(attempt.key, attempt.number, Outcome.SUCCEEDED, message=said)

    async def _manifests(
        self, attempt: Attempt, kubernetes: Kubernetes, on_output: Callable[[Sequence[OutputLine]], None]
    ) -> PartEnded:
        applier = self._platforms.manifests()
        deployment = attempt.owned.deployment
        wanted = ManifestSet(
            owner=f"{deployment.pipeline}/{deployment.environment}/{attempt.stage}/{attempt.step.name}",
            namespace=kubernetes.namespace or self._platforms.namespace,
            documents=tuple(await applier.load(self._machine.directory(kubernetes.manifest_path))),
            progress_deadline=attempt.step.timeout,
            keep_dropped=kubernetes.keep_dropped,
        )
        result = await applier.run(wanted, epoch=attempt.owned.fence, on_output=on_output)
        outcome = Outcome.SUCCEEDED if result.succeeded else Outcome.FAILED
        return PartEnded(attempt.key, attempt.number, outcome, message=result.message)

    async def _in_time(self, attempt: Attempt, work: Awaitable[PartEnded]) -> PartEnded:
        try:
            async with asyncio.timeout(attempt.step.timeout.total_seconds()):
                return await work
        except TimeoutError:
            said = f"took longer than {attempt.step.timeout.total_seconds():g} s"
            return PartEnded(attempt.key, attempt.number, Outcome.TIMED_OUT, message=said)


def _container_of(attempt: Attempt) -> Docker | None:
    """The container of an attempt, with its templates filled; None if it is something else."""
    if attempt.key.kind is PartKind.GATE or not isinstance(attempt.step.kind, Docker):
        return None
    filled = fill(attempt.step.kind, values_for(attempt.owned.pipeline, attempt.owned.deployment))
    return filled if isinstance(filled, Docker) else None


def _command_of(attempt: Attempt) -> Command | None:
    """The command of an attempt, with its templates filled; None if it is something else."""
    if attempt.key.kind is PartKind.GATE or not isinstance(attempt.step.kind, Command):
        return None
    filled = fill(attempt.step.kind, values_for(attempt.owned.pipeline, attempt.owned.deployment))
    return filled if isinstance(filled, Command) else None


def _identity(attempt: Attempt) -> dict[str, str]:
    deployment = attempt.owned.deployment
    return {
        "DEPLOYMENT_ID": deployment.id,
        "DEPLOYMENT_VERSION": deployment.version,
        "DEPLOYMENT_ENVIRONMENT": deployment.environment,
        "OPSUITE_EPOCH": str(attempt.owned.lease.epoch),
    }


def _ended(attempt: Attempt, exit_: Exit) -> PartEnded:
    outcome = Outcome.SUCCEEDED if exit_.succeeded else _OUTCOMES[exit_.kind]
    return PartEnded(
        attempt.key,
        attempt.number,
        outcome,
        exit_code=exit_.code if exit_.kind is ExitKind.EXITED else None,
        message=exit_.message or _said(exit_),
    )


def _said(exit_: Exit) -> str:
    if exit_.succeeded:
        return ""
    if exit_.kind is ExitKind.EXITED:
        return f"exited with status {exit_.code}"
    if exit_.kind is ExitKind.SIGNALLED:
        return f"ended by signal {exit_.code}"
    words: str = exit_.kind.value
    return words.replace("_", " ")


def _skipping(on_output: Callable[[Sequence[OutputLine]], None], count: int) -> Callable[[Sequence[OutputLine]], None]:
    """Leave out the first `count` lines."""
    left = count

    def rest(lines: Sequence[OutputLine]) -> None:
        nonlocal left
        kept = lines[left:]
        left = max(0, left - len(lines))
        if kept:
            on_output(kept)

    return rest if count else on_output
