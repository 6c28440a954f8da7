"""COMMAND: a program of this machine, judged like every command of the suite, and never run by a shell."""

from __future__ import annotations

import os
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Final

from opsuite_healer.adapters.actions.action import done, failed
from opsuite_healer.adapters.actions.once import Once
from opsuite_healer.adapters.actions.params import Reader
from opsuite_healer.application.actions import ActionCall, ActionResult
from opsuite_healer.domain.actions import ActionKind, Parameter, Risk
from opsuite_kernel.errors import Conflict, InvalidInput
from opsuite_platforms.port import CommandRunner, CommandSpec, OutputLine
from opsuite_runs.faults import declare
from opsuite_validation.commands import CommandPolicy, judge, judge_links, resolve_program
from opsuite_validation.paths import resolve_below

STARTED: Final = declare("healer.command_begun", "a command is about to be started, or has been")
LONGEST: Final = timedelta(days=1)
"""The timeout of the action ends a command before."""
KEPT_CHARACTERS: Final = 1500
INTERRUPTED: Final = "it was interrupted, and nobody knows how far it came; it does not say that it may be repeated"


@dataclass(frozen=True, slots=True)
class Program:
    """What is to be run."""

    argv: tuple[str, ...]
    directory: str
    is_idempotent: bool


class Commands:
    """Judges and runs commands, for every action that has one."""

    def __init__(self, runner: CommandRunner, policy: CommandPolicy) -> None:
        self._runner = runner
        self._policy = policy

    def read(self, params: Reader) -> tuple[str, ...]:
        """The words of `command`."""
        try:
            words = tuple(shlex.split(params.text("command")))
        except ValueError as error:
            params.wrong("command", f"is no command line: {error}", "COMMAND_LINE")
            return ()
        if words:
            for violation in judge(self._policy, words[0], words[1:]):
                params.wrong("command", f"{violation.field}: {violation.description}", violation.reason)
        return words

    async def run(self, words: Sequence[str], directory: str, call: ActionCall) -> ActionResult:
        """Run it to its end. Raises InvalidInput (what links lead to), Conflict (no directory to work in)."""
        if not self._policy.roots:
            raise Conflict("no directory is set below which commands may work", reason="NO_ROOTS")
        place = resolve_below(self._policy.roots, directory or ".", relative_to=self._policy.roots[0])
        if wrong := judge_links(self._policy, words[1:], place):
            raise InvalidInput(wrong)
        lines: list[OutputLine] = []
        spec = CommandSpec(
            argv=(resolve_program(self._policy, words[0]), *words[1:]),
            directory=str(place),
            env=self._environment(call),
            timeout=LONGEST,
            output_bytes=65_536,
        )
        ended = await self._runner.run(spec, lines.extend)
        output = "\n".join(line.text for line in lines)[-KEPT_CHARACTERS:]
        facts = {"exit": ended.kind.value, "code": str(ended.code), "output": output}
        if ended.succeeded:
            return done(f"{Path(words[0]).name} exited with 0", facts)
        told = ended.message or f"{Path(words[0]).name} {ended.kind.value} with {ended.code}"
        return failed(told, facts)

    def _environment(self, call: ActionCall) -> Mapping[str, str]:
        """The whole of it: what the action is about, and where programs are."""
        return {
            "PATH": os.pathsep.join(str(place) for place in self._policy.trusted_directories),
            "LANG": "C.UTF-8",
            "OPSUITE_ACTION": call.key,
            "OPSUITE_ACTOR": call.actor,
            "OPSUITE_INCIDENT": call.incident,
            "OPSUITE_TARGET": call.target.canonical if call.target else "",
            "TRACEPARENT": call.traceparent,
        }


class Command:
    """Runs once, unless it says that it may be repeated: a crash in the middle leaves nobody who knows how it ended."""

    kind = ActionKind(
        "COMMAND",
        "Runs a program on the healer's machine: an allowed command, without a shell.",
        Risk.HIGH,
        (
            Parameter("command", 'Program and arguments: "systemctl reload nginx".', is_required=True),
            Parameter("directory", "Where it works, below an allowed root; empty means the first root."),
            Parameter("idempotent", "Whether it may be run again when it was interrupted.", default="false"),
        ),
        needs_target=False,
    )

    def __init__(self, commands: Commands, once: Once) -> None:
        self._commands = commands
        self._once = once

    def read(self, params: Reader) -> Program:
        """What is to be run."""
        return Program(self._commands.read(params), params.text("directory"), params.flag("idempotent"))

    async def prepare(self, call: ActionCall) -> Mapping[str, str]:
        """Nothing."""
        return {}

    async def run(self, call: ActionCall, before: Mapping[str, str]) -> ActionResult:
        """Run it."""
        reader = Reader(call.spec.params)
        program = self.read(reader)
        if reader.found:  # a parameter that was filled in with something that may not be run
            raise InvalidInput(reader.found)
        if not await self._once.begin(call) and not program.is_idempotent:
            return failed(INTERRUPTED, {"reason": "INTERRUPTED"})
        STARTED.hit()
        return await self._commands.run(program.argv, program.directory, call)
