"""Deployers that die at a named place while they run a story, and everything that must be true of it afterwards.

What a deployer did is judged from outside: by the lines that its steps wrote (`effects`), by the event log as it lay
in the database when the process died, and by what a watcher saw who held on through the crash.
"""

from __future__ import annotations

import asyncio
import shutil
import signal
import sqlite3
import time
import uuid
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from contextlib import aclosing, closing, suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import psycopg
from deployer import Client, DeployerProcess, deploy, ended, python_directories, register
from fakes.pipelines import Form, a_command
from fakes.warm_deployer import Nursery, WarmDeployer
from postgres import Cluster

from opsuite.deployer.v1 import deployment_pb2 as messages
from opsuite.deployer.v1 import deployment_service_pb2 as pb
from opsuite.deployer.v1 import pipeline_pb2
from opsuite_kernel.errors import Conflict, OpsuiteError, TimedOut, Unavailable
from opsuite_rpc.watching import watch

Event = messages.DeploymentEvent

ORPHANS_LIVE_SECONDS = 2.0
PATIENCE_SECONDS = 30.0
"""For one story; only a deployer that is stuck needs so long."""
AGAIN_SECONDS = 0.05

TERMINAL = {
    messages.DEPLOYMENT_STATUS_SUCCEEDED,
    messages.DEPLOYMENT_STATUS_FAILED,
    messages.DEPLOYMENT_STATUS_ROLLED_BACK,
    messages.DEPLOYMENT_STATUS_ROLLBACK_FAILED,
    messages.DEPLOYMENT_STATUS_CANCELLED,
    messages.DEPLOYMENT_STATUS_TIMED_OUT,
    messages.DEPLOYMENT_STATUS_SUPERSEDED,
}

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

    @property
    def once(self) -> frozenset[str]:
        """Steps that must not run again when it is not known how they ended."""
        steps = [step for stage in self.pipeline.stages for step in stage.steps]
        return frozenset(step.name for step in steps if step.HasField("command") and not step.idempotent)


@dataclass(frozen=True, slots=True, order=True)
class Fault:
    """The deadly hit of a fault point."""

    point: str
    hit: int

    def __str__(self) -> str:
        return f"{self.point}:{self.hit}"


@dataclass
class Played:
    """What became of a story."""

    deaths: int = 0
    events_at_death: Sequence[Event] = ()
    effects_at_death: Sequence[str] = ()
    orphans: Sequence[str] = ()
    paused: frozenset[str] = frozenset()
    """Deployments that waited for a person after the crash."""
    events: Sequence[Event] = ()
    seen: Sequence[Event] = ()
    effects: Sequence[str] = ()


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
            settings["DEPLOYER_LEASE"] = "2"
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
        return self.new(data, database)

    async def _prepare(self, story: Story) -> tuple[Path, str]:
        data = self.directory / uuid.uuid4().hex[:8] / "data"
        data.parent.mkdir()
        database = "" if self.cluster is None else self.cluster.create_database()
        deployer = self.new(data, database)
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


# ---- a play ---------------------------------------------------------------------------------------------------------


async def play(world: World, story: Story, *faults: Fault, hits: Path | None = None) -> Played:
    """Play a story with a deployer that dies at one fault, is started again, dies at the next; then let all of it end.

    `hits` is where a life without a fault writes which points it hits.
    """
    deployer = await world.prepared(story)
    try:
        async with asyncio.timeout(PATIENCE_SECONDS):
            return await _Play(world, story, deployer).play(faults, hits)
    except TimeoutError:
        what = "\n".join(str(event).replace("\n", " ") for event in world.events(deployer)[-5:])
        raise AssertionError(f"stuck; the last events:\n{what}\n{deployer.log(10)}") from None
    finally:
        with suppress(ProcessLookupError):
            await asyncio.to_thread(deployer.kill)
        shutil.rmtree(deployer.data_dir.parent, ignore_errors=True)


class _Play:
    def __init__(self, world: World, story: Story, deployer: WarmDeployer) -> None:
        self._world = world
        self._story = story
        self._deployer = deployer
        self._seen: list[Event] = []
        self._news = asyncio.Condition()
        self._watching = asyncio.Event()

    async def play(self, faults: Sequence[Fault], hits: Path | None) -> Played:
        played = Played()
        lives = [{"OPSUITE_FAULT": str(fault)} for fault in faults] or [{"OPSUITE_FAULT_LOG": str(hits)}]
        async with asyncio.TaskGroup() as tasks:
            watcher = tasks.create_task(self._watch())
            actors = [tasks.create_task(self._deploy(version)) for version in self._story.versions]
            if self._story.cancel_at:
                actors.append(tasks.create_task(self._cancel()))
            at_rest = tasks.create_task(self._until_rest(actors))
            for life in lives:
                self._deployer.start(wait=False, **life)
                await self._live(played, at_rest)
            self._deployer.start(wait=False, DEPLOYER_POLL_EVERY="0.2")
            await self._until_rest(actors)
            await self._let_people_decide(played)
            watcher.cancel()
        played.events = self._world.events(self._deployer)
        played.seen = self._seen
        played.effects = effects_of(self._deployer)
        return played

    async def _live(self, played: Played, at_rest: asyncio.Task[None]) -> None:
        """One life: to its death, or until nothing goes on by itself any more."""
        death = asyncio.create_task(asyncio.to_thread(self._deployer.wait_until_gone))
        await asyncio.wait([death, at_rest], return_when=asyncio.FIRST_COMPLETED)
        if not death.done():
            await asyncio.to_thread(self._deployer.terminate)
        played.deaths += await death == -signal.SIGKILL
        played.orphans = [*played.orphans, *await asyncio.to_thread(self._orphans)]
        played.events_at_death = self._world.events(self._deployer)
        played.effects_at_death = effects_of(self._deployer)

    def _orphans(self) -> list[str]:
        """What still lives some time after the deployer died. Other plays go on meanwhile: only its own counts."""
        mark = str(self._deployer.data_dir)
        give_up_at = time.monotonic() + ORPHANS_LIVE_SECONDS
        while alive := processes_in(mark):
            if time.monotonic() > give_up_at:
                return alive
            time.sleep(0.01)
        return []

    # those who take part

    async def _watch(self) -> None:
        request = pb.WatchDeploymentsRequest(parent="pipelines/-/environments/-")
        async with self._deployer.client() as client:
            answers = watch(client.deployments.WatchDeployments, request, pause=lambda _: AGAIN_SECONDS)
            async with aclosing(answers):
                async for answer in answers:
                    self._watching.set()
                    async with self._news:
                        self._seen += answer.events
                        self._news.notify_all()

    async def _deploy(self, version: str) -> None:
        await self._watching.wait()
        request = pb.DeployRequest(
            request_id=str(uuid.uuid4()), pipeline=self._story.pipeline.name, version=version, environment="staging"
        )
        await self._insist(lambda client: client.deployments.Deploy(request))

    async def _cancel(self) -> None:
        # Or when it waits for a person after a crash, since then the step may never come.
        due = messages.DEPLOYMENT_STATUS_PAUSED
        event = await self._until(lambda event: event.step == self._story.cancel_at or event.status == due)
        request = pb.CancelDeploymentRequest(request_id=str(uuid.uuid4()), name=event.deployment)
        with suppress(Conflict):  # it has ended
            await self._insist(lambda client: client.deployments.CancelDeployment(request))

    async def _let_people_decide(self, played: Played) -> None:
        """Count interrupted steps as done, until nothing waits for a person."""
        played.paused = frozenset(self._paused())
        while paused := self._paused():
            for event in paused.values():
                interrupted = [e for e in self._seen if e.deployment == event.deployment and e.reason == "INTERRUPTED"]
                for stage, step in {(one.stage, one.step) for one in interrupted if one.step}:
                    await self._skip(pb.SkipStepRequest(name=event.deployment, stage=stage, step=step))
                await self._until(partial(_leads_out_of, event))
            await self._until_rest([])

    async def _skip(self, request: pb.SkipStepRequest) -> None:
        with suppress(Conflict):  # it was decided in an earlier round
            await self._insist(lambda client: client.deployments.SkipStep(request))

    async def _insist(self, call: Callable[[Client], Awaitable[Any]]) -> Any:
        """Call until it is answered, as a caller with a request_id may."""
        while True:
            try:
                async with self._deployer.client() as client:
                    return await call(client)
            except (Unavailable, TimedOut, FileNotFoundError):
                await asyncio.sleep(AGAIN_SECONDS)

    # waiting

    async def _until(self, is_it: Callable[[Event], bool]) -> Event:
        """The first event of that kind that the watcher sees."""
        async with self._news:
            while not (found := next((event for event in self._seen if is_it(event)), None)):
                await self._news.wait()
            return found

    async def _until_rest(self, actors: Iterable[asyncio.Task[None]]) -> None:
        """Wait until everything asked for has been answered, and no deployment goes on by itself."""
        await asyncio.gather(*actors)
        async with self._news:
            await self._news.wait_for(self._is_at_rest)

    def _is_at_rest(self) -> bool:
        last = {event.deployment: event for event in self._seen}
        versions_seen = len([event for event in self._seen if event.kind == messages.DEPLOYMENT_EVENT_KIND_CREATED])
        if versions_seen < len(self._story.versions):
            return False
        moving = [event for event in last.values() if event.status not in TERMINAL]
        if self._story.cancel_at:
            return not moving
        halted = any(event.status == messages.DEPLOYMENT_STATUS_PAUSED for event in moving)
        waiting = {messages.DEPLOYMENT_STATUS_PAUSED}
        if halted:  # these wait for one that waits for a person
            waiting |= {messages.DEPLOYMENT_STATUS_QUEUED, messages.DEPLOYMENT_STATUS_ROLLING_BACK}
        return all(event.status in waiting for event in moving)

    def _paused(self) -> dict[str, Event]:
        last = {event.deployment: event for event in self._seen}
        return {n: event for n, event in last.items() if event.status == messages.DEPLOYMENT_STATUS_PAUSED}


def _leads_out_of(pause: Event, event: Event) -> bool:
    is_later = event.deployment == pause.deployment and event.revision > pause.revision
    return is_later and event.status != messages.DEPLOYMENT_STATUS_PAUSED


def processes_in(mark: str) -> list[str]:
    """Everything alive whose working directory or command line names `mark`, as "pid command"."""
    found = []
    for place in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            line = (place / "cmdline").read_bytes().replace(bytes(1), b" ").decode(errors="replace")
            if str((place / "cwd").readlink()).startswith(mark) or mark in line:
                found.append(f"{place.name} {line}")
    return found


# ---- what must be true ----------------------------------------------------------------------------------------------


def wrongs(story: Story, played: Played) -> list[str]:
    """Everything that is not as promised."""
    found = []
    found += [f"outlives its deployer: {orphan}" for orphan in played.orphans]
    found += _wrong_interruptions(story, played)
    found += _wrong_effects(story, played)
    found += _wrong_watch(played)
    found += _wrong_ends(story, played)
    return found


def _wrong_interruptions(story: Story, played: Played) -> Iterable[str]:
    """PAUSED exactly where a step that may not run twice was begun by the record, and its end was not recorded."""
    if not played.deaths or story.cancel_at:
        return
    begun = {name for name, step, _ in unfinished(played.events_at_death) if step in story.once}
    last = {event.deployment: event for event in played.events_at_death}
    begun |= {name for name, event in last.items() if event.status == messages.DEPLOYMENT_STATUS_PAUSED}
    if begun != played.paused:
        yield f"paused are {sorted(played.paused)}, but interrupted were {sorted(begun)}"


def unfinished(events: Iterable[Event]) -> set[tuple[str, str, int]]:
    """Deployment, step and attempt of what was begun and has no end in the log."""
    open_steps = set()
    for event in events:
        key = (event.deployment, event.step, event.attempt)
        if event.kind == messages.DEPLOYMENT_EVENT_KIND_STEP_STARTED:
            open_steps.add(key)
        elif event.kind == messages.DEPLOYMENT_EVENT_KIND_STEP_ENDED:
            open_steps.discard(key)
    return open_steps


def _wrong_effects(story: Story, played: Played) -> Iterable[str]:
    begun = Counter(_step_of(line) for line in played.effects if line.startswith("begin"))
    done = Counter(_step_of(line) for line in played.effects if line.startswith("end"))
    begun_at_death = Counter(_step_of(line) for line in played.effects_at_death if line.startswith("begin"))
    asked = Counter(_key(e) for e in played.events if e.kind == messages.DEPLOYMENT_EVENT_KIND_STEP_STARTED)
    known = {_key(event) for event in played.events_at_death if _is_success(event)}
    commands = {step.name for stage in story.pipeline.stages for step in stage.steps if step.HasField("command")}
    for key, times in begun.items():
        if times > asked[key]:
            yield f"{key} ran {times} times, {asked[key]} were recorded"
        if times > 1 and key[1] in story.once:
            yield f"{key} ran {times} times"
        if key in known and times > begun_at_death[key]:
            yield f"{key} had finished and ran again"
    for event in played.events:
        if _is_success(event) and event.step in commands and not done[_key(event)]:
            yield f"{_key(event)} is called successful and was not"


def _step_of(line: str) -> tuple[str, str]:
    _, uid, step = line.split()
    return uid, step


def _key(event: Event) -> tuple[str, str]:
    return event.deployment.rpartition("/")[2], event.step


def _is_success(event: Event) -> bool:
    return event.kind == messages.DEPLOYMENT_EVENT_KIND_STEP_ENDED and event.reason == "SUCCEEDED"


def _wrong_watch(played: Played) -> Iterable[str]:
    """The watcher saw each event of the story once and in order."""
    seen = [event.event_id for event in played.seen]
    logged = [event.event_id for event in played.events][-len(seen) :] if seen else []
    if seen != logged:
        yield f"the watcher saw {seen}, the log holds {logged}"
    last: dict[str, int] = {}
    for event in played.events:
        if event.revision != last.get(event.deployment, 0) + 1:
            yield f"{event.event_id} follows revision {last.get(event.deployment, 0)}"
        last[event.deployment] = event.revision


def _wrong_ends(story: Story, played: Played) -> Iterable[str]:
    last = {event.deployment: event for event in played.seen}
    for name, event in last.items():
        if event.status not in TERMINAL:
            yield f"{name} stays {messages.DeploymentStatus.Name(event.status)}"
    created = [e for e in played.seen if e.kind == messages.DEPLOYMENT_EVENT_KIND_CREATED and not e.related_deployment]
    if len(created) != len(story.versions):
        yield f"{len(story.versions)} deployments were asked for, {len(created)} were made"
    if not played.paused:  # what people decide may well make another end of it
        wanted = Counter(story.ends.values())
        ends = Counter(messages.DeploymentStatus.Name(event.status)[18:] for event in last.values())
        if ends != wanted:
            yield f"the ends are {dict(ends)}, not {dict(wanted)}"


# ---- many plays -----------------------------------------------------------------------------------------------------


async def points_hit(world: World, story: Story) -> list[Fault]:
    """Every hit of every fault point in a play that nobody dies in."""
    if (known := world.hits.get(id(story))) is None:
        log = world.directory / f"{uuid.uuid4().hex}.hits"
        if found := wrongs(story, await play(world, story, hits=log)):
            raise AssertionError("\n".join(found))
        counts = Counter(log.read_text().split())
        known = [Fault(point, hit) for point, count in sorted(counts.items()) for hit in range(1, count + 1)]
        world.hits[id(story)] = known
    return known


async def die_at(world: World, story: Story, cases: Iterable[Sequence[Fault]], *, at_once: int = 3) -> list[str]:
    """Play the story once for each row of faults; everything that was wrong in any."""
    turn = asyncio.Semaphore(at_once)

    async def one(faults: Sequence[Fault]) -> list[str]:
        async with turn:
            try:
                played = await play(world, story, *faults)
            except (AssertionError, OpsuiteError, ExceptionGroup) as error:
                return [repr(error)]
        is_counted = not story.is_racy and world.cluster is None  # replicas of PostgreSQL wake one another
        missed = is_counted and len(faults) == 1 and not played.deaths
        return [*wrongs(story, played), *(["it did not die"] if missed else [])]

    cases = list(cases)
    found = await asyncio.gather(*(one(faults) for faults in cases))
    return [
        f"{' '.join(map(str, faults))}: {wrong}" for faults, some in zip(cases, found, strict=True) for wrong in some
    ]
