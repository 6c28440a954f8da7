"""The floor and the peers: each a process of its own that runs the same ten `/bin/true` when told to.

Peers live in virtual environments of their own below the cache directory, made the first time, never in the project's.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import threading
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

PEERS = Path(__file__).parent / "peers"
CACHE = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "opsuite" / "bench"
START_SECONDS = 120.0


class NotHere(Exception):
    """The peer cannot be measured on this machine; says why."""


@dataclass(frozen=True)
class Contestant:
    """Who runs the ten commands, and what it has to be installed from."""

    name: str
    script: str
    packages: Sequence[str] = ()
    """Requirements; none means the interpreter of the bench."""
    pipelines: int = 10
    """Pipelines in one round: fewer of those that are slow."""
    has_server: bool = False
    """It keeps a server running that is never quite idle."""

    def interpreter(self) -> str:
        """Path of the interpreter that runs it, installed first if need be. Raises NotHere."""
        if not self.packages:
            return sys.executable
        place = CACHE / self.script
        python = place / "bin" / "python"
        done = place / "installed"
        if not done.exists() or done.read_text() != "\n".join(self.packages):
            _run("uv", "venv", "--quiet", "--clear", "--python", sys.executable, str(place))
            _run("uv", "pip", "install", "--quiet", "--python", str(python), *self.packages)
            done.write_text("\n".join(self.packages))
        return str(python)


FLOOR = Contestant("floor: ten spawns, ten commits", "floor")
CONTESTANTS = (
    Contestant("DBOS (SQLite, in process)", "dbos_ten", ("dbos", "pysqlite3-binary"), 10),
    Contestant("Luigi (local scheduler)", "luigi_ten", ("luigi",), 10),
    Contestant("Prefect (warm server, SQLite)", "prefect_ten", ("prefect==3.8.8", "fastapi<0.150"), 2, True),
    Contestant("ansible-playbook (local)", "ansible_ten", ("ansible-core",), 1),
)


@dataclass
class Running:
    """A contestant that is ready."""

    contestant: Contestant
    process: subprocess.Popen[str]
    times: list[float] = field(default_factory=list)

    def ten(self, count: int) -> list[float]:
        """Milliseconds of each of `count` pipelines, one after the other. Raises NotHere."""
        answer = self._ask(f"ten {count}")
        self.times += answer
        return list(answer)

    def many(self, count: int) -> float | None:
        """Seconds for `count` pipelines at once; None if it cannot. Raises NotHere."""
        seconds: float | None = self._ask(f"many {count}")
        return seconds

    def close(self) -> None:
        """Let it end."""
        assert self.process.stdin is not None
        with suppress(BrokenPipeError):
            self.process.stdin.close()
        try:
            self.process.wait(20)
        except subprocess.TimeoutExpired:
            self.process.kill()

    def _ask(self, line: str) -> Any:
        assert self.process.stdin is not None
        try:
            self.process.stdin.write(line + "\n")
            self.process.stdin.flush()
        except BrokenPipeError:
            raise NotHere(f"it ended: {self._last_words()}") from None
        return self.read()

    def read(self) -> Any:
        """Its next answer. Raises NotHere when there is none."""
        assert self.process.stdout is not None
        watchdog = threading.Timer(START_SECONDS, self.process.kill)
        watchdog.start()
        line = self.process.stdout.readline()
        watchdog.cancel()
        if not line:
            raise NotHere(f"it ended: {self._last_words()}")
        return json.loads(line)

    def _last_words(self) -> str:
        with suppress(OSError):
            lines = Path(str(self.process.args[-1]), "stderr").read_text(errors="replace").strip().splitlines()  # type: ignore[index]  # a list
            return lines[-1][:120] if lines else "without a word"
        return "without a word"


def start(contestant: Contestant, directory: Path) -> Running:
    """Start it with `directory` for its state, and return when it is ready. Raises NotHere."""
    home = directory / contestant.script
    home.mkdir()
    command = [contestant.interpreter(), str(PEERS / f"{contestant.script}.py"), str(home)]
    with (home / "stderr").open("w") as errors:
        process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=errors, text=True, cwd=home
        )
    running = Running(contestant, process)
    running.read()
    return running


def _run(program: str, *arguments: str) -> None:
    found = shutil.which(program)
    if found is None:
        raise NotHere(f"{program} is missing")
    done = subprocess.run([found, *arguments], capture_output=True, text=True, check=False)
    if done.returncode:
        last = done.stderr.strip().splitlines()
        raise NotHere(f"not installed: {last[-1][:120] if last else done.returncode}")
