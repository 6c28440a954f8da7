"""What is over for long is cleared away, and nothing else; what is asked of people says exactly how to answer."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, timedelta

import pytest
import sqlalchemy as sa
from fakes.alert_receivers import alert_receivers
from fakes.healer_incident_stage import short_directory
from fakes.healer_remediation import World
from fakes.healer_remediation_stage import WEB, RemediationStage, remediation_stage, step
from google.protobuf import json_format

from opsuite.healer.v1 import escalation_pb2
from opsuite.healer.v1 import escalation_service_pb2 as escalation
from opsuite.healer.v1.escalation_service_pb2_grpc import EscalationServiceStub
from opsuite_healer.adapters.remediation import tables
from opsuite_healer.adapters.remediation.tidying import forget
from opsuite_healer.domain.remediation.remediation import State

PATIENCE_SECONDS = 120.0
"""Only what will never come takes so long."""


@pytest.fixture
async def stage() -> AsyncIterator[RemediationStage]:
    with short_directory() as directory:
        async with asyncio.timeout(PATIENCE_SECONDS), remediation_stage(directory, World()) as served:
            yield served


async def test_what_ended_long_ago_is_forgotten_and_what_goes_on_is_kept(stage: RemediationStage) -> None:
    stage.world.mends("RESTART_SERVICE")
    await stage.policy()
    await stage.policy(step("WIPE"), name="healingPolicies/danger", priority=1, match={"issues": ["FULL"]})
    await stage.trouble()
    over = await stage.until(State.SUCCEEDED)
    await stage.trouble(key="k2", issue="FULL", target={**WEB, "replica": "web-1"})
    kept = await stage.until(State.AWAITING_APPROVAL)
    house = stage.stage.house

    early = await house.database.write(lambda connection: forget(connection, over.end_time.ToDatetime(tzinfo=UTC)))
    later = house.clock.now() + timedelta(days=1)
    late = await house.database.write(lambda connection: forget(connection, later))

    assert (early, late) == (0, 1)
    assert [one.name for one in await stage.all()] == [kept.name]
    assert (await stage.get(kept.name)).decisions
    left = [await _count(stage, table) for table in (tables.attempts, tables.circuits)]
    assert left == [0, 0]


async def test_whoever_is_asked_is_told_the_exact_command(stage: RemediationStage) -> None:
    async with alert_receivers() as receivers:
        hook = {"name": "receivers/hook", "webhook": {"url": f"{receivers.url}/webhook"}}
        stub = EscalationServiceStub(stage.stage.channel)
        message = json_format.ParseDict(hook, escalation_pb2.Receiver())
        await stub.CreateReceiver(escalation.CreateReceiverRequest(receiver=message))
        await stage.policy(mode="HEALING_MODE_SUGGEST", receivers=["receivers/hook"])
        incident = await stage.trouble()
        asked = await stage.until(State.AWAITING_APPROVAL)

        told = str((await receivers.until("webhook", 1))[0])

    assert f"opsuite heal approve {asked.name}" in told
    assert f"opsuite heal reject {asked.name}" in told
    assert incident.name in told
    assert asked.trace_id in told


async def _count(stage: RemediationStage, table: sa.Table) -> int:
    statement = sa.select(sa.func.count()).select_from(table)
    found: int = await stage.stage.house.database.read(lambda connection: connection.execute(statement).scalar_one())
    return found
