"""A place to play rollouts in which deployers die: one deployer, one real Envoy, requests all the time, and a judge.

Each play rolls out the next version of a workload that serves already, so plays follow one another quickly.
"""

from __future__ import annotations

import asyncio
import itertools
import json
import shutil
import signal
import sqlite3
import tempfile
import uuid
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Sequence
from contextlib import asynccontextmanager, closing, suppress
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any, TypeVar

import aiohttp
import psycopg
from deployer import Client, a_pipeline, free_port, register
from envoy import Edge
from fakes import crashes
from fakes.warm_deployer import Nursery, WarmDeployer
from fakes.web_workload import status_of
from fakes.worlds import Event, Fault

from opsuite.deployer.v1 import deployment_pb2 as messages
from opsuite.deployer.v1 import deployment_service_pb2 as pb
from opsuite_kernel.errors import Conflict, TimedOut, Unavailable
from opsuite_platforms.traffic.bootstrap import EdgeBootstrap

Answer = TypeVar("Answer")

TERMINAL = crashes.TERMINAL | {messages.DEPLOYMENT_STATUS_ABORTED}
AGAIN_SECONDS = 0.03
PATIENCE_SECONDS = 120
"""Only what will never come takes so long."""
REPLICAS = 2
COUNTS_EVERY = timedelta(milliseconds=100)
"""How often the edge tells what it has counted."""

SERVER = r"""#!/usr/bin/env -S python3 -S -E
# serve PORT WORKLOAD: answers with its version, and with the status in ANSWER; /alive is always well, /die kills it.
# It imports next to nothing, so that many of them start quickly.
import _thread, os, socket, sys

VERSION, STATUS = os.environ["DEPLOYMENT_VERSION"], os.environ.get("ANSWER", "200")

def serve(connection):
    waiting = b""
    try:
        while True:
            while b"\r\n\r\n" not in waiting:
                more = connection.recv(65536)
                if not more:
                    return
                waiting += more
            head, _, waiting = waiting.partition(b"\r\n\r\n")
            path = head.split()[1].decode()
            if path == "/die-" + VERSION:
                os._exit(1)
            status = "200" if path == "/alive" else STATUS
            answer = "HTTP/1.1 %s .\r\nContent-Length: %d\r\n\r\n%s" % (status, len(VERSION), VERSION)
            connection.sendall(answer.encode())
    except OSError:
        pass
    finally:
        connection.close()

listener = socket.create_server(("127.0.0.1", int(sys.argv[1])), backlog=128)
while True:
    _thread.start_new_thread(serve, (listener.accept()[0],))
"""
VERIFY = """import sys
sys.exit(sys.argv[1] != "well")
"""

SOON: dict[str, Any] = {"scaleDownDelay": "0.2s", "abortScaleDownDelay": "0.2s"}


# ---- stories --------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class RolloutStory:
    """What is rolled out, how somebody helps, and how it ends when nobody dies."""

    name: str
    strategy: dict[str, Any]
    ends: str = "SUCCEEDED"
    answer: str = "200"
    """Status with which the new version answers."""
    verdict: str = "well"
    """What the step after the rollout says of the new version."""
    is_promoted: bool = False
    """Whether somebody promotes it where it waits."""
    most_failed: float = 0.0
    """Largest share of the requests that may fail, all by the new version's own answer."""
    concurrency: str = "CONCURRENCY_POLICY_QUEUE"
    workload: dict[str, Any] = field(default_factory=dict)
    """What differs from the usual workload."""

    def pipeline(self, port: int) -> Any:
        """The pipeline, whose requests come through the edge on that port."""
        steps = [a_step(self.name, port, **self.strategy)]
        steps[0]["rollout"]["workload"] |= self.workload
        steps.append({"name": "verify", "command": {"command": "python3", "args": ["verify.py", "${verdict}"]}})
        steps[-1]["idempotent"] = True
        variables = {"answer": "200", "verdict": "well"}
        return a_pipeline(self.name, *steps, variables=variables, concurrency=self.concurrency)


def a_step(workload: str, port: int, **fields: Any) -> dict[str, Any]:
    """A rollout of the server behind the edge, in which everything that has to be waited for is short."""
    drain = fields.pop("drain", "0.1s")
    return {
        "name": "roll",
        "rollout": {
            "workload": {
                "workload": workload,
                "command": ["./serve", "${port}", workload],
                "env": {"ANSWER": "${answer}"},
                "ports": [{"name": "http"}],
                "replicas": REPLICAS,
            },
            "health": {"path": "/alive", "interval": "0.05s"},
            "minHealthyTime": "0.05s",
            "healthyDeadline": "90s",
            "progressDeadline": "100s",
            "traffic": {"edge": {"listenPort": port}, "drain": drain},
            **fields,
        },
    }


LIMITS = {"window": "10s", "minRequests": 10, "maxErrorPercent": 5.0}

STORIES = [
    RolloutStory("rolling", {"rolling": {}}),
    RolloutStory("colours", {"blueGreen": {"scaleDownDelay": "0.2s"}}),
    RolloutStory("canary", {"canary": {"steps": [{"setWeight": 50}, {"pause": {}}], **SOON}}, is_promoted=True),
    RolloutStory(
        "errors",
        {"canary": {"steps": [{"setWeight": 20}, {"gate": {"name": "errors", "traffic": LIMITS}}], **SOON}},
        ends="ROLLED_BACK",
        answer="503",
        most_failed=0.35,
    ),
    RolloutStory("back", {"blueGreen": {"scaleDownDelay": "0s"}}, ends="ROLLED_BACK", verdict="ill"),
]


# ---- the stage ------------------------------------------------------------------------------------------------------


@dataclass
class Requests:
    """Requests that somebody makes all the time, and what came of them."""

    answers: Counter[str] = field(default_factory=Counter)
    oddities: list[str] = field(default_factory=list)
    """Answers that are no version, in order."""
    _may_ask: asyncio.Event = field(default_factory=asyncio.Event)
    _asking: int = 0

    def __post_init__(self) -> None:
        self._may_ask.set()

    async def one(self, session: aiohttp.ClientSession, port: int) -> None:
        """Make one, and count what came of it."""
        while not self._may_ask.is_set():  # whoever was let go may be held again before it gets its turn
            await self._may_ask.wait()
        self._asking += 1
        try:
            async with session.get(f"http://127.0.0.1:{port}/") as answer:
                body = await answer.text()
                said = body if answer.status == 200 else f"{answer.status}"
        except aiohttp.ClientError as error:
            said, body = type(error).__name__, str(error)
        self._asking -= 1
        self.answers[said] += 1
        if not said.startswith("1."):
            self.oddities.append(f"{said} {body}")

    @asynccontextmanager
    async def held(self) -> AsyncIterator[None]:
        """Nobody asks as long as the block lasts."""
        self._may_ask.clear()
        while self._asking:  # noqa: ASYNC110  # soon over
            await asyncio.sleep(0.001)
        yield
        self._may_ask.set()


@dataclass(slots=True)
class Told:
    """What became of one rollout."""

    version: str
    answers: Counter[str]
    oddities: Sequence[str] = ()
    """Answers that are no version, in order."""
    name: str = ""
    """The deployment, once it is known."""
    end: str = ""
    """Status in which it ended."""
    deaths: int = 0


@dataclass(frozen=True, slots=True)
class Play:
    """A rollout under way, for who disturbs it."""

    stage: Stage
    story: RolloutStory
    told: Told
    requests: Requests
    end: asyncio.Task[messages.Deployment]

    async def until_told(self, reason: str) -> Event | None:
        """The event of the rollout in which that was told, or None if it has ended without."""
        while True:
            is_over = self.end.done()
            for event in self.stage.events():
                if event.deployment == self.told.name and event.reason == reason:
                    return event
            if is_over:
                return None
            await asyncio.sleep(AGAIN_SECONDS)


class Stage:
    """One deployer and one Envoy."""

    def __init__(self, nursery: Nursery, directory: Path, **settings: str) -> None:
        self.deployer = WarmDeployer(
            directory / "data",
            {
                "DEPLOYER_LOG_LEVEL": "WARNING",
                "DEPLOYER_LEASE": "3",
                "DEPLOYER_EDGE_GRACE": "60",
                "DEPLOYER_POLL_EVERY": "30",  # what happens is the story's doing, never that of the poll
                **settings,
            },
            nursery=nursery,
        )
        self.deployer.work.mkdir(parents=True)
        program = self.deployer.work / "serve"
        program.write_text(SERVER)
        program.chmod(0o755)
        (self.deployer.work / "verify.py").write_text(VERIFY)
        self.directory = directory
        self.edge = self.new_edge(self.deployer)
        self.ports: dict[str, int] = {}
        self.standing: dict[str, str] = {}
        """Version that serves, by workload."""
        self._numbers = itertools.count(1)

    def new_edge(self, deployer: WarmDeployer) -> Edge:
        """An edge, not started yet, that takes its routes from `deployer`; it is the same edge wherever from."""
        server = deployer.socket.replace("unix://", "unix:")
        return Edge(EdgeBootstrap("edge-1", server, stats_interval=COUNTS_EVERY), self.directory)

    def close(self) -> None:
        """End what it has started, but the edge."""
        self.deployer.close()

    def next_version(self) -> str:
        """A version that was never there."""
        return f"1.{next(self._numbers)}"

    # calls

    async def insist(self, call: Callable[[Client], Awaitable[Answer]]) -> Answer:
        """Call until it is answered, whatever dies meanwhile."""
        while True:
            try:
                async with self.deployer.client() as client:
                    return await call(client)
            except (Unavailable, TimedOut, FileNotFoundError):
                await asyncio.sleep(AGAIN_SECONDS)

    async def deploy(self, pipeline: str, version: str, **variables: str) -> str:
        request = pb.DeployRequest(
            request_id=str(uuid.uuid4()),
            pipeline=f"pipelines/{pipeline}",
            version=version,
            environment="staging",
            variables=variables,
        )
        return (await self.insist(lambda client: client.deployments.Deploy(request))).deployment.name

    async def get(self, name: str) -> messages.Deployment:
        request = pb.GetDeploymentRequest(name=name)
        return (await self.insist(lambda client: client.deployments.GetDeployment(request))).deployment

    async def until(self, name: str, is_it: Callable[[messages.Deployment], bool]) -> messages.Deployment:
        """The deployment once it is so, or has ended."""
        async with self.deployer_again():
            while True:
                found = await self.get(name)
                if is_it(found) or found.status in TERMINAL:
                    return found
                await asyncio.sleep(AGAIN_SECONDS)

    @asynccontextmanager
    async def deployer_again(self) -> AsyncIterator[None]:
        """Says what the deployer logged last when nothing comes of it any more."""
        try:
            async with asyncio.timeout(PATIENCE_SECONDS):
                yield
        except TimeoutError:
            raise AssertionError(f"never seen; the log ends:\n{self.deployer.log(15)}") from None

    async def ended(self, name: str) -> messages.Deployment:
        """The deployment, once it has ended; one that is rolled back, once that has ended too."""
        found = await self.until(name, lambda _: False)
        if found.rolled_back_by:
            await self.until(found.rolled_back_by, lambda _: False)
        return found

    # plays

    async def open(self, story: RolloutStory) -> None:
        """Have the first version of a story's workload serve, once."""
        if story.name in self.ports:
            return
        port, version = free_port(), self.next_version()
        pipeline = story.pipeline(port)
        await self.insist(lambda client: register(client, pipeline))
        done = await self.ended(await self.deploy(story.name, version))
        assert status_of(done) == "SUCCEEDED", done.message
        await self.serves(port)
        self.ports[story.name], self.standing[story.name] = port, version

    async def serves(self, port: int) -> None:
        """Return when the edge answers on that port."""
        async with aiohttp.ClientSession() as session, asyncio.timeout(PATIENCE_SECONDS):
            while True:
                with suppress(aiohttp.ClientError):
                    async with session.get(f"http://127.0.0.1:{port}/") as answer:
                        if answer.status == 200:
                            return
                await asyncio.sleep(AGAIN_SECONDS)

    async def begin_life(self, **environment: str) -> None:
        """Kill the deployer if it lives, and start it again."""
        await asyncio.to_thread(self.deployer.kill)
        self.deployer.start(wait=False, **environment)

    async def die(self, story: RolloutStory, *faults: Fault, hits: Path | None = None) -> tuple[Told, list[str]]:
        """Roll out the next version with a deployer that dies at each fault; what was wrong then."""
        lives = [{"OPSUITE_FAULT": str(fault)} for fault in faults] or [{"OPSUITE_FAULT_LOG": str(hits)}]
        await self.begin_life(**lives[0])

        async def live(play: Play) -> None:
            for life in [*lives[1:], {}]:
                play.told.deaths += await self._live(play.end)
                if not play.end.done():
                    self.deployer.start(wait=False, **life)

        return await self.play(story, live)

    async def play(self, story: RolloutStory, disturb: Callable[[Play], Awaitable[None]]) -> tuple[Told, list[str]]:
        """Roll out the next version while somebody disturbs it; what was wrong then."""
        async with requests(self.ports[story.name]) as made:
            told = Told(self.next_version(), made.answers, made.oddities)
            async with asyncio.TaskGroup() as group:
                end = group.create_task(self._through(story, told))
                await disturb(Play(self, story, told, made, end))
                done = await end
        return told, [wrong async for wrong in self._wrongs(story, told, done)]

    async def _through(self, story: RolloutStory, told: Told) -> messages.Deployment:
        """Deploy, help, and return what has ended."""
        told.name = await self.deploy(story.name, told.version, answer=story.answer, verdict=story.verdict)
        helper = asyncio.create_task(self.help(story, told.name))
        try:
            return await self.ended(told.name)
        finally:
            helper.cancel()

    async def _live(self, end: asyncio.Task[Any]) -> bool:
        """Return when the deployer has died, which is told, or the rollout has ended."""
        while not end.done():
            assert self.deployer.process is not None
            if self.deployer.process.poll() is not None:
                assert self.deployer.process.poll() == -signal.SIGKILL, self.deployer.log(20)
                return True
            await asyncio.sleep(0.01)
        return False

    async def help(self, story: RolloutStory, name: str) -> None:
        """Promote it wherever it waits for a person, as somebody would who looks at it."""
        while story.is_promoted:
            await self.until(name, lambda found: status_of(found) == "PAUSED")
            request = pb.PromoteDeploymentRequest(request_id=str(uuid.uuid4()), name=name)
            with suppress(Conflict):  # it got there after all, and the answer was lost; or a replica is not well yet
                await self.insist(lambda client, wish=request: client.deployments.PromoteDeployment(wish))  # type: ignore[misc]  # a default has no type here
            await asyncio.sleep(AGAIN_SECONDS)

    # judging

    async def _wrongs(self, story: RolloutStory, told: Told, done: messages.Deployment) -> AsyncIterator[str]:
        if status_of(done) != story.ends:
            yield f"it ended {status_of(done)}: {done.message}"
        told.end = status_of(done)
        before = self.standing[story.name]
        right = told.version if told.end == "SUCCEEDED" else before
        self.standing[story.name] = right
        for wrong in _wrong_answers(story, told, before):
            yield wrong
        after = await self.asked(self.ports[story.name], 10)
        if set(after) != {right}:
            yield f"afterwards it answers {dict(after)}, not {right}"
        for wrong in self._wrong_events(done):
            yield wrong
        if (left := await self.settled(story.name, right)) != {right: REPLICAS}:
            yield f"these replicas stay: {left}"
        for wrong in self.wrong_records(story.name, right):
            yield wrong

    async def asked(self, port: int, times: int) -> Counter[str]:
        """What is answered, one connection each."""
        answers = Counter[str]()
        for _ in range(times):
            async with aiohttp.ClientSession() as session, session.get(f"http://127.0.0.1:{port}/") as answer:
                answers[await answer.text() if answer.status == 200 else f"{answer.status}"] += 1
        return answers

    def _wrong_events(self, done: messages.Deployment) -> Iterable[str]:
        for name in filter(None, [done.name, done.rolled_back_by]):
            events = [event for event in self.events() if event.deployment == name]
            revisions = [event.revision for event in events]
            if revisions != list(range(1, len(events) + 1)):
                yield f"the events of {name} are not dense: {revisions}"
            once = Counter(e.reason for e in events if e.kind == messages.DEPLOYMENT_EVENT_KIND_ROLLOUT)
            for reason in ("STARTED", "PROMOTED", "SUCCEEDED", "ABORTING", "FAILED", "DRIFT_CORRECTED"):
                if once[reason] > (reason != "DRIFT_CORRECTED"):
                    yield f"{reason} was told {once[reason]} times"

    async def settled(self, workload: str, version: str) -> Counter[str]:
        """Replicas by version, once only that one's are left as recorded; else what there is when patience ends."""
        with suppress(TimeoutError):
            async with asyncio.timeout(PATIENCE_SECONDS):
                while (left := self.replicas(workload)) != {version: REPLICAS} or self._unretired(workload):  # noqa: ASYNC110
                    await asyncio.sleep(AGAIN_SECONDS)
                return left
        return self.replicas(workload)

    def replicas(self, workload: str) -> Counter[str]:
        """How many processes serve a workload, by version."""
        return Counter(self.pids(workload).values())

    def pids(self, workload: str) -> dict[str, str]:
        """Version of each process that serves a workload."""
        found, work = dict[str, str](), self.deployer.work.resolve()
        for place in Path("/proc").glob("[0-9]*"):
            with suppress(OSError):
                words = (place / "cmdline").read_bytes().split(b"\0")
                if words[-2:-1] == [workload.encode()] and (place / "cwd").readlink() == work:
                    environment = (place / "environ").read_bytes().split(b"\0")
                    # Empty for a moment while the program takes the place of what started it.
                    for version in (word[19:] for word in environment if word.startswith(b"DEPLOYMENT_VERSION=")):
                        found[place.name] = version.decode()
        return found

    def revision(self, workload: str, version: str) -> str:
        """Name of a version on the platform."""
        return next(str(name) for name, document in self._revisions(workload) if f'"{version}"' in _json(document))

    def wrong_records(self, workload: str, version: str) -> Iterable[str]:
        """What the database says of a workload that nobody rolls out any more."""
        ((stable, under_way),) = self.query(f"SELECT stable, rollout_of FROM workloads WHERE id = '{workload}'")
        if under_way:
            yield f"it is still rolled out by {under_way}"
        if stable != self.revision(workload, version):
            yield f"stable is {stable}, not that of {version}"
        if left := self._unretired(workload):
            yield f"revisions are not retired: {left}"

    def _revisions(self, workload: str) -> Sequence[tuple[Any, ...]]:
        return self.query(f"SELECT name, document FROM workload_revisions WHERE workload = '{workload}'")

    def _unretired(self, workload: str) -> Sequence[tuple[Any, ...]]:
        return self.query(
            "SELECT r.name, r.retire_at, r.idle FROM workload_revisions r JOIN workloads w ON w.id = r.workload"
            f" WHERE r.workload = '{workload}' AND (r.name = w.stable) = (r.idle OR r.retire_at IS NOT NULL)"
        )

    def events(self) -> list[Event]:
        """The event log."""
        return [Event.FromString(row[0]) for row in self.query("SELECT payload FROM events ORDER BY position")]

    def query(self, statement: str) -> Sequence[tuple[Any, ...]]:
        """Rows of the database, whichever it is, while the deployer lives."""
        if url := self.deployer.settings.get("DEPLOYER_DATABASE_URL"):
            with psycopg.connect(url) as connection:
                return connection.execute(statement.encode()).fetchall()
        with closing(sqlite3.connect(f"file:{self.deployer.data_dir}/deployer.db?mode=ro", uri=True)) as database:
            return database.execute(statement).fetchall()


def _json(document: object) -> str:
    """A document as text, whichever the database."""
    return document if isinstance(document, str) else json.dumps(document)


def _wrong_answers(story: RolloutStory, told: Told, before: str) -> Iterable[str]:
    """Whoever was answered by neither version, or by the broken one too often."""
    good = {before, told.version}
    failing = set() if story.answer == "200" else {story.answer}
    for answer in set(told.answers) - good - failing:
        said = next((oddity for oddity in told.oddities if oddity.startswith(answer)), answer)
        yield f"{told.answers[answer]} requests of {told.answers.total()} got {said}"
    failed = sum(told.answers[answer] for answer in failing)
    if failed > story.most_failed * told.answers.total():
        yield f"{failed} requests of {told.answers.total()} failed"


async def promote(play: Play) -> None:
    """Promote it, as soon as its replicas allow that."""
    request = pb.PromoteDeploymentRequest(request_id=str(uuid.uuid4()), name=play.told.name)
    while not play.end.done():
        with suppress(Conflict):
            await play.stage.insist(lambda client: client.deployments.PromoteDeployment(request))
            return
        request.request_id = str(uuid.uuid4())
        await asyncio.sleep(0.05)


@asynccontextmanager
async def requests(port: int, clients: int = 2) -> AsyncIterator[Requests]:
    """Requests all the time, with so little pause that no gap of service goes unseen."""
    made, is_over = Requests(), asyncio.Event()

    async def client(session: aiohttp.ClientSession) -> None:
        while not is_over.is_set():
            await made.one(session, port)
            await asyncio.sleep(0.005)

    async with aiohttp.ClientSession(cookie_jar=aiohttp.DummyCookieJar()) as session, asyncio.TaskGroup() as group:
        for _ in range(clients):
            group.create_task(client(session))
        try:
            yield made
        finally:
            is_over.set()


@asynccontextmanager
async def a_stage(nursery: Nursery, make: type[Stage] = Stage, **settings: str) -> AsyncIterator[Stage]:
    """A stage with nothing on it; all of it is gone afterwards."""
    directory = Path(tempfile.mkdtemp(prefix="opsuite-"))  # other directories are too long for a Unix socket
    stage = make(nursery, directory, **settings)
    try:
        await asyncio.to_thread(stage.deployer.start)
        await stage.edge.start()
        yield stage
    finally:
        await stage.edge.kill()
        await asyncio.to_thread(stage.close)
        shutil.rmtree(directory, ignore_errors=True)


async def points_hit(stage: Stage, story: RolloutStory) -> list[Fault]:
    """Every hit of every fault point in a play that nobody dies in."""
    log = stage.deployer.data_dir.parent / f"{uuid.uuid4().hex}.hits"
    _, wrongs = await stage.die(story, hits=log)
    assert wrongs == []
    counts = Counter(log.read_text().split())
    return [Fault(point, hit) for point, count in sorted(counts.items()) for hit in range(1, count + 1)]
