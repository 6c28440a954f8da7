"""A deployer as the bench runs it: a process of its own that may run /bin/true, and the pipelines that are measured."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, AsyncIterator, Iterator
from contextlib import aclosing, asynccontextmanager, contextmanager

import psutil
from deployer import Client, DeployerProcess, a_command, a_deployer, a_pipeline, deploy, register

from opsuite.deployer.v1 import deployment_pb2, deployment_service_pb2

STEPS = 10
SUCCEEDED = deployment_pb2.DEPLOYMENT_STATUS_SUCCEEDED
ENDED = deployment_pb2.DEPLOYMENT_EVENT_KIND_ENDED


@contextmanager
def a_bench_deployer(**settings: str) -> Iterator[DeployerProcess]:
    """A deployer that serves, with nothing in its way."""
    own = {"DEPLOYER_COMMAND_NAMES": "true", "DEPLOYER_START_PLATFORM": "false", "DEPLOYER_POLL_EVERY": "2"}
    with a_deployer(**(own | settings)) as deployer:
        yield deployer


async def register_ten(client: Client, name: str, steps: int = STEPS) -> None:
    """Register a pipeline of ten /bin/true."""
    await register(client, a_pipeline(name, *(a_command(f"step-{n}", "true") for n in range(steps))))


@asynccontextmanager
async def watching(client: Client, name: str) -> AsyncIterator[AsyncIterator[deployment_pb2.DeploymentEvent]]:
    """The events of one deployment as they come in, the end being the last."""

    async def events() -> AsyncGenerator[deployment_pb2.DeploymentEvent, None]:
        call = client.deployments.WatchDeployment(deployment_service_pb2.WatchDeploymentRequest(name=name))
        async for answer in call:
            if answer.WhichOneof("marker") == "snapshot" and answer.snapshot.HasField("end_time"):
                assert answer.snapshot.status == SUCCEEDED, answer.snapshot
                return
            for event in answer.events:
                yield event

    async with aclosing(events()) as stream:
        yield stream


async def deploy_and_wait(client: Client, pipeline: str) -> float:
    """Milliseconds from asking until its last event is here."""
    began = time.perf_counter()
    name = (await deploy(client, pipeline)).name
    async with watching(client, name) as events:
        async for event in events:
            if event.kind == ENDED:
                assert event.status == SUCCEEDED, event
    return (time.perf_counter() - began) * 1000


def memory_mib(deployer: DeployerProcess) -> float:
    """Resident memory of the deployer alone, without its spawner."""
    return float(psutil.Process(deployer.pid).memory_info().rss) / 2**20


def memory_of_all_mib(deployer: DeployerProcess) -> float:
    """Memory of the deployer and every process below it, shared pages counted once."""
    process = psutil.Process(deployer.pid)
    return float(sum(each.memory_full_info().pss for each in (process, *process.children(recursive=True)))) / 2**20


async def settle(seconds: float = 0.3) -> None:
    """Let what a measurement left behind come to rest, so that the next one does not pay for it."""
    await asyncio.sleep(seconds)
