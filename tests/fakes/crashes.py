"""Stories played with deployers that die at a named place; `promises` says what must be true of them afterwards."""

from __future__ import annotations

import asyncio
import signal
import time
import uuid
from collections.abc import Awaitable, Callable, Iterable, Sequence
from contextlib import aclosing, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from deployer import Client
from fakes.warm_deployer import WarmDeployer
from fakes.worlds import Event, Fault, Story, World, effects_of, processes_in

from opsuite.deployer.v1 import deployment_pb2 as messages
from opsuite.deployer.v1 import deployment_service_pb2 as pb
from opsuite_kernel.errors import Conflict, TimedOut, Unavailable
from opsuite_rpc.watching import watch

ORPHANS_LIVE_SECONDS = 2.0
PATIENCE_SECONDS = 60.0
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
        await asyncio.to_thread(world.discard, deployer)


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
