"""Short forms of calls to a real deployer, and of what its answers say."""

from __future__ import annotations

from typing import Any

from deployer import Client, deploy, ended, register
from fakes.pipelines import Form, a_pipeline

from opsuite.deployer.v1 import deployment_pb2
from opsuite.deployer.v1 import deployment_service_pb2 as d


async def run(client: Client, name: str, *stages: Form, **fields: Any) -> deployment_pb2.Deployment:
    """A deployment of these stages, once it has ended."""
    await register(client, a_pipeline(name, *stages, **fields))
    return await ended(client, (await deploy(client, name)).name)


async def get(client: Client, name: str) -> deployment_pb2.Deployment:
    """The deployment as it stands."""
    return (await client.deployments.GetDeployment(d.GetDeploymentRequest(name=name))).deployment


async def plan(client: Client, pipeline: str, environment: str = "staging") -> d.PlanDeploymentResponse:
    """What a deployment of it would do."""
    wish = d.PlanDeploymentRequest(pipeline=f"pipelines/{pipeline}", version="1.0.0", environment=environment)
    return await client.deployments.PlanDeployment(wish)


async def cancel(client: Client, name: str) -> None:
    """Ask for it to be cancelled."""
    await client.deployments.CancelDeployment(d.CancelDeploymentRequest(name=name))


async def pause(client: Client, name: str) -> None:
    """Ask for a pause."""
    await client.deployments.PauseDeployment(d.PauseDeploymentRequest(name=name))


async def resume(client: Client, name: str) -> None:
    """Let it go on."""
    await client.deployments.ResumeDeployment(d.ResumeDeploymentRequest(name=name))


async def roll_back(client: Client, name: str, to: str = "") -> deployment_pb2.Deployment:
    """Ask for a rollback; the deployment that goes back, or the one under way."""
    return (await client.deployments.Rollback(d.RollbackRequest(name=name, to=to))).deployment


async def retry(client: Client, name: str) -> deployment_pb2.Deployment:
    """The deployment that tries again."""
    return (await client.deployments.RetryDeployment(d.RetryDeploymentRequest(name=name))).deployment


async def lines_of(client: Client, name: str) -> list[str]:
    """What its steps wrote."""
    return [line.text for line in (await client.deployments.ListLogs(d.ListLogsRequest(name=name))).lines]


async def until(client: Client, name: str, status: str) -> None:
    """Return once the deployment stands, or has stood, at that status."""
    wanted = deployment_pb2.DeploymentStatus.Value(f"DEPLOYMENT_STATUS_{status}")
    async for answer in client.deployments.WatchDeployment(d.WatchDeploymentRequest(name=name)):
        if wanted in {answer.snapshot.status, *(event.status for event in answer.events)}:
            return
    raise AssertionError(f"{name} ended without having been {status}")


async def step_is(client: Client, name: str, step: str, status: str) -> None:
    """Return once the step stands there."""
    async for _ in client.deployments.WatchDeployment(d.WatchDeploymentRequest(name=name)):
        if steps_of(await get(client, name))[step] == status:
            return
    raise AssertionError(f"{step} was never {status}")


def status_of(deployment: deployment_pb2.Deployment) -> str:
    """Its status in one word."""
    return deployment_pb2.DeploymentStatus.Name(deployment.status).removeprefix("DEPLOYMENT_STATUS_")


def steps_of(deployment: deployment_pb2.Deployment) -> dict[str, str]:
    """Where each step and gate stands, by name."""
    parts = [(part.name, part.status) for stage in deployment.stages for part in stage.steps]
    parts += [(part.name, part.status) for stage in deployment.stages for part in stage.gates]
    return {name: deployment_pb2.StepStatus.Name(at).removeprefix("STEP_STATUS_") for name, at in parts}
