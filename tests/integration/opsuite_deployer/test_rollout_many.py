"""Many rollouts at once, by one deployer: each ends, and nothing is left of the version before."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
from deployer import Client, DeployerProcess, a_deployer, a_pipeline, deploy, ended, register
from fakes.web_workload import status_of

IDLER = "#!/bin/sh\nexec sleep 100000\n"


@pytest.fixture
def deployer() -> Iterator[DeployerProcess]:
    """A deployer whose work directory holds a program that does nothing, so that many of them are cheap."""
    with a_deployer(DEPLOYER_MAX_CONCURRENT_DEPLOYMENTS="200", DEPLOYER_LOG_LEVEL="WARNING") as deployer:
        deployer.work.mkdir(parents=True, exist_ok=True)
        program = deployer.work / "idle"
        program.write_text(IDLER)
        program.chmod(0o755)
        yield deployer


async def all_end(client: Client, version: str, rollouts: int) -> Counter[str]:
    """Deploy a version of every pipeline; how often each end came."""
    started = await asyncio.gather(*(deploy(client, f"one-{number}", version) for number in range(rollouts)))
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


@pytest.mark.timeout(600)
@pytest.mark.parametrize("rollouts", [20, pytest.param(200, marks=pytest.mark.long)])
async def test_rollouts_at_once_all_end(deployer: DeployerProcess, rollouts: int) -> None:
    async with deployer.client() as client:
        for number in range(rollouts):
            workload = {"workload": f"w-{number}", "command": ["./idle"], "replicas": 1}
            rollout = {"workload": workload, "rolling": {}, "minHealthyTime": "0.1s", "progressDeadline": "500s"}
            step = {"name": "roll", "rollout": {**rollout, "healthyDeadline": "400s"}}
            await register(client, a_pipeline(f"one-{number}", step))

        assert await all_end(client, "1.0", rollouts) == {"SUCCEEDED": rollouts}
        assert await all_end(client, "1.1", rollouts) == {"SUCCEEDED": rollouts}

    assert idlers(deployer.work) == rollouts
