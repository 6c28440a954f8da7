"""The part `runbooks` of the healer in a process of its own, to be killed. Says `ready`, serves until it is.

What its actions do stands in a file, which outlives it: one line for each thing that was done. Like every action of the
healer they learn before what there is, and do nothing at a repeat that finds it changed.

Arguments: the data directory, the database, the file, and settings as JSON. Fault points are named in the environment.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import structlog
from fakes.healer_runbooks import FakeActions, FakeBook
from fakes.healer_stage import healer_stage

from opsuite.healer.v1.runbook_service_pb2_grpc import RunbookServiceStub
from opsuite_healer.application.actions import ActionCall, ActionOutcome, ActionResult
from opsuite_healer.composition.house import House, Part
from opsuite_healer.composition.runbooks import runbooks
from opsuite_rpc.channel import connect

STOP_SECONDS = 60.0
TESTS = Path(__file__).parents[1]


class WorldActions(FakeActions):
    """Each does one thing to the world; one whose name begins with "fail" then says that it failed."""

    def __init__(self, world: Path) -> None:
        super().__init__()
        self._world = world

    async def prepare(self, call: ActionCall) -> Mapping[str, str]:
        return {"count": str(self._count(call.spec.params["name"]))}

    async def run(self, call: ActionCall, before: Mapping[str, str], timeout: timedelta) -> ActionResult:
        name = call.spec.params["name"]
        if self._count(name) == int(before["count"]):
            with self._world.open("a") as file:
                file.write(f"{name}\n")
        if name.startswith("fail"):
            return ActionResult(ActionOutcome.FAILED, "as it was told to")
        return ActionResult(ActionOutcome.DONE, "")

    def _count(self, name: str) -> int:
        return done_in(self._world).count(name)


def done_in(world: Path) -> list[str]:
    """What was done to the world, in order."""
    return world.read_text().splitlines() if world.exists() else []


async def _serve(directory: Path, database_url: str, world: Path, settings: Mapping[str, Any]) -> None:
    def build(house: House) -> Sequence[Part]:
        return [runbooks(house, WorldActions(world), lambda _: FakeBook()).part]

    async with healer_stage(directory, build, database_url=database_url, **settings):
        sys.stdout.write("ready\n")
        sys.stdout.flush()
        await asyncio.Event().wait()


class RunbookProcess:
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
            "fakes.healer_runbook_process",
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
    async def client(self) -> AsyncIterator[Any]:
        """A stub of RunbookService."""
        address, token = f"unix://{self.directory}/run/healer.sock", self.directory / "token"
        async with connect(address, token_file=token) as connection:
            channel: Any = connection.channel
            yield RunbookServiceStub(channel)


if __name__ == "__main__":
    structlog.configure(logger_factory=structlog.PrintLoggerFactory(sys.stderr))  # standard output is for the test
    asyncio.run(_serve(Path(sys.argv[1]), sys.argv[2], Path(sys.argv[3]), json.loads(sys.argv[4])))
