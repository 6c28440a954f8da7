"""A whole healer that looks after something, and how long it took to mend what a test broke."""

from __future__ import annotations

import asyncio
import time
import urllib.error
import urllib.request
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from typing import Any

from fakes.healer_remediation_stage import RemediationClient, client_of, policy_form
from google.protobuf import json_format
from healer import HealerProcess

from opsuite.healer.v1 import (
    healing_policy_pb2,
    health_check_service_pb2,
    incident_pb2,
    remediation_pb2,
)
from opsuite.healer.v1 import healing_service_pb2 as pb
from opsuite.healer.v1.health_check_service_pb2_grpc import HealthCheckServiceStub
from opsuite_healer.domain.remediation.remediation import State

PATIENCE_SECONDS = 120.0
"""Only what will never come takes so long."""
AGAIN_SECONDS = 0.05
PROOF: Mapping[str, Any] = {"healthyDelay": "1s", "timeout": "60s", "grace": "30s"}
IN_VAIN: Mapping[str, Any] = {"healthyDelay": "20s", "timeout": "1s", "grace": "0s"}
"""Proof that what dies within seconds never brings."""

MENDED = {remediation_pb2.REMEDIATION_STATE_SUCCEEDED, remediation_pb2.REMEDIATION_STATE_RESTING}
"""Proved: what can be taken back later rests until then."""


def check_form(name: str, target: Mapping[str, str], **probe: Any) -> dict[str, Any]:
    """A check that looks often; two answers decide."""
    return {
        "name": f"healthChecks/{name}",
        "target": dict(target),
        "interval": "1s",
        "timeout": "1s",
        "startupGrace": "0s",
        "successThreshold": 2,
        "failureThreshold": 2,
        "flapping": {"disabled": True},
        **probe,
    }


@dataclass(frozen=True)
class Ward:
    """A healer, and those who call it."""

    client: RemediationClient
    checks: Any

    async def watch(self, check: Mapping[str, Any], *steps: Mapping[str, Any], **policy: Any) -> None:
        """Look at something from now on, and mend it by a policy of that name; returns when it is known to be well."""
        message = json_format.ParseDict({"check": dict(check)}, health_check_service_pb2.CreateCheckRequest())
        await self.checks.CreateCheck(message)
        name = str(check["name"]).replace("healthChecks", "healingPolicies")
        form = policy_form(*steps, name=name, **policy)
        healing = json_format.ParseDict(form, healing_policy_pb2.HealingPolicy())
        await self.client.healing.CreateHealingPolicy(pb.CreateHealingPolicyRequest(policy=healing))

    async def mended(
        self, fault: str, began: float, is_well: Callable[[], Awaitable[bool]]
    ) -> remediation_pb2.Remediation:
        """The one remediation of a fault, once its proof is there and somebody outside has seen it too."""
        try:
            ended = await self.client.until(State.SUCCEEDED, State.RESTING, State.RECOVERED, State.ESCALATED)
        except asyncio.CancelledError:  # patience has ended
            print(*[await self.client.get(one.name) for one in await self.client.all()])
            print(await self.checks.ListChecks(health_check_service_pb2.ListChecksRequest()))
            raise
        assert ended.state in MENDED, ended
        while not await is_well():  # noqa: ASYNC110 - who is outside has to ask
            await asyncio.sleep(AGAIN_SECONDS)
        print(f"{fault}: mended and proved {time.time() - began:.1f} s after it was broken")
        incident = await self.client.incident(ended.incident)
        assert incident.status == incident_pb2.INCIDENT_STATUS_RESOLVED
        assert [one.name for one in await self.client.all()] == [ended.name]
        return ended


def told(remediation: remediation_pb2.Remediation) -> list[tuple[str, str]]:
    """What was done, in order, and what came of each."""
    state = remediation_pb2.AttemptState.Name
    return [(one.action, state(one.state).removeprefix("ATTEMPT_STATE_")) for one in remediation.attempts]


@asynccontextmanager
async def a_ward(healer: HealerProcess) -> AsyncIterator[Ward]:
    """Started and ended with the test, which may take as long as patience lasts."""
    try:
        async with asyncio.timeout(PATIENCE_SECONDS):
            await asyncio.to_thread(healer.start)
            async with healer.channel() as channel:
                yield Ward(client_of(channel), HealthCheckServiceStub(channel))
    except BaseException:
        print(healer.log())
        raise
    finally:
        healer.close()


async def answer_of(port: int, path: str = "/") -> str:
    """What somebody outside is answered; empty if nothing."""
    return await asyncio.to_thread(_answer, f"http://127.0.0.1:{port}{path}")


def _answer(url: str) -> str:
    with suppress(urllib.error.URLError, OSError), urllib.request.urlopen(url, timeout=2) as it:
        return str(it.read().decode()) or "-"
    return ""
