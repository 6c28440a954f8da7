"""The machine that command steps run on, judged by the command policy."""

from __future__ import annotations

import os
from collections.abc import Collection, Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

from opsuite_kernel.errors import InvalidInput, OpsuiteError, Violation
from opsuite_notify.port import SecretRef
from opsuite_notify.secrets import SecretSource
from opsuite_validation.commands import CommandPolicy, judge, judge_links, resolve_program
from opsuite_validation.environment import judge_environment
from opsuite_validation.paths import is_below, resolve_below
from opsuite_validation.templates import names_in, opaque


class MachinePolicy:
    """Fits `domain.rules.Policy`."""

    def __init__(self, policy: CommandPolicy) -> None:
        self._policy = policy

    def command(self, command: str, args: Sequence[str], declared: Collection[str] = ()) -> Sequence[Violation]:
        """What is against a command and its arguments."""
        return judge(self._policy, command, args, declared=declared)

    def workload(self, command: Sequence[str], declared: Collection[str] = ()) -> Sequence[Violation]:
        """What is against the argument vector of a workload.

        The project's own program, named by a path below the roots, takes what arguments it likes; everything else is
        judged as a command is.
        """
        if not command:
            return []  # that is told by the shape of the step
        program = opaque(command[0], declared)
        if _is_own(self._policy, program):
            return [Violation("command[0]", "climbs out with ..", "OUTSIDE_ROOTS")] if ".." in program else []
        return [
            replace(one, field=_in_vector(one.field))
            for one in judge(self._policy, command[0], command[1:], declared=declared)
        ]

    def environment(self, names: Collection[str]) -> Sequence[Violation]:
        """What is against variables that a pipeline sets."""
        return judge_environment(names)


def _is_own(policy: CommandPolicy, program: str) -> bool:
    """Whether a program is named by a path below the roots: a relative one, or an absolute one that is."""
    return "/" in program and (not program.startswith("/") or is_below(policy.roots, program))


def _in_vector(field: str) -> str:
    """`command` and `args[i]` as places of one argument vector."""
    if field == "command":
        return "command[0]"
    return f"command[{int(field.removeprefix('args[').removesuffix(']')) + 1}]"


class LocalMachine:
    """Fits `application.ports.Machine`."""

    def __init__(self, policy: CommandPolicy, secrets: SecretSource, data_dir: Path) -> None:
        self._policy = policy
        self._secrets = secrets
        self._data_dir = data_dir

    def judge(self, command: str, args: Sequence[str], directory: str | None = None) -> Sequence[str]:
        """What the command policy has against an argument vector."""
        found = judge(self._policy, command, args)
        if directory is not None and not found:
            found = judge_links(self._policy, args, directory)
        return [f"{one.field}: {one.description}" for one in found]

    def judge_workload(self, command: Sequence[str]) -> Sequence[str]:
        """What the command policy has against a workload's argument vector, whose ports the platform will fill in."""
        found = MachinePolicy(self._policy).workload(command, _ports_in(command))
        return [f"{one.field}: {one.description}" for one in found]

    def workload(self, command: Sequence[str], directory: str) -> tuple[str, ...]:
        """The argument vector with the absolute path of its program. Raises InvalidInput."""
        if problems := self.judge_workload(command):
            raise InvalidInput([Violation("command", problem, "COMMAND_NOT_ALLOWED") for problem in problems])
        if not _is_own(self._policy, command[0]):
            return (resolve_program(self._policy, command[0]), *command[1:])
        program = resolve_below(self._policy.roots, command[0], relative_to=directory)
        if not os.access(program, os.X_OK):
            raise InvalidInput([Violation("command[0]", f"{program} cannot be executed", "COMMAND_NOT_FOUND")])
        return (program, *command[1:])

    def program(self, command: str) -> str:
        """Absolute path of an allowed program."""
        return resolve_program(self._policy, command)

    def directory(self, path: str) -> str:
        """Absolute path of a directory below the roots, links resolved."""
        roots = self._policy.roots
        return resolve_below(roots, path or ".", relative_to=roots[0])

    def free_bytes(self) -> int:
        """Space left where data and workloads are kept."""
        return min(_free_bytes([self._data_dir, *self._policy.roots]))

    def search_path(self) -> str:
        """Value of PATH for programs."""
        return ":".join(str(directory) for directory in self._policy.trusted_directories)

    def secret(self, ref: SecretRef) -> str:
        """The secret."""
        try:
            return self._secrets.resolve(ref).reveal()
        except InvalidInput:
            raise
        except OpsuiteError as error:
            raise InvalidInput([Violation("", error.message, error.reason)]) from error


def _free_bytes(places: Iterable[Path]) -> Iterator[int]:
    """Space left for others than root at each of `places` that exists."""
    for place in places:
        with suppress(FileNotFoundError):
            disk = os.statvfs(place)
            yield disk.f_bavail * disk.f_frsize


def _ports_in(command: Sequence[str]) -> set[str]:
    """Names of ports that the platform will fill in."""
    return {name for text in command for name in names_in(text) if name == "port" or name.startswith("port_")}
