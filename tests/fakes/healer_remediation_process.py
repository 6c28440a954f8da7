"""Remediation and incidents in a process of its own, to be killed. Says `ready`, serves until it is.

What its actions do stands in a file, which outlives it: one line for each thing that was done. Like every action of the
healer they learn before what there is, and do nothing at a repeat that finds it changed. A target is healthy once it
was restarted.

Arguments: the data directory, the database, the file, and settings as JSON. Fault points are named in the environment.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import structlog
from fakes.healer_remediation import FakeActions, FakeHealth, World
from fakes.healer_remediation_stage import RemediationClient, client_of, remediation_stage

from opsuite_healer.application.actions import ActionCall, ActionOutcome, ActionResult
from opsuite_healer.application.health_view import TargetHealth
from opsuite_healer.domain.actions import ActionSpec
from opsuite_healer.domain.targets import TargetRef
from opsuite_probes.port import Outcome
from opsuite_rpc.channel import connect

STOP_SECONDS = 60.0
TESTS = Path(__file__).parents[1]
LONG_AGO = datetime(2000, 1, 1, tzinfo=UTC)


class WorldActions(FakeActions):
    """Each does one thing to the world; adding replicas leaves something to take back."""

    def __init__(self, world: Path) -> None:
        super().__init__()
        self._world = world

    async def prepare(self, call: ActionCall) -> Mapping[str, str]:
        return {"count": str(done_in(self._world).count(_line(call)))}

    async def run(self, call: ActionCall, before: Mapping[str, str], timeout: timedelta) -> ActionResult:
        self.calls += 1
        if done_in(self._world).count(_line(call)) == int(before["count"]):
            with self._world.open("a") as file:
                file.write(f"{_line(call)}\n")
        is_scaled_up = call.spec == ActionSpec("SCALE_UP", {"by": "1"})
        return ActionResult(
            ActionOutcome.DONE, "done", undo=ActionSpec("SCALE_UP", {"by": "-1"}) if is_scaled_up else None
        )


class WorldHealth(FakeHealth):
    """A target is healthy once it was restarted."""

    def __init__(self, world: Path) -> None:
        super().__init__()
        self._world = world

    async def of(self, target: TargetRef) -> TargetHealth:
        is_mended = f"RESTART_SERVICE {target.canonical}" in done_in(self._world)
        outcome = Outcome.HEALTHY if is_mended else Outcome.UNHEALTHY
        return TargetHealth(target, outcome, LONG_AGO, False, {"healthChecks/web": outcome})


def _line(call: ActionCall) -> str:
    params = [f"{name}={value}" for name, value in sorted(call.spec.params.items())]
    return " ".join([call.spec.kind, call.target.canonical if call.target else "-", *params])


def done_in(world: Path) -> list[str]:
    """What was done to the world, in order."""
    return world.read_text().splitlines() if world.exists() else []


def world_of(path: Path) -> World:
    """The world of a file, which others may share."""
    return World(health=WorldHealth(path), actions=WorldActions(path))


async def _serve(directory: Path, database_url: str, world: Path, settings: Mapping[str, Any]) -> None:
    async with remediation_stage(directory, world_of(world), database_url=database_url, **settings):
        sys.stdout.write("ready\n")
        sys.stdout.flush()
        await asyncio.Event().wait()


class RemediationProcess:
    """Such a process, which can be started again on the same data."""

    def __init__(self, directory: Path, world: Path, database_url: str = "sqlite", **settings: Any) -> None:
        self.directory = directory
        self._arguments = [str(directory), database_url, str(world), json.dumps(settings)]
        self._process: asyncio.subprocess.Process | None = None

    async def start(self, **environment: str) -> None:
        """Returns once it serves, or has died before that."""
        self._process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "fakes.healer_remediation_process",
            *self._arguments,
            env={**os.environ, "PYTHONPATH": str(TESTS), **environment},
            stdout=asyncio.subprocess.PIPE,
        )
        assert self._process.stdout is not None
        await self._process.stdout.readline()

    @property
    def is_gone(self) -> bool:
        """Whether it has died."""
        return self._process is None or self._process.returncode is not None

    async def wait_until_killed(self) -> None:
        """Returns when it has died at its fault point."""
        assert self._process is not None
        async with asyncio.timeout(STOP_SECONDS):
            assert await self._process.wait() == -signal.SIGKILL

    async def kill(self) -> None:
        """No goodbye."""
        if self._process is not None and self._process.returncode is None:
            self._process.kill()
            await self._process.wait()

    @asynccontextmanager
    async def client(self) -> AsyncIterator[RemediationClient]:
        """Somebody who calls it."""
        address, token = f"unix://{self.directory}/run/healer.sock", self.directory / "token"
        async with connect(address, token_file=token) as connection:
            yield client_of(connection.channel)


if __name__ == "__main__":
    structlog.configure(logger_factory=structlog.PrintLoggerFactory(sys.stderr))  # standard output is for the test
    asyncio.run(_serve(Path(sys.argv[1]), sys.argv[2], Path(sys.argv[3]), json.loads(sys.argv[4])))
