"""Deployments seen by their callers: steering, trying again, planning, preflight, lists and logs."""

import asyncio
from collections.abc import Callable
from datetime import UTC, datetime

import pytest
from deployer import Client, DeployerProcess, deploy, ended, register
from fakes.black_hole import black_hole
from fakes.calls import cancel, get, lines_of, pause, resume, retry, run, status_of, step_is, steps_of, until
from fakes.event_log import log_of
from fakes.held_steps import HeldSteps
from fakes.pipelines import a_docker, a_pipeline, a_script, a_stage, a_wait, false, true

from opsuite.deployer.v1 import deployment_pb2
from opsuite.deployer.v1 import deployment_service_pb2 as d
from opsuite.deployer.v1.history_service_pb2 import ListAuditEventsRequest, VerifyAuditRequest
from opsuite_kernel.errors import Conflict, OpsuiteError

REQUEST = "2f0c1a52-6c1e-4f0e-9d0b-0a1f6a5a7b11"
TALKS = """
import sys
for number in range(int(sys.argv[1])):
    print("line", number, file=sys.stderr if number % 2 else sys.stdout, flush=True)
"""


# ---- audit -----------------------------------------------------------------------------------------------------------


async def test_every_act_is_audited_once_and_names_what_it_was_done_to(
    start_deployer: Callable[..., DeployerProcess],
) -> None:
    deployer = start_deployer()
    held = HeldSteps(deployer.work)
    async with deployer.client() as client:
        await register(client, a_pipeline("audited", a_stage("work", held.step("endless"))))
        request = d.DeployRequest(pipeline="pipelines/audited", version="1", environment="staging", request_id=REQUEST)
        names = {(await client.deployments.Deploy(request)).deployment.name for _ in range(2)}
        (name,) = names
        await held.started("endless")
        for verb in (pause, resume, cancel):
            await verb(client, name)
        await ended(client, name)
        again = await retry(client, name)
        await cancel(client, again.name)
        with pytest.raises(OpsuiteError):
            await client.deployments.Rollback(d.RollbackRequest(name=name))

        rows = (await client.history.ListAuditEvents(ListAuditEventsRequest(page_size=100))).events
        told = [(row.action.rpartition("/")[2], row.resource, row.outcome) for row in reversed(rows)]
        assert told == [
            ("RegisterPipeline", "pipelines/audited", "OK"),
            ("Deploy", name, "OK"),
            ("Deploy", name, "OK"),  # the repeat is an act, too, though it found everything done
            ("PauseDeployment", name, "OK"),
            ("ResumeDeployment", name, "OK"),
            ("CancelDeployment", name, "OK"),
            ("RetryDeployment", name, "OK"),
            ("CancelDeployment", again.name, "OK"),
            ("Rollback", name, "FAILED_PRECONDITION"),
        ]
        assert (await client.history.VerifyAudit(VerifyAuditRequest())).intact


# ---- steering -------------------------------------------------------------------------------------------------------


async def test_a_pause_lets_the_running_step_end_and_starts_nothing_more(deployer: DeployerProcess) -> None:
    held = HeldSteps(deployer.work)
    async with deployer.client() as client:
        await register(client, a_pipeline("pausing", a_stage("work", held.step("first"), true("second"))))
        name = (await deploy(client, "pausing")).name
        await held.started("first")
        await pause(client, name)
        await until(client, name, "PAUSED")
        assert steps_of(await get(client, name)) == {"first": "RUNNING", "second": "PENDING"}
        held.end("first")
        await step_is(client, name, "first", "SUCCEEDED")
        paused = await get(client, name)
        assert (status_of(paused), steps_of(paused)["second"]) == ("PAUSED", "PENDING")
        assert paused.pause_reason == deployment_pb2.PAUSE_REASON_MANUAL
        await resume(client, name)
        done = await ended(client, name)
        assert (status_of(done), steps_of(done)["second"]) == ("SUCCEEDED", "SUCCEEDED")


async def test_a_deployment_can_be_cancelled_wherever_it_stands(start_deployer: Callable[..., DeployerProcess]) -> None:
    with black_hole() as address:
        deployer = start_deployer(DEPLOYER_DOCKER_URL=f"tcp://{address}")
        held = HeldSteps(deployer.work)
        async with deployer.client() as client:
            await register(client, a_pipeline("starting", a_stage("work", a_docker("box", "busybox"))))
            await register(client, a_pipeline("running", a_stage("work", held.step("endless"))))
            starting = (await deploy(client, "starting")).name
            running, queued = [(await deploy(client, "running")).name for _ in range(2)]
            await held.started("endless")
            assert status_of(await get(client, starting)) == "STARTING"
            for name in (queued, starting, running):
                await cancel(client, name)
                done = await ended(client, name)
                assert (status_of(done), done.reason, done.rolled_back_by) == ("CANCELLED", "CANCELLED", "")
            assert steps_of(await get(client, running)) == {"endless": "CANCELLED"}

            paused = (await deploy(client, "running")).name
            await held.started("endless", times=2)
            await pause(client, paused)
            await until(client, paused, "PAUSED")
            await cancel(client, paused)
            assert status_of(await ended(client, paused)) == "CANCELLED"
            for verb in (cancel, pause, resume):
                with pytest.raises(Conflict) as refused:
                    await verb(client, paused)
                assert refused.value.metadata["status"] == "CANCELLED"


async def test_an_etag_of_another_time_changes_nothing(deployer: DeployerProcess) -> None:
    async with deployer.client() as client:
        await register(client, a_pipeline("etags", a_stage("work", a_wait())))
        deployment = await deploy(client, "etags")
        await until(client, deployment.name, "RUNNING")
        with pytest.raises(OpsuiteError) as refused:
            await client.deployments.CancelDeployment(
                d.CancelDeploymentRequest(name=deployment.name, etag=deployment.etag)
            )
        assert refused.value.reason == "ETAG_MISMATCH"
        seen = await get(client, deployment.name)
        await client.deployments.CancelDeployment(d.CancelDeploymentRequest(name=deployment.name, etag=seen.etag))
        assert status_of(await ended(client, deployment.name)) == "CANCELLED"


async def test_a_retry_begins_with_the_stage_that_failed(deployer: DeployerProcess) -> None:
    held = HeldSteps(deployer.work)
    async with deployer.client() as client:
        stages = [a_stage("build"), a_stage("test", true("again"), held.step("test")), a_stage("ship", true("ship"))]
        await register(client, a_pipeline("retried", *stages, variables={"colour": "red"}))
        held.end("test", status=1)
        failed = await ended(client, (await deploy(client, "retried", "1")).name)
        await register(client, a_pipeline("retried", a_stage("other")))
        held.end("test", status=0)
        again = await ended(client, (await retry(client, failed.name)).name)
        assert (status_of(again), again.retry_of, again.version) == ("SUCCEEDED", failed.name, "1")
        assert again.pipeline_revision == failed.pipeline_revision
        assert steps_of(again) == {"fine": "SKIPPED", "again": "SUCCEEDED", "test": "SUCCEEDED", "ship": "SUCCEEDED"}
        with pytest.raises(Conflict):
            await retry(client, again.name)


# ---- before the first step ------------------------------------------------------------------------------------------


async def test_a_plan_tells_everything_at_once_and_changes_nothing(deployer: DeployerProcess) -> None:
    async with deployer.client() as client:
        secret = {"command": "git", "args": ["checkout", "${version}"], "secretEnv": {"A": {"env": "NOT_ALLOWED"}}}
        steps = [
            {"name": "secret", "command": secret},
            {"name": "nowhere", "command": {"command": "git", "workingDir": "/etc"}},
            {"name": "no-tool", "command": {"command": "bun", "args": ["run"]}},
        ]
        pipeline = await register(client, a_pipeline("planned", a_stage("work", *steps)))
        before = len(log_of(deployer.data_dir))
        request = d.PlanDeploymentRequest(pipeline=pipeline.name, version="7", environment="staging")
        plan = await client.deployments.PlanDeployment(request)
        assert not plan.ready
        wrong = {check.field for check in plan.checks if not check.passed}
        at = "stages[0].steps"
        assert {f'{at}[0].command.secret_env["A"]', f"{at}[1].command.working_dir", f"{at}[2]"} <= wrong
        assert [(step.stage, step.step, step.kind) for step in plan.steps] == [
            ("work", name, "command") for name in ("secret", "nowhere", "no-tool")
        ]
        assert "git checkout 7" in plan.steps[0].action
        assert (plan.pipeline_revision, plan.queue_position, plan.rollback_version) == (pipeline.revision, 0, "")
        assert len(log_of(deployer.data_dir)) == before

        done = await ended(client, (await deploy(client, "planned", "7")).name)
        assert (status_of(done), done.reason) == ("FAILED", "PREFLIGHT_FAILED")
        assert set(steps_of(done).values()) == {"PENDING"}
        assert not done.HasField("start_time")
        told = {check.message for check in plan.checks if not check.passed}
        assert all(message in done.message for message in told), "all failures are told at once"
        assert await lines_of(client, done.name) == []


async def test_a_plan_says_what_would_be_put_back_and_who_is_ahead(deployer: DeployerProcess) -> None:
    async with deployer.client() as client:
        await run(client, "next-one", a_stage())
        await register(client, a_pipeline("next-one", a_stage("work", a_wait())))
        await deploy(client, "next-one", "2")
        request = d.PlanDeploymentRequest(pipeline="pipelines/next-one", version="3", environment="staging")
        plan = await client.deployments.PlanDeployment(request)
        assert (plan.ready, plan.queue_position, plan.rollback_version) == (True, 1, "1.0.0")


async def test_nothing_stays_in_starting(start_deployer: Callable[..., DeployerProcess]) -> None:
    with black_hole() as address:
        deployer = start_deployer(DEPLOYER_DOCKER_URL=f"tcp://{address}", DEPLOYER_STARTING_TIMEOUT="0.3")
        async with deployer.client() as client:
            done = await run(client, "hanging", a_stage("work", a_docker("box", "busybox")))
            assert (status_of(done), done.reason) == ("FAILED", "PREFLIGHT_FAILED")
            assert "longer than 0.3 s" in done.message


# ---- lists and logs -------------------------------------------------------------------------------------------------


async def listed(client: Client, **fields: object) -> list[str]:
    """Versions of all pages."""
    return [one.version for one in await pages(client, **fields)]


async def pages(client: Client, **fields: object) -> list[deployment_pb2.Deployment]:
    found: list[deployment_pb2.Deployment] = []
    token = ""
    while True:
        request = d.ListDeploymentsRequest(page_size=3, page_token=token, **fields)  # type: ignore[arg-type]  # texts
        page = await client.deployments.ListDeployments(request)
        found += page.deployments
        token = page.next_page_token
        if not token:
            return found


async def test_lists_are_filtered_ordered_and_told_apart_by_place(deployer: DeployerProcess) -> None:
    parent = "pipelines/shown/environments/staging"
    async with deployer.client() as client:
        environments = ["staging", "production"]
        await register(client, a_pipeline("shown", environments=environments, rollbackEnabled=False))
        for version in ("1", "2", "3", "4"):
            await ended(client, (await deploy(client, "shown", version)).name)
        middle = datetime.now(UTC).isoformat()
        await ended(client, (await deploy(client, "shown", "5", "production")).name)
        await register(
            client, a_pipeline("shown", a_stage("w", false()), environments=environments, rollbackEnabled=False)
        )
        failed = await ended(client, (await deploy(client, "shown", "6")).name)
        again = await ended(client, (await retry(client, failed.name)).name)

        assert await listed(client, parent=parent) == ["6", "6", "4", "3", "2", "1"]
        assert await listed(client, parent=parent, order_by="create_time") == ["1", "2", "3", "4", "6", "6"]
        assert await listed(client, parent="pipelines/shown/environments/-") == ["6", "6", "5", "4", "3", "2", "1"]
        assert "5" in await listed(client, parent="pipelines/-/environments/production")
        for filter_, versions in {
            "status = FAILED": ["6", "6"],
            "status != FAILED": ["4", "3", "2", "1"],
            'stable = true AND version != "3"': ["4", "2", "1"],
            'version = "1" OR version = "2"': ["2", "1"],
            f'create_time < "{middle}"': ["4", "3", "2", "1"],
            f'end_time > "{middle}"': ["6", "6"],
            f'uid = "{again.uid}"': ["6"],
            'requested_by = "nobody"': [],
        }.items():
            assert await listed(client, parent=parent, filter=filter_) == versions, filter_
        assert not (await pages(client, parent=parent))[0].stages


async def test_pages_hold_each_exactly_once_while_new_ones_come(deployer: DeployerProcess) -> None:
    parent = "pipelines/growing/environments/staging"
    async with deployer.client() as client:
        await register(client, a_pipeline("growing", a_stage("work", a_wait())))
        before = [(await deploy(client, "growing", str(version))).name for version in range(20)]
        seen: list[str] = []
        token = ""
        for number in range(100):
            request = d.ListDeploymentsRequest(parent=parent, page_size=3, page_token=token)
            page = await client.deployments.ListDeployments(request)
            seen += [one.name for one in page.deployments]
            await asyncio.gather(*(deploy(client, "growing", f"new-{number}-{each}") for each in range(3)))
            token = page.next_page_token
            if not token:
                break
        assert seen == before[::-1]


async def test_logs_are_listed_and_followed_line_by_line(deployer: DeployerProcess) -> None:
    held = HeldSteps(deployer.work)
    (deployer.work / "talks.py").write_text(TALKS)
    async with deployer.client() as client:
        steps = [a_script("talk", "talks.py", "5"), held.step("listen"), a_script("again", "talks.py", "3")]
        await register(client, a_pipeline("talking", a_stage("work", *steps)))
        name = (await deploy(client, "talking")).name
        await held.started("listen")
        tail = asyncio.create_task(tailed(client, name))
        held.end("listen")
        await ended(client, name)
        lines = await tail

        assert [line.sequence for line in lines] == list(range(1, 10))
        assert {line.text for line in lines if line.step == "talk"} == {f"line {number}" for number in range(5)}
        streams = {line.text: deployment_pb2.LogStream.Name(line.stream)[11:] for line in lines if line.step == "again"}
        assert streams == {"line 0": "STDOUT", "line 1": "STDERR", "line 2": "STDOUT"}
        assert [(line.stage, line.attempt) for line in lines] == [("work", 1)] * 9

        assert await tailed(client, name, after_sequence=7) == lines[7:]
        assert await tailed(client, name, step="again") == [line for line in lines if line.step == "again"]
        assert await tailed(client, name, stage="other") == []
        page = await client.deployments.ListLogs(d.ListLogsRequest(name=name, page_size=4))
        rest = await client.deployments.ListLogs(
            d.ListLogsRequest(name=name, page_size=100, page_token=page.next_page_token)
        )
        assert [*page.lines, *rest.lines] == lines
        assert not rest.next_page_token


async def tailed(client: Client, name: str, **fields: object) -> list[deployment_pb2.LogLine]:
    request = d.TailLogsRequest(name=name, **fields)  # type: ignore[arg-type]  # fields of the request
    return [line async for answer in client.deployments.TailLogs(request) for line in answer.lines]


async def test_output_that_is_too_long_is_cut_where_it_can_be_seen(
    start_deployer: Callable[..., DeployerProcess],
) -> None:
    deployer = start_deployer(DEPLOYER_COMMAND_OUTPUT_BYTES="200")
    (deployer.work / "talks.py").write_text(TALKS)
    async with deployer.client() as client:
        done = await run(client, "flood", a_stage("work", a_script("flood", "talks.py", "1000")))
        assert status_of(done) == "SUCCEEDED"
        lines = (await client.deployments.ListLogs(d.ListLogsRequest(name=done.name))).lines
        assert len(lines) < 50
        marks = [line.text for line in lines if line.stream == deployment_pb2.LOG_STREAM_SYSTEM]
        assert len(marks) == 1


# ---- the other database ---------------------------------------------------------------------------------------------


@pytest.fixture
def on_postgresql(postgres_url: str, start_deployer: Callable[..., DeployerProcess]) -> DeployerProcess:
    """A deployer that keeps its state in PostgreSQL."""
    return start_deployer(DEPLOYER_DATABASE_URL=postgres_url)


async def test_postgresql_serves_the_same_story(on_postgresql: DeployerProcess) -> None:
    deployer = on_postgresql
    held = HeldSteps(deployer.work)
    async with deployer.client() as client:
        first = await run(client, "story", a_stage("work", true("one"), true("two"), parallel=True))
        assert status_of(first) == "SUCCEEDED"
        await register(client, a_pipeline("story", a_stage("work", held.step("slow"), false())))
        failing, queued = [await deploy(client, "story", version) for version in ("2", "3")]
        await held.started("slow")
        assert (await get(client, queued.name)).queue_position == 1
        await cancel(client, queued.name)
        held.end("slow")
        done = await ended(client, failing.name)
        back = await get(client, done.rolled_back_by)
        assert (status_of(done), status_of(back), back.version) == ("ROLLED_BACK", "SUCCEEDED", "1.0.0")
        parent = "pipelines/story/environments/staging"
        assert await listed(client, parent=parent, filter="status != CANCELLED") == ["1.0.0", "2", "1.0.0"]
        assert await lines_of(client, done.name)
        again = await retry(client, done.name)
        assert status_of(await ended(client, again.name)) == "ROLLED_BACK"
    deployer.restart()
    async with deployer.client() as client:
        assert len(await listed(client, parent=parent)) == 6
