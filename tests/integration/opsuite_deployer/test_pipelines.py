"""Pipelines and their revisions, and calls that are repeated."""

import uuid
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

import pytest
from deployer import Client, DeployerProcess, deploy, ended, register
from fakes.bad_pipelines import RULES
from fakes.held_steps import HeldSteps
from fakes.pipelines import a_pipeline, a_stage, a_wait, false, true
from google.protobuf.message import Message

from opsuite.deployer.v1 import (
    deployment_pb2,
    deployment_service_pb2,
    pipeline_pb2,
    pipeline_service_pb2,
)
from opsuite.deployer.v1 import deployment_service_pb2 as d
from opsuite.deployer.v1 import pipeline_service_pb2 as p
from opsuite_kernel.errors import Conflict, InvalidInput, NotFound, OpsuiteError, Stale

S = deployment_pb2.DeploymentStatus


async def read(client: Client, name: str, revision: int | None = None) -> pipeline_pb2.Pipeline:
    request = p.GetPipelineRequest(name=f"pipelines/{name}", revision=revision)
    return (await client.pipelines.GetPipeline(request)).pipeline


async def delete(client: Client, name: str, **fields: str) -> None:
    await client.pipelines.DeletePipeline(p.DeletePipelineRequest(name=f"pipelines/{name}", **fields))


async def listed(client: Client) -> list[str]:
    names: list[str] = []
    token = ""
    while True:
        page = await client.pipelines.ListPipelines(p.ListPipelinesRequest(page_size=2, page_token=token))
        names += [pipeline.name for pipeline in page.pipelines]
        token = page.next_page_token
        if not token:
            return names


async def test_each_registration_is_a_new_revision_and_the_old_ones_stay(deployer: DeployerProcess) -> None:
    async with deployer.client() as client:
        first = await register(client, a_pipeline("revised", description="one"))
        second = await register(client, a_pipeline("revised", description="two"))
        assert (first.revision, second.revision) == (1, 2)
        assert first.etag != second.etag
        assert await read(client, "revised") == second
        assert await read(client, "revised", 1) == first


async def test_registering_what_is_there_makes_no_revision(deployer: DeployerProcess) -> None:
    async with deployer.client() as client:
        first = await register(client, a_pipeline("equal", variables={"a": "1", "b": "2"}))
        again = await client.pipelines.RegisterPipeline(p.RegisterPipelineRequest(pipeline=first))
        assert not again.created
        assert again.pipeline == first


async def test_a_running_deployment_keeps_its_revision(deployer: DeployerProcess) -> None:
    held = HeldSteps(deployer.work)
    async with deployer.client() as client:
        await register(client, a_pipeline("kept", a_stage("work", held.step("kept"), true("second"))))
        running, queued = [await deploy(client, "kept", version) for version in ("1", "2")]
        await held.started("kept")
        await register(client, a_pipeline("kept", a_stage("other", true("only"))))
        later = await deploy(client, "kept", "3")
        held.end("kept")

        done = [await ended(client, one.name) for one in (running, queued, later)]
        assert [one.pipeline_revision for one in done] == [1, 1, 2]
        steps = [[step.name for stage in one.stages for step in stage.steps] for one in done]
        assert steps == [["kept", "second"], ["kept", "second"], ["only"]]
        assert {one.status for one in done} == {S.DEPLOYMENT_STATUS_SUCCEEDED}


async def test_a_pipeline_can_be_changed_only_by_who_has_seen_its_latest_revision(deployer: DeployerProcess) -> None:
    async with deployer.client() as client:
        first = await register(client, a_pipeline("guarded", description="one"))
        second = a_pipeline("guarded", description="two")
        await client.pipelines.RegisterPipeline(p.RegisterPipelineRequest(pipeline=second, etag=first.etag))
        with pytest.raises(Stale, match="has changed"):
            await client.pipelines.RegisterPipeline(p.RegisterPipelineRequest(pipeline=first, etag=first.etag))
        with pytest.raises(Stale):
            await delete(client, "guarded", etag=first.etag)
        assert (await read(client, "guarded")).description == "two"


async def test_a_pipeline_in_use_stays_and_an_idle_one_can_be_hidden_and_brought_back(
    deployer: DeployerProcess,
) -> None:
    held = HeldSteps(deployer.work)
    async with deployer.client() as client:
        await register(client, a_pipeline("used", a_stage("work", held.step("used"))))
        running = await deploy(client, "used")
        with pytest.raises(Conflict) as refused:
            await delete(client, "used")
        assert refused.value.metadata["deployment"] == running.name

        held.end("used")
        await ended(client, running.name)
        await delete(client, "used")
        with pytest.raises(NotFound):
            await read(client, "used")
        with pytest.raises(NotFound):
            await deploy(client, "used")
        assert "pipelines/used" not in await listed(client)
        request = d.GetDeploymentRequest(name=running.name)
        assert (await client.deployments.GetDeployment(request)).deployment.stages, "its history is gone"

        back = await register(client, a_pipeline("used", a_stage("work", held.step("used"))))
        assert back.revision == 2
        assert (await ended(client, (await deploy(client, "used")).name)).pipeline_revision == 2


async def test_pages_of_pipelines_hold_each_once_by_name(deployer: DeployerProcess) -> None:
    async with deployer.client() as client:
        names = [f"pipelines/page-{number}" for number in range(5)]
        for name in reversed(names):
            await register(client, a_pipeline(name.removeprefix("pipelines/")))
        everything = await listed(client)
        assert [name for name in everything if name in names] == names
        assert everything == sorted(set(everything))


@pytest.mark.parametrize(("pipeline", "fields"), [pytest.param(one, fields, id=why) for why, one, fields in RULES])
async def test_validating_tells_every_violation_at_once(
    deployer: DeployerProcess, pipeline: pipeline_pb2.Pipeline, fields: tuple[str, ...]
) -> None:
    async with deployer.client() as client:
        answer = await client.pipelines.ValidatePipeline(p.ValidatePipelineRequest(pipeline=pipeline))
        assert {violation.field for violation in answer.violations} == set(fields)
        assert all(violation.description and violation.reason for violation in answer.violations)


async def test_validating_what_can_be_registered_finds_nothing(deployer: DeployerProcess) -> None:
    async with deployer.client() as client:
        answer = await client.pipelines.ValidatePipeline(p.ValidatePipelineRequest(pipeline=a_pipeline("sound")))
        assert not answer.violations
        with pytest.raises(NotFound):
            await read(client, "sound")


# ---- calls that are repeated ----------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Scene:
    """What the mutating calls are made on."""

    client: Client
    running: str
    waiting: str
    failed: str
    second: str


Call = Callable[[Scene], tuple[Callable[[Message], Awaitable[Message]], Message, Message]]
"""The method, its request, and another request for the same id."""


def register_call(s: Scene) -> tuple[Callable[..., Awaitable[Message]], Message, Message]:
    requests = [p.RegisterPipelineRequest(pipeline=a_pipeline("repeated-new", description=text)) for text in "ab"]
    return s.client.pipelines.RegisterPipeline, requests[0], requests[1]


def delete_call(s: Scene) -> tuple[Callable[..., Awaitable[Message]], Message, Message]:
    requests = [p.DeletePipelineRequest(name=f"pipelines/repeated-{name}") for name in ("idle", "other")]
    return s.client.pipelines.DeletePipeline, requests[0], requests[1]


def deploy_call(s: Scene) -> tuple[Callable[..., Awaitable[Message]], Message, Message]:
    requests = [
        d.DeployRequest(pipeline="pipelines/repeated", environment="staging", version=version) for version in "78"
    ]
    return s.client.deployments.Deploy, requests[0], requests[1]


def on_a_deployment(method: str, kind: Callable[..., Message], which: str) -> Call:
    def call(s: Scene) -> tuple[Callable[..., Awaitable[Message]], Message, Message]:
        name = getattr(s, which)
        return getattr(s.client.deployments, method), kind(name=name), kind(name=name, reason="another")

    return call


CALLS = {
    "RegisterPipeline": register_call,
    "DeletePipeline": delete_call,
    "Deploy": deploy_call,
    "RetryDeployment": on_a_deployment("RetryDeployment", d.RetryDeploymentRequest, "failed"),
    "Rollback": on_a_deployment("Rollback", d.RollbackRequest, "second"),
    "PauseDeployment": on_a_deployment("PauseDeployment", d.PauseDeploymentRequest, "running"),
    "ResumeDeployment": on_a_deployment("ResumeDeployment", d.ResumeDeploymentRequest, "running"),
    "CancelDeployment": on_a_deployment("CancelDeployment", d.CancelDeploymentRequest, "waiting"),
}
ELSEWHERE = {"RetryStep", "SkipStep", "PromoteDeployment", "AbortDeployment"}
"""They need a step that a crash interrupted (below), or a rollout (test_rollouts.py)."""


async def make_scene(client: Client) -> Scene:
    for name in ("idle", "other"):
        await register(client, a_pipeline(f"repeated-{name}"))
    environments = ["staging", "production"]
    for version, stage in (("1", a_stage()), ("2", a_stage()), ("3", a_stage("work", false()))):
        await register(client, a_pipeline("repeated", stage, environments=environments, rollbackEnabled=False))
        done = await ended(client, (await deploy(client, "repeated", version, "production")).name)
        if version == "2":
            second = done.name
    await register(client, a_pipeline("repeated", a_stage("work", a_wait()), environments=environments))
    running, waiting = [(await deploy(client, "repeated", version)).name for version in ("4", "5")]
    await _until(client, running, S.DEPLOYMENT_STATUS_RUNNING)
    return Scene(client, running, waiting, done.name, second)


async def _until(client: Client, name: str, status: int) -> None:
    async for answer in client.deployments.WatchDeployment(d.WatchDeploymentRequest(name=name)):
        if status in [answer.snapshot.status, *(event.status for event in answer.events)]:
            return


async def test_a_repeated_request_returns_its_first_answer_and_another_one_is_refused(
    deployer: DeployerProcess,
) -> None:
    async with deployer.client() as client:
        scene = await make_scene(client)
        for name, call in CALLS.items():
            method, *requests = call(scene)
            request, other = _with_one_id(*requests)
            first = await method(request)
            if name == "PauseDeployment":
                await _until(client, scene.running, S.DEPLOYMENT_STATUS_PAUSED)
            again = await method(request)
            assert _identity(again) == _identity(first), name
            with pytest.raises(InvalidInput) as refused:
                await method(other)
            assert refused.value.reason == "REQUEST_ID_REUSED", name


def test_every_mutating_rpc_is_in_the_table() -> None:
    mutating = {
        method.name
        for file in (pipeline_service_pb2, deployment_service_pb2)
        for service in file.DESCRIPTOR.services_by_name.values()
        for method in service.methods
        if "request_id" in method.input_type.fields_by_name
    }
    assert mutating == CALLS.keys() | ELSEWHERE


async def test_a_decision_about_an_interrupted_step_can_be_repeated(
    start_deployer: Callable[..., DeployerProcess],
) -> None:
    deployer = start_deployer()
    held = HeldSteps(deployer.work)
    async with deployer.client() as client:
        steps = [held.step("left"), held.step("right")]
        await register(client, a_pipeline("interrupted", a_stage("work", *steps, parallel=True)))
        name = (await deploy(client, "interrupted")).name
        await held.started("left")
        await held.started("right")
    deployer.kill()
    deployer.start()
    async with deployer.client() as client:
        await _until(client, name, S.DEPLOYMENT_STATUS_PAUSED)
        fields = {"name": name, "stage": "work", "step": "left", "request_id": str(uuid.uuid4())}
        skip = d.SkipStepRequest(**fields)
        await client.deployments.SkipStep(skip)
        await client.deployments.SkipStep(skip)
        with pytest.raises(InvalidInput) as refused:
            await client.deployments.SkipStep(d.SkipStepRequest(**(fields | {"step": "right"})))
        assert refused.value.reason == "REQUEST_ID_REUSED"

        fields |= {"step": "right", "request_id": str(uuid.uuid4())}
        retry = d.RetryStepRequest(**fields)
        await client.deployments.RetryStep(retry)
        await client.deployments.RetryStep(retry)
        with pytest.raises(OpsuiteError) as refused_too:
            await client.deployments.RetryStep(d.RetryStepRequest(**(fields | {"step": "left"})))
        assert refused_too.value.reason == "REQUEST_ID_REUSED"
        held.end("right")
        done = await ended(client, name)
        assert done.status == S.DEPLOYMENT_STATUS_SUCCEEDED
        assert [(step.name, step.attempt) for step in done.stages[0].steps] == [("left", 1), ("right", 2)]


def _with_one_id(*requests: Any) -> tuple[Any, ...]:
    """The requests, all with one id."""
    request_id = str(uuid.uuid4())
    for request in requests:
        request.request_id = request_id
    return requests


def _identity(answer: Message) -> object:
    """What two answers to one request must share: a deployment goes on in between."""
    deployment = getattr(answer, "deployment", None)
    return answer if deployment is None else deployment.name
