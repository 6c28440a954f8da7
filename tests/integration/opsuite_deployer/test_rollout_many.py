"""Two hundred rollouts at once, by one deployer."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
from deployer import Client, DeployerProcess, a_deployer, a_pipeline, deploy, ended, register
from fakes.web_workload import status_of

ROLLOUTS = 200
IDLER = "#!/bin/sh\nexec sleep 100000\n"


@pytest.fixture
def deployer() -> Iterator[DeployerProcess]:
    """A deployer whose work directory holds a program that does nothing, so that many of them are cheap."""
    with a_deployer(DEPLOYER_MAX_CONCURRENT_DEPLOYMENTS=str(ROLLOUTS), DEPLOYER_LOG_LEVEL="WARNING") as deployer:
        deployer.work.mkdir(parents=True, exist_ok=True)
        program = deployer.work / "idle"
        program.write_text(IDLER)
        program.chmod(0o755)
        yield deployer


async def all_end(client: Client, version: str) -> Counter[str]:
    """Deploy a version of every pipeline; how often each end came."""
    started = await asyncio.gather(*(deploy(client, f"one-{number}", version) for number in range(ROLLOUTS)))
    done = await asyncio.gather(*(ended(client, one.name) for one in started))
    return Counter(status_of(one) for one in done)


def idlers(work: Path) -> int:
    """Programs of the workloads that run."""
    found = 0
    for place in Path("/proc").glob("[0-9]*"):
        try:
            found += (place / "cmdline").read_bytes().startswith(b"sleep") and (place / "cwd").readlink() == work
        except OSError:
            continue
    return found


@pytest.mark.long
@pytest.mark.timeout(1200)
async def test_two_hundred_rollouts_at_once_all_end(deployer: DeployerProcess) -> None:
    async with deployer.client() as client:
        for number in range(ROLLOUTS):
            workload = {"workload": f"w-{number}", "command": ["./idle"], "replicas": 1}
            rollout = {"workload": workload, "rolling": {}, "minHealthyTime": "0.1s", "progressDeadline": "900s"}
            step = {"name": "roll", "rollout": {**rollout, "healthyDeadline": "600s"}}
            await register(client, a_pipeline(f"one-{number}", step))

        assert await all_end(client, "1.0") == {"SUCCEEDED": ROLLOUTS}
        assert await all_end(client, "1.1") == {"SUCCEEDED": ROLLOUTS}

    assert idlers(deployer.work) == ROLLOUTS
