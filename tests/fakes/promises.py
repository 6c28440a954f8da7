"""What must be true of a story that was played with a deployer that died: judged from outside, by what was left.

The lines that its steps wrote (`effects`), the event log as it lay in the database when the process died, and what a
watcher saw who held on through the crash.
"""

from __future__ import annotations

import asyncio
import uuid
from collections import Counter
from collections.abc import Iterable, Sequence

from fakes.crashes import TERMINAL, Played, play
from fakes.worlds import Event, Fault, Story, World

from opsuite.deployer.v1 import deployment_pb2 as messages
from opsuite_kernel.errors import OpsuiteError


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
    steps = [step for stage in story.pipeline.stages for step in stage.steps]
    telling = {step.name for step in steps if step.HasField("command")} | story.boxed
    for key, times in begun.items():
        if times > asked[key]:
            yield f"{key} ran {times} times, {asked[key]} were recorded"
        if times > 1 and key[1] in story.once | story.boxed:
            yield f"{key} ran {times} times"
        if key in known and times > begun_at_death[key]:
            yield f"{key} had finished and ran again"
    for event in played.events:
        if _is_success(event) and event.step in telling and not done[_key(event)]:
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
