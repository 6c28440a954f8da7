"""Healers that are killed, and healers beside one another: nothing is lost, and nobody is told twice by mistake."""

from __future__ import annotations

import asyncio
import sqlite3
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from fakes.alert_receivers import Receivers, alert_receivers
from fakes.healer_incident_process import IncidentProcess
from fakes.healer_incident_stage import IncidentClient, incident_stage, policy_form, short_directory
from google.protobuf import json_format

from opsuite.healer.v1 import escalation_service_pb2 as escalation
from opsuite.healer.v1 import incident_pb2 as messages
from opsuite.healer.v1 import incident_service_pb2 as pb
from opsuite_kernel.errors import TimedOut, Unavailable

AGAIN_SECONDS = 0.05
PATIENCE_SECONDS = 120.0
FAULTS = [
    "healer.committed:3",  # it is committed, nobody has been told
    "healer.written:5",  # the level is told, not committed
    "healer.committed:5",  # its messages are in the outbox, nobody sends them
    "healer.message_tried",  # the receiver has the message, and that is not recorded
    "healer.written:6",  # that is written on the timeline, not committed
]
SENT_TWICE = {"healer.message_tried", "healer.written:6"}
"""Who dies between sending and recording sends again, under the same id."""


@pytest.fixture
def directory() -> Iterator[Path]:
    with short_directory() as path:
        yield path


@pytest.fixture
async def receivers() -> AsyncIterator[Receivers]:
    async with alert_receivers() as listening:
        yield listening


@pytest.mark.parametrize("fault", FAULTS)
async def test_a_healer_that_is_killed_tells_everybody_once_after_all(
    directory: Path, receivers: Receivers, fault: str
) -> None:
    healer = IncidentProcess(directory)
    story = _Story(receivers)
    try:
        async with asyncio.timeout(PATIENCE_SECONDS):
            await healer.start(OPSUITE_FAULT=fault)
            await story.tell(healer)
            await healer.wait_until_killed()
            await healer.start()
            await story.tell(healer)
            incident = await story.settled(healer)
    finally:
        await healer.kill()

    kinds = [word for word, _ in incident]
    assert kinds == ["OPENED", "ESCALATED", "TOLD", "DELIVERED"]
    assert len(set(receivers.deliveries)) == 1
    assert len(receivers.deliveries) == (2 if fault in SENT_TWICE else 1)
    assert _events(directory) == list(range(1, len(kinds) + 1))


async def test_two_healers_tell_every_level_once(directory: Path, receivers: Receivers, postgres_url: str) -> None:
    async with (
        incident_stage(directory / "a", database_url=postgres_url) as one,
        incident_stage(directory / "b", database_url=postgres_url) as two,
    ):
        await one.receiver("hook", webhook={"url": f"{receivers.url}/webhook"})
        await one.policy(["hook"])

        found = await asyncio.gather(
            *(stage.trigger(key=f"k{number}") for number in range(10) for stage in (one, two, one))
        )
        names = sorted({incident.name for incident in found})
        for name in names:
            await two.until(name, "DELIVERED")

        assert len(names) == 10
        timelines = [await one.kinds(name) for name in names]
    assert timelines == [["OPENED", "ESCALATED", "TOLD", "DELIVERED"]] * 10
    assert len(receivers.deliveries) == len(set(receivers.deliveries)) == 10


async def test_a_healer_goes_on_where_another_one_was_killed(
    directory: Path, receivers: Receivers, postgres_url: str
) -> None:
    killed = IncidentProcess(directory / "a", postgres_url, lease="PT3S", poll_every="PT0.2S")
    try:
        await killed.start()
        async with killed.client() as client:
            await _record(client, receivers, levels=2, wait="2s")
            name = (await _trigger(client)).name
            await receivers.until("webhook", 1)
        settings = {"lease": "PT3S", "poll_every": "PT0.2S"}
        async with incident_stage(directory / "b", database_url=postgres_url, settings=settings) as healer:
            await killed.kill()
            await healer.until(name, "EXHAUSTED")
            await receivers.until("webhook", 3)
            kinds = await healer.kinds(name)
    finally:
        await killed.kill()

    assert (kinds.count("ESCALATED"), kinds.count("TOLD"), kinds.count("EXHAUSTED")) == (1, 2, 1)
    assert len(set(receivers.deliveries)) == 3  # two levels, and that all was in vain


class _Story:
    """A receiver, a policy and an incident, asked for under the same ids until each is there."""

    def __init__(self, receivers: Receivers) -> None:
        self._receivers = receivers
        self._ids = [str(uuid.uuid4()) for _ in range(3)]
        self._name = ""

    async def tell(self, healer: IncidentProcess) -> None:
        """Until it is told, or nobody is left who hears it."""
        await self._insist(healer, lambda client: _record(client, self._receivers, *self._ids))
        await self._insist(healer, self._trigger)

    async def _trigger(self, client: IncidentClient) -> None:
        self._name = (await _trigger(client, self._ids[2])).name

    async def settled(self, healer: IncidentProcess) -> list[tuple[str, str]]:
        """The timeline, once the message was delivered, and is sure to stay as it is."""
        async with healer.client() as client:
            while True:
                found = await client.incidents.GetTimeline(pb.GetTimelineRequest(name=self._name))
                listed = await client.incidents.ListIncidents(pb.ListIncidentsRequest())
                assert len(listed.incidents) == 1
                entries = [(messages.TimelineEntryKind.Name(one.kind)[20:], one.text) for one in found.entries]
                if entries and entries[-1][0] == "DELIVERED":
                    return entries
                await asyncio.sleep(AGAIN_SECONDS)

    async def _insist(self, healer: IncidentProcess, call: Callable[[IncidentClient], Awaitable[None]]) -> None:
        while not healer.is_gone:
            try:
                async with healer.client() as client:
                    await call(client)
                    return
            except (Unavailable, TimedOut):
                await asyncio.sleep(AGAIN_SECONDS)


async def _record(
    client: IncidentClient,
    receivers: Receivers,
    receiver_id: str = "",
    policy_id: str = "",
    *_: str,
    levels: int = 1,
    wait: str = "900s",
) -> None:
    wanted: dict[str, Any] = {"receiver": {"name": "receivers/hook", "webhook": {"url": f"{receivers.url}/webhook"}}}
    form: dict[str, Any] = {"policy": policy_form(*[["hook"]] * levels, numLoops=0)}
    for level in form["policy"]["levels"]:
        level["wait"] = wait
    if receiver_id:
        wanted["requestId"], form["requestId"] = receiver_id, policy_id
    await client.escalation.CreateReceiver(json_format.ParseDict(wanted, escalation.CreateReceiverRequest()))
    await client.escalation.CreateEscalationPolicy(
        json_format.ParseDict(form, escalation.CreateEscalationPolicyRequest())
    )


async def _trigger(client: IncidentClient, request_id: str = "") -> messages.Incident:
    form = {"issue": "CRASHED", "summary": "it crashed", "key": "k1"} | (
        {"requestId": request_id} if request_id else {}
    )
    return (await client.incidents.TriggerIncident(json_format.ParseDict(form, pb.TriggerIncidentRequest()))).incident


def _events(directory: Path) -> list[int]:
    """Revisions of all events of incidents, in the order of the feed."""
    with closing(sqlite3.connect(f"file:{directory}/healer.db?mode=ro", uri=True)) as connection:
        found = connection.execute("SELECT revision FROM events WHERE resource LIKE 'incidents/%' ORDER BY position")
        return [revision for (revision,) in found.fetchall()]
