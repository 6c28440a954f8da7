"""Programs that checks run: judged when they are written down, and again, with what links lead to, before a start."""

from __future__ import annotations

import os
from collections.abc import Sequence
from datetime import timedelta
from typing import Final

from opsuite_healer.domain.checks.check import CommandText
from opsuite_kernel.errors import InvalidInput, Unavailable, Violation
from opsuite_platforms.port import CommandRunner, CommandSpec, Exit, ExitKind, OutputLine
from opsuite_probes.port import CommandAnswer, CommandProbe, Outcome
from opsuite_validation.commands import CommandPolicy, judge, judge_links, resolve_program
from opsuite_validation.paths import resolve_below

OUTPUT_BYTES: Final = 16_384
GRACE: Final = timedelta(seconds=1)
SHOWN: Final = 200
"""Characters of the last line of output that people are shown."""


class Commands:
    """Judges and runs programs. Its `ask` fits `opsuite_probes.port.CommandAsker`."""

    def __init__(self, runner: CommandRunner, policy: CommandPolicy) -> None:
        self._runner = runner
        self._policy = policy

    def judge(self, text: CommandText) -> Sequence[Violation]:
        """All that the rules have against a program as it is written."""
        return judge(self._policy, text.command, text.args)

    def probe(self, text: CommandText) -> CommandProbe:
        """The program as it is started. Raises InvalidInput."""
        if found := self.judge(text):
            raise InvalidInput(found)
        roots = self._policy.roots
        directory = resolve_below(roots, text.working_dir or ".", relative_to=roots[0])
        if found := judge_links(self._policy, text.args, directory):
            raise InvalidInput(found)
        path = os.pathsep.join(str(place) for place in self._policy.trusted_directories)
        program = resolve_program(self._policy, text.command)
        return CommandProbe((program, *text.args), directory, {"PATH": path, "LANG": "C.UTF-8"})

    async def ask(self, probe: CommandProbe, *, timeout: timedelta) -> CommandAnswer:
        """HEALTHY for exit status 0, UNHEALTHY for any other end, UNKNOWN where it could not be started."""
        lines: list[OutputLine] = []
        spec = CommandSpec(probe.argv, probe.directory, probe.env, timeout, output_bytes=OUTPUT_BYTES, grace=GRACE)
        try:
            return answer_of(await self._runner.run(spec, lines.extend), lines)
        except Unavailable as error:
            return CommandAnswer(Outcome.UNKNOWN, f"cannot be asked: {error.message}")


def answer_of(ended: Exit, lines: Sequence[OutputLine]) -> CommandAnswer:
    """What the end of a program means."""
    said = next((line.text.strip() for line in reversed(lines) if line.text.strip()), "")[:SHOWN]
    match ended.kind:
        case ExitKind.EXITED:
            outcome = Outcome.HEALTHY if ended.code == 0 else Outcome.UNHEALTHY
            return CommandAnswer(outcome, f"exit status {ended.code}: {said}" if said else f"exit status {ended.code}")
        case ExitKind.SIGNALLED:
            return CommandAnswer(Outcome.UNHEALTHY, f"ended by signal {ended.code}")
        case ExitKind.TIMED_OUT:
            return CommandAnswer(Outcome.UNHEALTHY, "did not end in time")
        case _:
            return CommandAnswer(Outcome.UNKNOWN, f"cannot be asked: {ended.message or ended.kind.value}")
