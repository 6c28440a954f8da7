"""A release that is sick a little later is taken back, and one trace holds it all, from the check to the last step."""

from __future__ import annotations

import asyncio
import time

from deployer import a_deployer, a_pipeline, deploy, ended, register
from fakes.healer_failures import AGAIN_SECONDS, PATIENCE_SECONDS, PROOF, a_ward, answer_of, check_form, told
from fakes.healer_remediation_stage import step
from fakes.web_workload import SERVER, a_rollout
from healer import HealerProcess
from otlp_receiver import Received, Receiver, receiving

from opsuite_platforms.process import ProcessPlatform

GOOD, SICK = "1.0", "1.1"
WAY = (
    ("opsuite-healer", "healer.trouble_found"),
    ("opsuite-healer", "remediation"),
    ("opsuite-healer", "remediation.action"),
    ("opsuite-deployer", "opsuite.deployer.v1.DeploymentService/Rollback"),
    ("opsuite-deployer", f"rollback {GOOD}"),
    ("opsuite-deployer", "stage work"),
    ("opsuite-deployer", "step roll"),
)
"""Who does what because of what, each the child of the one before."""


async def test_a_sick_release_is_rolled_back_and_one_trace_tells_of_all_of_it() -> None:
    async with receiving() as receiver:
        with a_deployer(DEPLOYER_OTLP_ENDPOINT=receiver.endpoint) as deployer:
            deployer.work.mkdir(parents=True, exist_ok=True)
            program = deployer.work / "serve"
            program.write_text(SERVER)
            program.chmod(0o755)
            platform = ProcessPlatform(deployer.data_dir)

            async def answers() -> list[str]:
                found = [await platform.observe(name) for name in await platform.list_workloads(part_of="shop")]
                ports = [replica.ports["http"] for one in found for replica in one.replicas]
                return [await answer_of(port) for port in ports]

            async def is_good() -> bool:
                return await answers() == [GOOD]

            healer = HealerProcess(
                deployer.data_dir.parent / "healer",
                deployer.data_dir,
                {
                    "HEALER_OTLP_ENDPOINT": receiver.endpoint,
                    "HEALER_DEPLOYER_ADDRESS": deployer.address,
                    "HEALER_DEPLOYER_TOKEN_FILE": str(deployer.data_dir / "token"),
                },
            )
            async with deployer.client() as client, a_ward(healer) as ward:
                await register(client, a_pipeline("shop", a_rollout("shop", replicas=1, rolling={})))
                await ended(client, (await deploy(client, "shop", GOOD)).name)
                assert await is_good()
                http = {"url": "http://127.0.0.1:${port}/"}
                await ward.watch(
                    check_form("shop", {"platform": "process", "workload": "shop"}, http=http),
                    step("ROLL_BACK_DEPLOYMENT", verification=PROOF, timeout="60s"),
                    match={"issues": ["UNHEALTHY"]},
                    approval={"never": True},
                )
                sick = a_rollout("shop", replicas=1, rolling={}, answer="500", health_path="/alive")
                await register(client, a_pipeline("shop", sick))
                began = time.time()
                await ended(client, (await deploy(client, "shop", SICK)).name)
                mended = await ward.mended("a sick release", began, is_good)
                incident = await ward.client.incident(mended.incident)
                spans = await _way(receiver, incident.trace_id)
            platform.close()

    assert told(mended) == [("ROLL_BACK_DEPLOYMENT", "PROVED")]
    assert spans[0].parent == ""
    assert spans[1].links == [spans[0].id]


async def _way(receiver: Receiver, trace_id: str) -> list[Received]:
    """The spans of the way once all have arrived; a branch that ends elsewhere is none."""
    async with asyncio.timeout(PATIENCE_SECONDS):
        while True:
            found = receiver.of_trace(trace_id)
            way: list[Received] = []
            for named in WAY:
                parent = way[-1].id if way else ""
                way += [one for one in found if (one.service, one.span.name, one.parent) == (*named, parent)][:1]
            if len(way) == len(WAY):
                return way
            await asyncio.sleep(AGAIN_SECONDS)
