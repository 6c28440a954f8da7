"""The part `checks` of the healer in a process of its own, to be killed. Says `ready`, serves until it is.

Arguments: the data directory, the database, and settings as JSON. Fault points are named in the environment. Trouble is
kept in a table of its own, in the transaction of whoever tells it: `told(key, issue, target, gone)`.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from datetime import datetime
from pathlib import Path
from typing import Any

import sqlalchemy as sa
import structlog
from fakes.healer_stage import Stage, healer_stage

from opsuite.healer.v1.health_check_service_pb2_grpc import HealthCheckServiceStub
from opsuite_healer.adapters.unit import SqlUnit
from opsuite_healer.composition.checks import checks
from opsuite_healer.composition.house import House, Part
from opsuite_healer.domain.trouble import Trouble
from opsuite_rpc.channel import connect
from opsuite_storage.store import Store

STOP_SECONDS = 60.0
TESTS = Path(__file__).parents[1]
told = sa.Table(
    "told",
    sa.MetaData(),
    sa.Column("number", sa.Integer, primary_key=True),
    sa.Column("key", sa.Text),
    sa.Column("issue", sa.Text),
    sa.Column("target", sa.Text),
    sa.Column("is_over", sa.Boolean),
)


class KeptTroubles:
    """Fits `application.troubles.Troubles`."""

    def __init__(self, unit: SqlUnit) -> None:
        self._unit = unit

    def found(self, trouble: Trouble) -> None:
        target = trouble.target.canonical if trouble.target else ""
        self._keep(key=trouble.key, issue=trouble.issue, target=target, is_over=False)

    def gone(self, key: str, at: datetime, reason: str) -> None:
        self._keep(key=key, issue="", target="", is_over=True)

    def _keep(self, **values: Any) -> None:
        self._unit.connection.execute(sa.insert(told).values(**values))


@asynccontextmanager
async def kept_stage(directory: Path, database_url: str, settings: Mapping[str, Any]) -> AsyncIterator[Stage]:
    """The part, with trouble kept in the table."""

    def build(house: House) -> list[Part]:
        return [Part(recover=[lambda: _make_table(house.database)]), checks(house, KeptTroubles).part]

    async with healer_stage(directory, build, database_url=database_url, **settings) as stage:
        yield stage


async def _make_table(database: Store) -> None:
    await database.alter(lambda connection: told.create(connection, checkfirst=True))


async def all_told(database: Store) -> Sequence[tuple[str, str, bool]]:
    """Issue, target and whether it is over, in order."""
    statement = sa.select(told.c.issue, told.c.target, told.c.is_over).order_by(told.c.number)
    return await database.read(lambda connection: [tuple(row) for row in connection.execute(statement)])


class CheckProcess:
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
            "fakes.healer_check_process",
            *arguments,
            env={**os.environ, "PYTHONPATH": str(TESTS), **environment},
            stdout=asyncio.subprocess.PIPE,
        )
        assert self._process.stdout is not None
        if not await self._process.stdout.readline():
            assert await self._process.wait() == -signal.SIGKILL, "it could not start"

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
    async def stub(self) -> AsyncIterator[Any]:
        """The service, for somebody who calls it."""
        address, token = f"unix://{self.directory}/run/healer.sock", self.directory / "token"
        async with connect(address, token_file=token) as connection:
            channel: Any = connection.channel
            yield HealthCheckServiceStub(channel)


async def _serve(directory: Path, database_url: str, settings: Mapping[str, Any]) -> None:
    async with kept_stage(directory, database_url, settings):
        sys.stdout.write("ready\n")
        sys.stdout.flush()
        await asyncio.Event().wait()


if __name__ == "__main__":
    structlog.configure(logger_factory=structlog.PrintLoggerFactory(sys.stderr))  # standard output is for the test
    asyncio.run(_serve(Path(sys.argv[1]), sys.argv[2], json.loads(sys.argv[3])))
