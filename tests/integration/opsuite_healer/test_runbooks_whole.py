"""A whole healer executes a runbook that restarts a real process, is killed in the middle, and restarts it once."""

from __future__ import annotations

import asyncio
import signal
import time
from typing import Any

from deployer import STOP_SECONDS
from healer import HealerProcess
from scaler import a_place

from opsuite.healer.v1 import incident_service_pb2, runbook_pb2
from opsuite.healer.v1 import runbook_service_pb2 as pb
from opsuite.healer.v1.incident_service_pb2_grpc import IncidentServiceStub
from opsuite.healer.v1.runbook_service_pb2_grpc import RunbookServiceStub
from opsuite.healer.v1.target_pb2 import TargetRef
from opsuite_kernel.errors import TimedOut, Unavailable
from opsuite_platforms.port import WorkloadSpec
from opsuite_platforms.process import ProcessPlatform

PATIENCE_SECONDS = 120.0
"""Only what will never come takes so long."""
RUNBOOK = """
name: runbooks/restart
issues: [HUNG]
steps:
  - name: restart
    action: {kind: RESTART_SERVICE}
  - name: people
    action: {kind: NOTIFY, params: {receivers: nobody}}
    on_failure: ON_FAILURE_ESCALATE
"""


async def test_a_restart_in_the_middle_of_which_the_healer_dies_happens_once_and_a_person_is_told() -> None:
    with a_place() as place:
        healer = HealerProcess(place / "healer", place / "suite")
        platform = ProcessPlatform(place / "suite")
        try:
            async with asyncio.timeout(PATIENCE_SECONDS):
                before = await _running(platform)
                await asyncio.to_thread(healer.start, OPSUITE_FAULT="healer.replica_restarted:1")
                name, incident = await _begin(healer)
                assert healer.process is not None
                assert await asyncio.to_thread(healer.process.wait, STOP_SECONDS) == -signal.SIGKILL
                after = await _started(platform)
                await asyncio.to_thread(healer.start)
                ended, timeline = await _ended(healer, name, incident)
                at_last = await _started(platform)
        finally:
            healer.close()
            platform.close()

    assert before != after
    assert at_last == after
    assert [(one.step, one.status) for one in ended.steps] == [
        ("restart", runbook_pb2.STEP_STATUS_SUCCEEDED),
        ("people", runbook_pb2.STEP_STATUS_FAILED),
    ]
    assert any("there is no receiver nobody" in text for text in timeline)


async def _running(platform: ProcessPlatform) -> Any:
    await platform.start()
    await platform.apply(WorkloadSpec("web", "1", ("/bin/sleep", "1000"), "/"), epoch=1)
    while not (await platform.observe("web")).is_ready:  # noqa: ASYNC110 - a platform is asked, it does not tell
        await asyncio.sleep(0.02)
    started = await _started(platform)
    while time.time() - started[0].timestamp() < 1:  # noqa: ASYNC110 - supervisord tells starts by whole seconds
        await asyncio.sleep(0.02)
    return started


async def _started(platform: ProcessPlatform) -> list[Any]:
    """When each replica was started, once all run."""
    while not (status := await platform.observe("web")).is_ready:  # noqa: ASYNC110 - as above
        await asyncio.sleep(0.02)
    return [replica.started_at for replica in status.replicas]


async def _begin(healer: HealerProcess) -> tuple[str, str]:
    """Names of the execution and of its incident."""
    async with healer.channel() as channel:
        runbooks, incidents = RunbookServiceStub(channel), IncidentServiceStub(channel)
        await runbooks.CreateRunbook(pb.CreateRunbookRequest(yaml=RUNBOOK))
        target = TargetRef(platform="process", workload="web")
        trouble = incident_service_pb2.TriggerIncidentRequest(issue="HUNG", summary="it hangs", target=target)
        incident: str = (await incidents.TriggerIncident(trouble)).incident.name
        request = pb.ExecuteRunbookRequest(name="runbooks/restart", incident=incident)
        begun: str = (await runbooks.ExecuteRunbook(request)).execution.name
    return begun, incident


async def _ended(healer: HealerProcess, name: str, incident: str) -> tuple[runbook_pb2.Execution, list[str]]:
    """The execution once it is over, and the texts of the incident's timeline."""
    async with healer.channel() as channel:
        while True:
            try:
                found = await RunbookServiceStub(channel).GetExecution(pb.GetExecutionRequest(name=name))
            except (Unavailable, TimedOut):
                continue
            if found.execution.HasField("end_time"):
                break
            await asyncio.sleep(0.05)
        request = incident_service_pb2.GetTimelineRequest(name=incident, page_size=1000)
        timeline = await IncidentServiceStub(channel).GetTimeline(request)
    return found.execution, [entry.text for entry in timeline.entries]
