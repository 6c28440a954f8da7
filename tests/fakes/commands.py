"""Commands in memory: what a program does is written down beforehand, by its argument vector."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field

from fakes.clock import NOON

from opsuite_kernel.errors import Unavailable
from opsuite_platforms.masking import Masking
from opsuite_platforms.port import CommandSpec, Exit, ExitKind, OnOutput, OutputLine, Stream

SIGTERM = 15


@dataclass(frozen=True, slots=True)
class Script:
    """What a program does: it writes its lines, then ends as told, or stays until it is stopped."""

    lines: tuple[tuple[Stream, str], ...] = ()
    exit: Exit = field(default_factory=lambda: Exit(ExitKind.EXITED, 0))
    stays: bool = False


class FakeCommands:
    """Fits `opsuite_platforms.port.CommandRunner`. A program without a script exits with 0 at once."""

    def __init__(self) -> None:
        self.scripts: dict[tuple[str, ...], Script] = {}
        self.started: list[CommandSpec] = []
        """All programs ever started, in order."""
        self.running: list[CommandSpec] = []
        self.changed = asyncio.Event()
        """Set whenever a program starts or ends; for waiting tests, which clear it."""
        self.is_available = True

    async def close(self) -> None:
        """From now on nothing can be run."""
        self.is_available = False

    async def run(self, spec: CommandSpec, on_output: OnOutput) -> Exit:
        if not self.is_available:
            raise Unavailable("the spawner is closed")
        script = self.scripts.get(spec.argv, Script())
        self.started.append(spec)
        self.running.append(spec)
        self.changed.set()
        try:
            masked = tuple((stream, without_secrets(text, spec.secrets)) for stream, text in script.lines)
            if lines := within_limit(masked, spec.output_bytes):
                on_output(lines)
            return await self._end_of(spec, script)
        finally:
            self.running.remove(spec)
            self.changed.set()

    async def _end_of(self, spec: CommandSpec, script: Script) -> Exit:
        if not script.stays:
            await asyncio.sleep(0)
            return script.exit
        try:
            async with asyncio.timeout(spec.timeout.total_seconds()):
                await asyncio.Event().wait()
        except TimeoutError:
            return Exit(ExitKind.TIMED_OUT, SIGTERM)
        raise AssertionError


def without_secrets(text: str, secrets: tuple[str, ...]) -> str:
    """The text with *** in the place of secrets."""
    masking = Masking(secrets)
    return (masking.feed(text.encode()) + masking.finish()).decode()


def within_limit(lines: tuple[tuple[Stream, str], ...], limit_bytes: int) -> list[OutputLine]:
    """The lines that fit, the last one in part, then a mark that says what was dropped."""
    kept, left, dropped = list[OutputLine](), limit_bytes, 0
    for stream, text in lines:
        part = text[:left]
        if part:
            kept.append(OutputLine(NOON, stream, part))
        dropped += len(text) - len(part)
        left -= min(left, len(text) + 1)
    if dropped:
        kept.append(OutputLine(NOON, Stream.SYSTEM, f"output cut here: {dropped} bytes were dropped"))
    return kept
