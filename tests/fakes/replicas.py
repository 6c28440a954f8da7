"""Replicas of the deployer that share a database, and the directory that their steps work in."""

from __future__ import annotations

import asyncio
import time
import uuid
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import psycopg
from fakes.warm_deployer import WarmDeployer
from fakes.worlds import World, processes_in

LOOK_AGAIN_SECONDS = 0.01
GIVE_UP_SECONDS = 120.0
"""Long beyond anything that is waited for: only what will never come takes so long."""


class Team:
    """The replicas of one test."""

    def __init__(self, world: World, url: str) -> None:
        self.world = world
        self.url = url
        self.work = world.directory / "work"
        self._replicas: list[WarmDeployer] = []

    def replica(self, *, user: str = "opsuite", **settings: str) -> WarmDeployer:
        """One more, with a lease of two seconds; `user` is who it is to the database."""
        data = self.world.directory / uuid.uuid4().hex[:8] / "data"
        data.parent.mkdir()
        own = {
            "DEPLOYER_DATABASE_URL": self.url.replace("opsuite@", f"{user}@"),
            "DEPLOYER_ROOTS": f"{self.work},{self.world.tools}",
            "DEPLOYER_LEASE": "2",
            "DEPLOYER_POLL_EVERY": "0.3",
        }
        replica = self.world.new(data, **own | settings)
        self._replicas.append(replica)
        replica.start()
        return replica

    def close(self) -> None:
        """Kill them all."""
        for replica in self._replicas:
            with suppress(ProcessLookupError):
                replica.kill()

    # what the steps tell

    def told(self, what: str) -> Counter[str]:
        """How often each step has told that it began, or that it ended, over all deployments."""
        with suppress(FileNotFoundError):
            lines = [line.split() for line in (self.work / "effects").read_text().splitlines()]
            return Counter(step for told, _, step in lines if told == what)
        return Counter()

    async def begun(self, step: str, times: int = 1) -> None:
        """Wait until a step has begun that often."""
        await until(lambda: self.told("begin")[step] >= times)

    def let_go(self) -> None:
        """Let steps that are held end."""
        (self.work / "go").touch()

    def programs(self) -> set[str]:
        """Process ids of the steps' programs, of all replicas."""
        return {line.partition(" ")[0] for line in processes_in(str(self.work))}

    # what the database holds

    def query(self, statement: str) -> list[tuple[object, ...]]:
        """Rows of a statement, or none."""
        with psycopg.connect(self.url, autocommit=True) as connection:
            cursor = connection.execute(statement.encode())
            return cursor.fetchall() if cursor.description else []


async def until(is_true: Callable[[], object]) -> None:
    """Wait for something that only shows itself to those who look; fail where it is awaited rather than hang."""
    give_up_at = time.monotonic() + GIVE_UP_SECONDS
    while not is_true():
        assert time.monotonic() < give_up_at, "never seen"
        await asyncio.sleep(LOOK_AGAIN_SECONDS)


async def all_gone(pids: set[str]) -> None:
    """Wait until none of these processes lives."""
    await until(lambda: not any(Path("/proc", pid, "exe").exists() for pid in pids))
