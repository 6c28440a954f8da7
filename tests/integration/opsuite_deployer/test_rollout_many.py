"""Many rollouts at once, by one deployer: each ends, and nothing is left of the version before."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

import pytest
from deployer import DeployerProcess, a_deployer
from fakes.web_workload import status_of
from idlers import Idlers


@pytest.fixture
def deployer() -> Iterator[DeployerProcess]:
    with a_deployer(DEPLOYER_MAX_CONCURRENT_DEPLOYMENTS="200", DEPLOYER_LOG_LEVEL="WARNING") as deployer:
        yield deployer


@pytest.mark.timeout(600)
@pytest.mark.parametrize("rollouts", [20, pytest.param(200, marks=pytest.mark.long)])
async def test_rollouts_at_once_all_end(deployer: DeployerProcess, rollouts: int) -> None:
    idlers = Idlers(deployer, rollouts)
    async with deployer.client() as client:
        await idlers.register(client)

        for version in ("1.0", "1.1"):
            done = await idlers.roll_out(client, version)
            assert Counter(map(status_of, done)) == {"SUCCEEDED": rollouts}

    assert idlers.running() == rollouts
