"""`opsuite repo` as people run it, and repositories for it that open quickly."""

from __future__ import annotations

import json
import os
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from restic import PASSWORD
from typer.testing import CliRunner

from opsuite_cli.main import app
from opsuite_repository.format.keys import Cost
from opsuite_repository.pipeline.backup import BackupRequest, back_up
from opsuite_repository.repository import Repository
from opsuite_repository.storage.local import LocalStorage

CHEAP = Cost(n=2, r=8, p=1)
"""Of keys that protect nothing."""
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
    def lines(self) -> list[dict[str, Any]]:
        """The documents that it wrote, one on each line."""
        return [json.loads(line) for line in self.raw.splitlines()]


def repo(repository: Path | str, *arguments: str | Path, stdin: bytes | None = None, **environment: str) -> Ended:
    """Run a command to its end inside this process, which spares the start of Python."""
    env = environment_of(repository) | environment
    done = CliRunner().invoke(app, ["repo", *map(str, arguments)], input=stdin, env=env, catch_exceptions=False)
    return Ended(done.exit_code, done.stdout_bytes, done.stderr)


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
