"""The machine that command steps run on, judged by the command policy."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path

from opsuite_kernel.errors import InvalidInput, OpsuiteError, Violation
from opsuite_notify.port import SecretRef
from opsuite_notify.secrets import SecretSource
from opsuite_validation.commands import CommandPolicy, judge, judge_links, resolve_program
from opsuite_validation.paths import resolve_below


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
            found = judge_links(self._policy, args, Path(directory))
        return [f"{one.field}: {one.description}" for one in found]

    def program(self, command: str) -> str:
        """Absolute path of an allowed program."""
        return str(resolve_program(self._policy, command))

    def directory(self, path: str) -> str:
        """Absolute path of a directory below the roots, links resolved."""
        roots = self._policy.roots
        return str(resolve_below(roots, path or ".", relative_to=roots[0]))

    def free_bytes(self) -> int:
        """Space left where data and workloads are kept."""
        places = [self._data_dir, *self._policy.roots]
        return min(shutil.disk_usage(place).free for place in places if place.exists())

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
