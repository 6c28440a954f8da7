"""A whole healer mends a replica that hangs: real checks, a real restart, proof, and the incident resolved."""

from __future__ import annotations

import asyncio
import os
import signal
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from fakes.healer_remediation_stage import client_of, policy_form, step
from fakes.web_workload import SERVER, pids_of
from google.protobuf import json_format
from healer import HealerProcess
from scaler import a_place

from opsuite.healer.v1 import healing_policy_pb2, health_check_service_pb2, incident_pb2, remediation_pb2
from opsuite.healer.v1 import healing_service_pb2 as pb
from opsuite.healer.v1.health_check_service_pb2_grpc import HealthCheckServiceStub
from opsuite_healer.domain.remediation.remediation import State
from opsuite_platforms.port import PortSpec, WorkloadSpec
from opsuite_platforms.process import ProcessPlatform

PATIENCE_SECONDS = 180.0
"""Only what will never come takes so long."""
AGAIN_SECONDS = 0.05
CHECK = {
    "name": "healthChecks/web",
    "target": {"platform": "process", "workload": "shop"},
    "http": {"url": "http://127.0.0.1:${port}/alive"},
    "interval": "0.5s",
    "timeout": "0.5s",
    "startupGrace": "0s",
    "successThreshold": 2,
    "failureThreshold": 2,
}
PROOF = {"healthyDelay": "1s", "timeout": "60s", "grace": "5s"}


@pytest.fixture
def place() -> Iterator[Path]:
    with a_place() as found:
        yield found


async def test_a_replica_that_hangs_is_restarted_once_and_its_neighbour_is_left_alone(place: Path) -> None:
    healer = HealerProcess(place / "healer", place / "suite")
    first, _, last = healer.workload_ports.partition("-")
    platform = ProcessPlatform(place / "suite", ports=range(int(first), int(last) + 1))
    try:
        async with asyncio.timeout(PATIENCE_SECONDS):
            await asyncio.to_thread(platform.supervisord.start)
            await platform.apply(_shop(place), epoch=1)
            await _until_served(platform)
            await asyncio.to_thread(healer.start)
            before = await pids_of(platform, "shop")
            async with healer.channel() as channel:
                ended = await _hang_and_heal(channel, before["shop-1"])
            after = await pids_of(platform, "shop")
            served = await _until_served(platform)
    finally:
        healer.close()
        with suppress(ProcessLookupError, UnboundLocalError):
            os.kill(before["shop-1"], signal.SIGKILL)
        await platform.remove("shop")
        platform.close()
        await asyncio.to_thread(platform.supervisord.stop)

    assert [one.action for one in ended.attempts] == ["RESTART_SERVICE"]
    assert ended.attempts[0].state == remediation_pb2.ATTEMPT_STATE_PROVED
    assert ended.target.replica == "shop-1"
    assert after["shop-1"] != before["shop-1"]
    assert after["shop-0"] == before["shop-0"]
    assert served == {"shop-0": "1", "shop-1": "1"}


async def _hang_and_heal(channel: Any, pid: int) -> remediation_pb2.Remediation:
    """Let a replica hang; the remediation that has mended it."""
    checks: Any = HealthCheckServiceStub(channel)
    client = client_of(channel)
    create = json_format.ParseDict({"check": CHECK}, health_check_service_pb2.CreateCheckRequest())
    await checks.CreateCheck(create)
    form = policy_form(step(verification=PROOF), match={"issues": ["UNHEALTHY"]})
    policy = json_format.ParseDict(form, healing_policy_pb2.HealingPolicy())
    await client.healing.CreateHealingPolicy(pb.CreateHealingPolicyRequest(policy=policy))
    os.kill(pid, signal.SIGSTOP)
    ended = await client.until(State.SUCCEEDED)
    incident = await client.incident(ended.incident)
    assert incident.status == incident_pb2.INCIDENT_STATUS_RESOLVED
    assert [one.name for one in await client.all()] == [ended.name]
    return ended


def _shop(place: Path) -> WorkloadSpec:
    script = place / "serve"
    script.write_text(SERVER)
    script.chmod(0o755)
    return WorkloadSpec(
        "shop",
        "1",
        (str(script), "${port}"),
        "/",
        env={"PATH": os.environ["PATH"], "DEPLOYMENT_VERSION": "1"},
        ports=(PortSpec("http"),),
        replicas=2,
    )


async def _until_served(platform: ProcessPlatform) -> dict[str, str]:
    """What each replica answers to somebody outside, once both do."""
    while True:
        replicas = (await platform.observe("shop")).replicas
        answers = {one.name: await asyncio.to_thread(_answer, one.ports["http"]) for one in replicas}
        if len(answers) == 2 and all(answers.values()):
            return answers
        await asyncio.sleep(AGAIN_SECONDS)


def _answer(port: int) -> str:
    with suppress(urllib.error.URLError, OSError), urllib.request.urlopen(f"http://127.0.0.1:{port}/", timeout=5) as it:
        return str(it.read().decode())
    return ""
