"""A container engine in memory: what a container does is written down beforehand, by its command."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import timedelta

from fakes.clock import NOON

from opsuite_kernel.errors import Unavailable
from opsuite_platforms.port import ContainerSpec, Exit, ExitKind, OnOutput, OutputLine, Stream

SIGTERM, SIGKILL = 15, 9


@dataclass(frozen=True, slots=True)
class Program:
    """What a container does: it writes its lines, then ends with its status or stays until it is stopped."""

    lines: tuple[tuple[Stream, str], ...] = ()
    exit_code: int = 0
    stays: bool = False
    ignores_sigterm: bool = False


@dataclass
class FakeContainer:
    """A container that was started; `exit` is None while it runs."""

    spec: ContainerSpec
    program: Program
    exit: Exit | None = None
    output: list[OutputLine] = field(default_factory=list)
    ended: asyncio.Event = field(default_factory=asyncio.Event)

    def end(self, how: Exit) -> None:
        """End it, unless it has ended."""
        if self.exit is None:
            self.exit = how
            self.ended.set()

    def stop(self) -> Exit:
        """End it as an engine does that is told to stop it; returns how it ended."""
        self.end(Exit(ExitKind.SIGNALLED, SIGKILL if self.program.ignores_sigterm else SIGTERM))
        assert self.exit is not None
        return self.exit


class FakeEngine:
    """The machine that containers live on; it outlives every runner, as an engine outlives its callers."""

    def __init__(self, images: Sequence[str] = ("tiny",)) -> None:
        self.images = set(images)
        self.programs: dict[tuple[str, ...], Program] = {}
        self.containers: dict[str, FakeContainer] = {}
        self.started: list[str] = []
        """Names of all containers ever started, in order."""
        self.is_reachable = True

    def start(self, spec: ContainerSpec) -> FakeContainer:
        """Start a container that does what the program of its command says; one without a program exits with 0."""
        program = self.programs.get(spec.command, Program())
        container = self.containers[spec.name] = FakeContainer(spec, program)
        self.started.append(spec.name)
        container.output += [
            OutputLine(NOON + timedelta(microseconds=len(self.started) * 1000 + number), stream, text)
            for number, (stream, text) in enumerate(program.lines)
        ]
        if not program.stays:
            container.end(Exit(ExitKind.EXITED, program.exit_code))
        return container


class FakeContainers:
    """Fits `opsuite_platforms.port.ContainerRunner`. Several may share one engine, as several processes do."""

    def __init__(self, engine: FakeEngine) -> None:
        self._engine = engine

    async def run(self, spec: ContainerSpec, on_output: OnOutput) -> Exit:
        self._reach()
        if (container := self._engine.containers.get(spec.name)) is None:
            if spec.image not in self._engine.images:
                return Exit(ExitKind.NOT_STARTED, message=f"no such image: {spec.image}")
            container = self._engine.start(spec)
        on_output(within_limit(container.output, spec.output_bytes))
        try:
            async with asyncio.timeout(spec.timeout.total_seconds()):
                await container.ended.wait()
        except TimeoutError:
            container.exit = Exit(ExitKind.TIMED_OUT, container.stop().code)
        return container.exit or Exit(ExitKind.LOST, message="removed")

    async def stop(self, name: str, *, grace: timedelta) -> None:
        self._reach()
        if container := self._engine.containers.get(name):
            container.stop()

    async def forget(self, name: str) -> None:
        self._reach()
        if container := self._engine.containers.pop(name, None):
            container.ended.set()

    async def list_names(self, label: str, value: str) -> Sequence[str]:
        self._reach()
        return sorted(name for name, each in self._engine.containers.items() if each.spec.labels.get(label) == value)

    async def check(self, image: str | None = None) -> None:
        self._reach()
        if image is not None and image not in self._engine.images:
            raise Unavailable(f"no such image: {image}")

    def _reach(self) -> None:
        if not self._engine.is_reachable:
            raise Unavailable("the engine does not answer")


def within_limit(lines: Sequence[OutputLine], limit_bytes: int) -> list[OutputLine]:
    """The lines that fit, and a mark where the rest was cut."""
    kept, left = list[OutputLine](), limit_bytes
    for line in lines:
        left -= len(line.text)
        if left < 0:
            return [*kept, OutputLine(NOON, Stream.SYSTEM, "output cut")]
        kept.append(line)
    return kept
