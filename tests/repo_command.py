"""`opsuite repo` as people run it, and repositories for it that open quickly."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pexpect
from pexpect import fdpexpect
from restic import PASSWORD
from typer.testing import CliRunner

from opsuite_cli.main import app
from opsuite_repository.format.keys import Cost
from opsuite_repository.pipeline.backup import BackupRequest, back_up
from opsuite_repository.repository import Repository
from opsuite_repository.storage.local import LocalStorage

CHEAP = Cost(n=2, r=8, p=1)
"""Of keys that protect nothing."""
ATTACH: Any = fdpexpect.fdspawn  # has no types
SECONDS = 120
"""Silence that ends a command that hangs."""
COMMAND = [sys.executable, "-m", "opsuite_cli", "repo"]


@dataclass(frozen=True, slots=True)
class Ended:
    """How a command ended."""

    status: int
    raw: bytes
    err: str

    @property
    def out(self) -> str:
        """What it wrote."""
        return self.raw.decode()

    @property
    def document(self) -> Any:
        """The document that it wrote."""
        return json.loads(self.raw)

    @property
    def lines(self) -> list[Any]:
        """The documents that it wrote, one on each line; some say how far it was, when it took long."""
        return [json.loads(line) for line in self.raw.splitlines()]


def repo(repository: Path | str, *arguments: str | Path, **environment: str) -> Ended:
    """Run a command to its end inside this process, which spares the start of Python."""
    return _run(None, arguments, environment_of(repository) | environment)


def fed(content: bytes, repository: Path | str, *arguments: str | Path) -> Ended:
    """The same with something on its standard input."""
    return _run(content, arguments, environment_of(repository))


def _run(content: bytes | None, arguments: Sequence[str | Path], environment: dict[str, str]) -> Ended:
    words = ["repo", *map(str, arguments)]
    done = CliRunner().invoke(app, words, input=content, env=environment, catch_exceptions=False)
    return Ended(done.exit_code, done.stdout_bytes, done.stderr)


def in_terminal(repository: Path | str, *arguments: str | Path) -> tuple[int, str]:
    """Exit status of a command, and all that the terminal got."""
    ours, theirs = os.openpty()
    with subprocess.Popen(
        [*COMMAND, *arguments],
        env=os.environ | environment_of(repository) | {"TERM": "xterm-256color"},
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        start_new_session=True,
    ) as running:
        os.close(theirs)
        terminal = ATTACH(ours, encoding="utf-8", timeout=SECONDS)
        terminal.expect(pexpect.EOF)
        seen: str = terminal.before
        terminal.close()
    return running.returncode, seen


def environment_of(repository: Path | str) -> dict[str, str]:
    """Variables that lead to a repository, and none that lead elsewhere."""
    ours = {"OPSUITE_REPOSITORY": str(repository), "OPSUITE_REPOSITORY_PASSWORD": PASSWORD}
    return {name: "" for name in os.environ if name.startswith("RESTIC_")} | ours


def a_repository(place: Path) -> Repository:
    """A new one."""
    return Repository.init(LocalStorage(place), PASSWORD, cost=CHEAP)


def backed_up(repository: Repository, *paths: Path, **request: Any) -> str:
    """Make a snapshot; its id."""
    repository.load_index()
    made = back_up(repository, BackupRequest(paths=paths, **request))
    assert made.snapshot_id is not None, made
    return made.snapshot_id
