"""Healers that are killed in the middle of alerts, and two beside one another: everybody hears everything once."""

from __future__ import annotations

import asyncio
import signal
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Final

import pytest
from fakes.alert_receivers import alert_receivers
from fakes.healer_alert_stage import AlertClient, alert_stage, another_stage
from fakes.healer_incident_stage import short_directory
from healer import HealerProcess
from scaler import a_place

from opsuite.healer.v1 import alert_pb2
from opsuite_healer.composition import alerts
from opsuite_kernel.errors import TimedOut, Unavailable
from opsuite_runs import faults

PATIENCE_SECONDS: Final = 180.0
"""Only a healer that is stuck needs so long."""
AGAIN_SECONDS: Final = 0.05
DOWN = {"alertname": "Down", "job": "api"}
PAST = {"startTime": "2025-01-01T00:00:00Z", "endTime": "2026-01-01T00:00:00Z"}
FAULTS: Final = ("healer.alerts_taken", "healer.alerts_flushed", "healer.alerts_told", "healer.alerts_ended")
"""Where lives end, one after the other; the alert is over in the last of them."""


@pytest.fixture
def directory() -> Iterator[Path]:
    with short_directory() as path:
        yield path


async def test_whoever_is_killed_at_any_place_tells_the_beginning_and_the_end_once() -> None:
    with a_place() as place:
        healer = HealerProcess(place / "healer", place / "suite")
        try:
            async with asyncio.timeout(PATIENCE_SECONDS), alert_receivers() as receivers:
                await asyncio.to_thread(partial(healer.start, OPSUITE_FAULT=FAULTS[0]))
                async with healer.channel() as channel:
                    await AlertClient.over(channel).receiver(f"{receivers.url}/webhook")
                    await AlertClient.over(channel).route()
                await _die(healer, lambda client: client.push(DOWN))
                for fault in FAULTS[1:-1]:
                    healer.start(wait=False, OPSUITE_FAULT=fault)
                    await _die(healer, lambda client: client.push(DOWN))
                healer.start(wait=False, OPSUITE_FAULT=FAULTS[-1])
                await receivers.until("webhook", 1)
                await _die(healer, lambda client: client.push(DOWN, **PAST))
                healer.start(wait=False)
                await _insist(healer, lambda client: client.push(DOWN, **PAST))
                await receivers.until("webhook", 2)
                async with healer.channel() as channel:
                    client = AlertClient.over(channel)
                    (alert,) = await client.listed(showResolved=True)
                    incidents = await client.all_incidents()
                    groups = await client.groups()
        finally:
            healer.close()

    told = {
        delivery: body["event"] for delivery, body in zip(receivers.deliveries, receivers.got["webhook"], strict=True)
    }
    assert sorted(told.values()) == ["ALERTS_FIRING", "ALERTS_RESOLVED"]  # a message that is sent again keeps its id
    assert alert.state == alert_pb2.ALERT_STATE_RESOLVED
    assert [incident.issue for incident in incidents] == ["Down"]
    assert groups == []


def test_every_fault_point_of_alerts_is_tried() -> None:
    assert callable(alerts.alerts)  # what it imports has declared its points
    assert {name for name in faults.declared() if name.startswith("healer.alerts_")} == set(FAULTS)


async def _die(healer: HealerProcess, act: Callable[[AlertClient], Awaitable[object]]) -> None:
    """Do that, again and again, until it has ended at its fault."""
    assert healer.process is not None
    while healer.process.poll() is None:
        await _insist(healer, act)
        await asyncio.sleep(AGAIN_SECONDS)
    assert healer.process.returncode == -signal.SIGKILL, healer.log()


async def _insist(healer: HealerProcess, act: Callable[[AlertClient], Awaitable[object]]) -> None:
    """Do that once it can be done, or nobody is left to do it."""
    assert healer.process is not None
    while healer.process.poll() is None:
        try:
            async with healer.channel() as channel:
                await act(AlertClient.over(channel))
                return
        except (Unavailable, TimedOut, FileNotFoundError):
            await asyncio.sleep(AGAIN_SECONDS)


async def test_two_replicas_that_get_the_same_alerts_tell_each_group_once(directory: Path, postgres_url: str) -> None:
    labels = [{"alertname": f"Down{number % 5}", "job": f"j{number}"} for number in range(20)]
    async with (
        asyncio.timeout(PATIENCE_SECONDS),
        alert_stage(directory / "a", database_url=postgres_url) as one,
        another_stage(directory / "b", one.receivers, database_url=postgres_url) as two,
    ):
        await one.client.route(groupWait="1s", groupInterval="3600s")

        await asyncio.gather(*(stage.client.push(*labels) for _ in range(5) for stage in (one, two)))

        told = await one.told(5)
        incidents = await two.client.all_incidents()
        groups = await two.client.groups()
        await _looked_at(two.client)

    assert Counter(message["title"] for message in told) == {f"[FIRING:4] alertname=Down{n}": 1 for n in range(5)}
    assert len(set(one.receivers.deliveries)) == 5
    assert len({incident.key for incident in incidents}) == len(incidents) == 20
    assert len(groups) == 5


async def test_a_replica_tells_what_another_one_took_that_is_gone(directory: Path, postgres_url: str) -> None:
    async with asyncio.timeout(PATIENCE_SECONDS), alert_stage(directory / "a", database_url=postgres_url) as one:
        async with another_stage(directory / "b", one.receivers, database_url=postgres_url) as two:
            await two.client.route(groupWait="2s")
            await two.client.push(DOWN)

        (message,) = await one.told(1)

    assert message["title"] == "[FIRING:1] alertname=Down"


async def _looked_at(client: AlertClient) -> None:
    """Return when every group was looked at."""
    while True:
        groups = await client.groups()
        if all(group.last_reason != alert_pb2.FLUSH_REASON_UNSPECIFIED for group in groups):
            return
        await asyncio.sleep(AGAIN_SECONDS)
