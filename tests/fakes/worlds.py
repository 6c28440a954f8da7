"""Where deployers live that a test ends on purpose: stories they may play, and a place with all they need."""

from __future__ import annotations

import asyncio
import shutil
import sqlite3
import uuid
from collections.abc import Mapping
from contextlib import closing, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psycopg
from deployer import DeployerProcess, deploy, ended, python_directories, register
from fakes.pipelines import Form, a_command, a_docker
from fakes.warm_deployer import Nursery, WarmDeployer
from postgres import Cluster

from opsuite.deployer.v1 import deployment_pb2 as messages
from opsuite.deployer.v1 import pipeline_pb2

Event = messages.DeploymentEvent


PROGRAM = """#!/bin/sh
# effect NAME [hold | fail VERSION | spoil VERSION]: tells in the file `effects` that it began and that it ended.
echo "begin $DEPLOYMENT_ID $1" >> effects
while [ "$2" = hold ] && ! [ -e go ]; do sleep 0.02; done
[ "$2" = fail ] && [ "$DEPLOYMENT_VERSION" = "$3" ] && exit 1
[ "$2" = spoil ] && [ "$DEPLOYMENT_VERSION" = "$3" ] && : > spoilt
[ "$2" = spoil ] && [ -e spoilt ] && exit 1
echo "end $DEPLOYMENT_ID $1" >> effects
"""


def an_effect(name: str, *args: str, **fields: Any) -> Form:
    """A step that leaves a line in `effects` when it begins and when it ends well."""
    return a_command(name, "effect", name, *args, **fields)


def a_boxed_effect(name: str, image: str, *, seconds: float = 0.3) -> Form:
    """The same from a container, which takes its time between the two lines."""
    tell = 'echo "$1 $DEPLOYMENT_ID $2" >> /data/effects'
    script = f"tell() {{ {tell}; }}; tell begin {name}; sleep {seconds}; tell end {name}; echo told"
    mount = {"source": ".", "target": "/data", "writable": True}
    return a_docker(name, image, "/bin/sh", "-c", script, docker={"mounts": [mount]})


# ---- stories --------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Story:
    """What is deployed, what somebody does meanwhile, and how all of it ends when nobody dies."""

    pipeline: pipeline_pb2.Pipeline
    ends: Mapping[str, str]
    """Status in which the last deployment of each version ends."""
    before: tuple[str, ...] = ()
    """Versions that were deployed before the story begins."""
    versions: tuple[str, ...] = ("2.0.0",)
    """Versions that are deployed in the story, at once."""
    cancel_at: str = ""
    """Step during which somebody cancels the deployment."""
    is_racy: bool = False
    """Whether the number of turns, and so of hits, differs from play to play."""
    settings: Mapping[str, str] = field(default_factory=dict)
    """Settings that its deployer needs besides the usual ones."""

    @property
    def once(self) -> frozenset[str]:
        """Steps that must not run again when it is not known how they ended."""
        steps = [step for stage in self.pipeline.stages for step in stage.steps]
        return frozenset(step.name for step in steps if step.HasField("command") and not step.idempotent)

    @property
    def boxed(self) -> frozenset[str]:
        """Steps in containers, which outlive the deployer and are found again: each attempt runs just once."""
        steps = [step for stage in self.pipeline.stages for step in stage.steps]
        return frozenset(step.name for step in steps if step.HasField("docker"))


@dataclass(frozen=True, slots=True, order=True)
class Fault:
    """The deadly hit of a fault point."""

    point: str
    hit: int

    def __str__(self) -> str:
        return f"{self.point}:{self.hit}"


# ---- the world ------------------------------------------------------------------------------------------------------


@dataclass
class World:
    """Where deployers live: a nursery, a directory of their own, a program for their steps, perhaps PostgreSQL."""

    nursery: Nursery
    directory: Path
    cluster: Cluster | None = None
    _templates: dict[int, tuple[Path, str]] = field(default_factory=dict)
    _busy: dict[int, asyncio.Lock] = field(default_factory=dict)
    _stories: list[Story] = field(default_factory=list)
    hits: dict[int, list[Fault]] = field(default_factory=dict)
    """What `points_hit` has found out, by the id of the story."""

    def __post_init__(self) -> None:
        self.tools.mkdir()
        program = self.tools / "effect"
        program.write_text(PROGRAM)
        program.chmod(0o755)

    @property
    def tools(self) -> Path:
        """Where the program of the steps lies; its name in the environment marks every process of ours."""
        return self.directory / "tools"

    def new(self, data: Path, database: str = "", **others: str) -> WarmDeployer:
        """A deployer that has not started yet; `others` are settings that win over the usual ones."""
        settings = {
            "DEPLOYER_START_PLATFORM": "false",
            "DEPLOYER_COMMAND_NAMES": "effect",
            "DEPLOYER_TRUSTED_DIRECTORIES": f"{self.tools},{python_directories()}",
            "DEPLOYER_ROOTS": f"{data}/work,{self.tools}",
            "DEPLOYER_LOG_LEVEL": "WARNING",
            "DEPLOYER_POLL_EVERY": "30",  # what happens is the story's doing, never that of the poll
        }
        if self.cluster is not None and database:
            settings["DEPLOYER_DATABASE_URL"] = self.cluster.url(database)
            settings["DEPLOYER_LEASE"] = "3"
        return WarmDeployer(data, settings | others, nursery=self.nursery)

    async def prepared(self, story: Story) -> WarmDeployer:
        """A deployer of its own for one play: the pipeline is registered, what came before has been deployed."""
        lock = self._busy.setdefault(id(story), asyncio.Lock())
        async with lock:
            if id(story) not in self._templates:
                self._stories.append(story)  # keeps the id from being used again
                self._templates[id(story)] = await self._prepare(story)
        template, database = self._templates[id(story)]
        data = self.directory / uuid.uuid4().hex[:8] / "data"
        await asyncio.to_thread(shutil.copytree, template, data, ignore=shutil.ignore_patterns("run", "*.lock"))
        if self.cluster is not None:
            database = await asyncio.to_thread(self.cluster.create_database, database)
        return self.new(data, database, **story.settings)

    def discard(self, deployer: DeployerProcess) -> None:
        """Remove what a deployer that has ended leaves."""
        shutil.rmtree(deployer.data_dir.parent, ignore_errors=True)
        if self.cluster is not None:
            name = deployer.settings["DEPLOYER_DATABASE_URL"].rpartition("/")[2]
            self.cluster.execute(f"DROP DATABASE {name} WITH (FORCE)")

    async def _prepare(self, story: Story) -> tuple[Path, str]:
        data = self.directory / uuid.uuid4().hex[:8] / "data"
        data.parent.mkdir()
        database = "" if self.cluster is None else self.cluster.create_database()
        deployer = self.new(data, database, **story.settings)
        await asyncio.to_thread(deployer.start)
        async with deployer.client() as client:
            registered = await register(client, story.pipeline)
            for version in story.before:
                await ended(client, (await deploy(client, registered.name.rpartition("/")[2], version)).name)
        await asyncio.to_thread(deployer.terminate)
        return data, database

    def events(self, deployer: DeployerProcess) -> list[Event]:
        """The event log as it lies in the database; the process may be dead."""
        query = "SELECT payload FROM events ORDER BY position"
        if url := deployer.settings.get("DEPLOYER_DATABASE_URL"):
            with psycopg.connect(url) as connection:
                rows: list[tuple[bytes]] = connection.execute(query).fetchall()
        else:
            # From a copy: whoever opens the file itself after a crash recovers it, and that is the deployer's part.
            copy = self.directory / uuid.uuid4().hex
            for ending in ("", "-wal"):
                with suppress(FileNotFoundError):
                    shutil.copy(deployer.data_dir / f"deployer.db{ending}", f"{copy}{ending}")
            with closing(sqlite3.connect(copy)) as database:
                rows = database.execute(query).fetchall()
        return [Event.FromString(payload) for (payload,) in rows]


def effects_of(deployer: DeployerProcess) -> list[str]:
    """What its steps have told so far."""
    with suppress(FileNotFoundError):
        return (deployer.work / "effects").read_text().splitlines()
    return []


def processes_in(mark: str) -> list[str]:
    """Everything alive whose working directory or command line names `mark`, as "pid command"."""
    found = []
    for place in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            line = (place / "cmdline").read_bytes().replace(bytes(1), b" ").decode(errors="replace")
            if str((place / "cwd").readlink()).startswith(mark) or mark in line:
                found.append(f"{place.name} {line}")
    return found
