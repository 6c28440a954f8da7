"""The part `incidents` of the healer in a process of its own, to be killed. Says `ready`, serves until it is.

Arguments: the data directory, the database, and settings as JSON. Fault points are named in the environment.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import structlog
from fakes.healer_incident_stage import IncidentClient, client_of, incident_stage

from opsuite_rpc.channel import connect

STOP_SECONDS = 60.0
TESTS = Path(__file__).parents[1]


async def _serve(directory: Path, database_url: str, settings: Mapping[str, Any]) -> None:
    async with incident_stage(directory, database_url=database_url, settings=settings):
        sys.stdout.write("ready\n")
        sys.stdout.flush()
        await asyncio.Event().wait()


class IncidentProcess:
    """Such a process, which can be started again on the same data."""

    def __init__(self, directory: Path, database_url: str = "sqlite", **settings: Any) -> None:
        self.directory = directory
        self._database_url = database_url
        self._settings = settings
        self._process: asyncio.subprocess.Process | None = None

    async def start(self, **environment: str) -> None:
        """Returns once it serves, or has died before that."""
        arguments = [str(self.directory), self._database_url, json.dumps(self._settings)]
        self._process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "fakes.healer_incident_process",
            *arguments,
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
    async def client(self) -> AsyncIterator[IncidentClient]:
        """Somebody who calls it."""
        address, token = f"unix://{self.directory}/run/healer.sock", self.directory / "token"
        async with connect(address, token_file=token) as connection:
            yield client_of(connection.channel)


if __name__ == "__main__":
    structlog.configure(logger_factory=structlog.PrintLoggerFactory(sys.stderr))  # standard output is for the test
    asyncio.run(_serve(Path(sys.argv[1]), sys.argv[2], json.loads(sys.argv[3])))
