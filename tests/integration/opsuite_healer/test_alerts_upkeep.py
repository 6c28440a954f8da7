"""What the part does by itself: silences that nothing matches end, and what is long over is cleared away."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, TypeVar

import pytest
from aiohttp import ClientSession
from authority import an_authority
from fakes.healer_alert_stage import AlertStage, alert_stage
from fakes.healer_alerts import a_silence, minutes
from fakes.healer_incident_stage import short_directory

from opsuite.healer.v1 import alert_pb2
from opsuite.healer.v1 import silence_service_pb2 as silence_service
from opsuite_healer.adapters.alerts.tidying import tidy
from opsuite_healer.adapters.alerts.transaction import SqlAlertTx
from opsuite_healer.adapters.unit import SqlUnit
from opsuite_healer.application.alerts.flushing import forget_silences
from opsuite_healer.domain.alerts.silences import Silence
from opsuite_kernel.ids import new_id

T = TypeVar("T")
DOWN = {"alertname": "Down", "job": "api"}
OVER = {"startTime": "2025-01-01T00:00:00Z", "endTime": "2026-01-01T00:00:00Z"}


@pytest.fixture
def directory() -> Iterator[Path]:
    with short_directory() as path:
        yield path


@pytest.fixture
async def stage(directory: Path) -> AsyncIterator[AlertStage]:
    async with asyncio.timeout(120), alert_stage(directory) as served:
        yield served


async def test_silences_that_nothing_matches_end_and_say_why(stage: AlertStage) -> None:
    await stage.client.push(DOWN)
    matching = await _silence(stage, "Down", unmatched_for=minutes(10))
    idle = await _silence(stage, "Other", unmatched_for=minutes(10))
    patient = await _silence(stage, "Other", unmatched_for=timedelta(hours=2))

    await _write(stage, forget_silences)

    found = {one.name: one for one in await _silences(stage)}
    assert found[matching.name].state == found[patient.name].state == alert_pb2.SILENCE_STATE_ACTIVE
    assert found[matching.name].HasField("match_time")
    assert found[idle.name].state == alert_pb2.SILENCE_STATE_EXPIRED
    assert found[idle.name].end_reason == "nothing has matched it for 0:10:00"


async def test_what_is_long_over_is_cleared_away_and_nothing_else(stage: AlertStage) -> None:
    await stage.client.route(groupWait="3600s")
    await stage.client.push(DOWN, {"alertname": "Still"}, {"alertname": "Held"})
    await stage.client.push({"alertname": "Held"}, **OVER)  # its group waits to be looked at
    await stage.client.route(groupWait="0s")
    silence = await _silence(stage, "Down")
    await stage.client.silences.ExpireSilence(silence_service.ExpireSilenceRequest(name=silence.name))
    now = await _now(stage)

    await _tidy(stage, now + timedelta(days=1), keep=timedelta(days=2))
    assert len(await stage.client.listed(showResolved=True)) == 3

    await stage.client.push(DOWN, **OVER)
    await _until_members(stage, 1)
    await _tidy(stage, now + timedelta(days=3), keep=timedelta(days=2))

    assert [alert.labels["alertname"] for alert in await stage.client.listed(showResolved=True)] == ["Still"]
    assert await _silences(stage) == []


async def test_with_certificates_alerts_come_over_tls(directory: Path) -> None:
    files = an_authority(directory / "ca").issue("healer")
    settings = {"tls_cert_file": files.certificate, "tls_key_file": files.key}
    async with asyncio.timeout(120), alert_stage(directory / "data", settings=settings) as stage:
        trusting = ssl.create_default_context(cafile=files.ca)
        headers = {"Authorization": f"Bearer {stage.token}"}
        url = f"https://{stage.part.face.address}/api/v2/status"
        async with ClientSession() as session, session.get(url, headers=headers, ssl=trusting) as answer:
            assert answer.status == 200


async def _silence(stage: AlertStage, value: str, **fields: Any) -> Silence:
    """One that was made an hour ago."""

    def body(tx: SqlAlertTx) -> Silence:
        now = tx.unit.now()
        made = replace(
            a_silence(f'alertname="{value}"', **fields),
            id=new_id(now),
            starts_at=now - timedelta(hours=1),
            ends_at=now + timedelta(hours=1),
            created_at=now,
            updated_at=now,
        )
        tx.put_silence(made)
        return made

    return await _write(stage, body)


async def _silences(stage: AlertStage) -> list[alert_pb2.Silence]:
    request = silence_service.ListSilencesRequest(show_expired=True)
    return list((await stage.client.silences.ListSilences(request)).silences)


async def _write(stage: AlertStage, body: Callable[[SqlAlertTx], T]) -> T:
    return await stage.stage.house.store.write(lambda unit: body(stage.part.transaction(unit)))


async def _now(stage: AlertStage) -> datetime:
    return await stage.stage.house.store.read(lambda unit: unit.now())


async def _until_members(stage: AlertStage, count: int) -> None:
    """Return when so many alerts are left in groups."""

    def members(unit: SqlUnit) -> int:
        return len(list(stage.part.transaction(unit).memberships()))

    while True:
        if await stage.stage.house.store.read(members) == count:
            return
        await asyncio.sleep(0.02)


async def _tidy(stage: AlertStage, now: datetime, keep: timedelta) -> None:
    await tidy(stage.stage.house.database, keep, now)
