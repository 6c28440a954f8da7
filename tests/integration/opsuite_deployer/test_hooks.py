"""Hooks by the real deployer: programs and webhooks before and after phases, crashes, rollbacks, and who holds what."""

import hmac
import json
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import pytest
from aiohttp import web
from deployer import Client, DeployerProcess, a_deployer, deploy, ended, register
from fakes.calls import cancel, get, lines_of, plan, resume, retry, status_of, until
from fakes.held_steps import HeldSteps
from fakes.pipelines import Form, a_pipeline, a_script, a_stage, false, true
from fakes.web_workload import SERVER, a_rollout, rollout_of

from opsuite.deployer.v1 import deployment_pb2
from opsuite.deployer.v1 import deployment_service_pb2 as d
from opsuite_kernel.errors import Conflict
from opsuite_notify.formats import signature

SECRET = "not to be told"
NOTE = """
import os, sys
with open("notes", "a") as file:
    print(*sys.argv[1:], os.environ["DEPLOYMENT_VERSION"], file=file)
"""


@pytest.fixture(scope="module")
def deployer() -> Iterator[DeployerProcess]:
    """A deployer that may read one secret, with a program that notes what it is told."""
    with a_deployer(DEPLOYER_SECRET_ENV="HOOK_KEY", HOOK_KEY=SECRET, DEPLOYER_LEASE="3") as process:
        _furnish(process)
        yield process


def _furnish(deployer: DeployerProcess) -> None:
    deployer.work.mkdir(parents=True, exist_ok=True)
    (deployer.work / "note.py").write_text(NOTE)
    (deployer.work / "serve").write_text(SERVER)
    (deployer.work / "serve").chmod(0o755)


def a_hook(name: str, /, *, before: str = "", after: str = "", **fields: Any) -> Form:
    """A hook that notes its name, or does what `fields` say."""
    moment = {"before": f"HOOK_PHASE_{before}"} if before else {"after": f"HOOK_PHASE_{after}"}
    does = {} if {"command", "webhook", "healthCheck"} & fields.keys() else _does(a_script(name, "note.py", name))
    return {"name": name, **moment, "timeout": "60s", **does, **fields}


def _does(step: Form) -> Form:
    return {"command": step["command"]}


def notes(deployer: DeployerProcess) -> list[str]:
    """What was noted, and forget it."""
    file = deployer.work / "notes"
    said = file.read_text().splitlines() if file.exists() else []
    file.unlink(missing_ok=True)
    return said


def hooks_of(deployment: deployment_pb2.Deployment) -> dict[str, str]:
    """Where each hook stands, by moment and name."""
    runs = [
        (f"{stage.name}/{step.name}", step.status)
        for stage in deployment.stages
        if stage.is_hooks
        for step in stage.steps
    ]
    return {name: deployment_pb2.StepStatus.Name(status).removeprefix("STEP_STATUS_") for name, status in runs}


@dataclass
class Receiver:
    """A webhook's other end: answers with `status` and keeps what it got."""

    url: str = ""
    status: int = 200
    calls: list[tuple[dict[str, str], bytes]] = field(default_factory=list)

    async def take(self, request: web.Request) -> web.Response:
        self.calls.append((dict(request.headers), await request.read()))
        return web.Response(status=self.status)


@asynccontextmanager
async def a_receiver() -> AsyncIterator[Receiver]:
    receiver = Receiver()
    app = web.Application()
    app.router.add_post("/hook", receiver.take)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    receiver.url = f"http://127.0.0.1:{runner.addresses[0][1]}/hook"
    try:
        yield receiver
    finally:
        await runner.cleanup()


# ---- when -----------------------------------------------------------------------------------------------------------


async def test_hooks_run_around_a_deployment_and_its_rollback(deployer: DeployerProcess) -> None:
    hooks = [
        a_hook("announce", before="DEPLOYMENT"),
        a_hook("thanks", after="DEPLOYMENT"),
        a_hook("warm", before="STAGE", stage="work"),
        a_hook("cool", after="STAGE", onRollback="ON_ROLLBACK_SKIP"),
        a_hook("alarm", before="ROLLBACK"),
        a_hook("calm", after="ROLLBACK"),
        a_hook("collect", after="FAILURE"),
    ]
    async with deployer.client() as client:
        await register(client, a_pipeline("around", a_stage("work", true()), hooks=hooks))
        good = await ended(client, (await deploy(client, "around", "1")).name)
        assert (status_of(good), notes(deployer)) == ("SUCCEEDED", ["announce 1", "warm 1", "cool 1", "thanks 1"])
        assert hooks_of(good) == {
            "before:DEPLOYMENT/announce": "SUCCEEDED",
            "before:work/warm": "SUCCEEDED",
            "after:work/cool": "SUCCEEDED",
            "after:DEPLOYMENT/thanks": "SUCCEEDED",
            "after:FAILURE/collect": "PENDING",
        }

        await register(client, a_pipeline("around", a_stage("work", false()), hooks=hooks))
        bad = await ended(client, (await deploy(client, "around", "2")).name)
        back = await get(client, bad.rolled_back_by)

    assert (status_of(bad), status_of(back)) == ("ROLLED_BACK", "SUCCEEDED")
    assert notes(deployer) == ["announce 2", "warm 2", "collect 2", "alarm 1", "warm 1", "calm 1"]
    assert hooks_of(back) == {
        "before:ROLLBACK/alarm": "SUCCEEDED",
        "before:work/warm": "SUCCEEDED",
        "after:work/cool": "SKIPPED",
        "after:ROLLBACK/calm": "SUCCEEDED",
        "after:FAILURE/collect": "PENDING",
    }


async def test_no_hook_of_a_rollback_keeps_it_from_ending_well(deployer: DeployerProcess) -> None:
    missing: Form = {"command": {"command": "gradle"}}
    hooks = [a_hook("alarm", before="ROLLBACK", **missing), a_hook("calm", after="ROLLBACK", **_does(false()))]
    async with deployer.client() as client:
        await register(client, a_pipeline("unmoved", a_stage("work", true()), hooks=hooks))
        await ended(client, (await deploy(client, "unmoved", "1")).name)
        await register(client, a_pipeline("unmoved", a_stage("work", false()), hooks=hooks))
        bad = await ended(client, (await deploy(client, "unmoved", "2")).name)
        back = await get(client, bad.rolled_back_by)

    assert (status_of(bad), status_of(back)) == ("ROLLED_BACK", "SUCCEEDED")
    assert len(back.warnings) == 2
    assert "hook alarm (before:ROLLBACK) failed" in back.warnings[0]
    assert "hook calm (after:ROLLBACK) failed" in back.warnings[1]


async def test_the_environment_is_held_until_the_last_hook_has_ended(deployer: DeployerProcess) -> None:
    held = HeldSteps(deployer.work)
    hooks = [a_hook("slow", after="DEPLOYMENT", **_does(held.step("slow")))]
    async with deployer.client() as client:
        await register(client, a_pipeline("held", hooks=hooks))
        first, second = [(await deploy(client, "held", version)).name for version in ("1", "2")]
        await held.started("slow")

        assert (status_of(await get(client, first)), status_of(await get(client, second))) == ("RUNNING", "QUEUED")
        held.end("slow")
        assert [status_of(await ended(client, name)) for name in (first, second)] == ["SUCCEEDED"] * 2


async def test_a_cancelled_deployment_has_its_hooks_after_a_failure(deployer: DeployerProcess) -> None:
    held = HeldSteps(deployer.work)
    hooks = [a_hook("tidy", after="FAILURE")]
    async with deployer.client() as client:
        await register(client, a_pipeline("cancelled", a_stage("work", held.step("endless")), hooks=hooks))
        name = (await deploy(client, "cancelled", "1")).name
        await held.started("endless")
        await cancel(client, name)
        done = await ended(client, name)

    assert (status_of(done), notes(deployer)) == ("CANCELLED", ["tidy 1"])


# ---- what a failure means -------------------------------------------------------------------------------------------


async def test_a_hook_that_fails_keeps_the_deployment_from_beginning(deployer: DeployerProcess) -> None:
    hooks = [a_hook("check", before="DEPLOYMENT", **_does(false())), a_hook("collect", after="FAILURE")]
    async with deployer.client() as client:
        await register(
            client, a_pipeline("stopped", a_stage("work", a_script("never", "note.py", "never")), hooks=hooks)
        )
        done = await ended(client, (await deploy(client, "stopped", "1")).name)
        lines = await lines_of(client, done.name)
        request = d.ListLogsRequest(name=done.name, stage="before:DEPLOYMENT", step="check")
        of_hook = [line.text for line in (await client.deployments.ListLogs(request)).lines]

    failure = done.failure
    assert status_of(done) == "FAILED"
    assert (failure.reason, failure.stage, failure.step) == ("HOOK_FAILED", "before:DEPLOYMENT", "check")
    assert list(failure.last_log_lines) == of_hook == lines != []
    assert notes(deployer) == ["collect 1"]


async def test_a_hook_that_takes_too_long_is_stopped(deployer: DeployerProcess) -> None:
    held = HeldSteps(deployer.work)
    hooks = [
        a_hook("stuck", before="STAGE", timeout="0.2s", onFailure="HOOK_FAILURE_CONTINUE", **_does(held.step("stuck")))
    ]
    async with deployer.client() as client:
        await register(client, a_pipeline("stuck", hooks=hooks))
        done = await ended(client, (await deploy(client, "stuck", "1")).name)

    assert (status_of(done), hooks_of(done)) == ("SUCCEEDED", {"before:work/stuck": "FAILED_CONTINUED"})
    assert "hook stuck (before:work) failed" in done.warnings[0]


async def test_a_hook_may_ask_a_person_who_lets_it_run_again_or_goes_on_without(deployer: DeployerProcess) -> None:
    check = a_script("ask", "ask.py")
    (deployer.work / "ask.py").write_text("import os, sys; sys.exit(not os.path.exists('allowed'))")
    hooks = [a_hook("ask", before="DEPLOYMENT", onFailure="HOOK_FAILURE_PAUSE", **_does(check))]
    async with deployer.client() as client:
        await register(client, a_pipeline("asking", hooks=hooks))
        name = (await deploy(client, "asking", "1")).name
        await until(client, name, "PAUSED")
        waiting = await get(client, name)
        await resume(client, name)
        again = await _asked_again(client, name, attempt=2)
        skip = d.SkipStepRequest(name=name, stage="before:DEPLOYMENT", step="ask")
        await client.deployments.SkipStep(skip)
        skipped = await ended(client, name)
        with pytest.raises(Conflict):
            await client.deployments.SkipStep(skip)
        (deployer.work / "allowed").touch()
        allowed = await ended(client, (await deploy(client, "asking", "2")).name)

    assert waiting.pause_reason == again.pause_reason == deployment_pb2.PAUSE_REASON_HOOK
    assert "hook ask (before:DEPLOYMENT) failed" in waiting.message
    assert (status_of(skipped), hooks_of(skipped)) == ("SUCCEEDED", {"before:DEPLOYMENT/ask": "SKIPPED"})
    assert (status_of(allowed), hooks_of(allowed)) == ("SUCCEEDED", {"before:DEPLOYMENT/ask": "SUCCEEDED"})


async def _asked_again(client: Client, name: str, *, attempt: int) -> deployment_pb2.Deployment:
    async for _ in client.deployments.WatchDeployment(d.WatchDeploymentRequest(name=name)):
        found = await get(client, name)
        if status_of(found) == "PAUSED" and found.stages[0].steps[0].attempt == attempt:
            return found
    raise AssertionError("it ended")


async def test_what_is_tried_again_has_its_hooks_again(deployer: DeployerProcess) -> None:
    hooks = [a_hook("announce", before="DEPLOYMENT"), a_hook("warm", before="STAGE")]
    stages = a_stage("good", true()), a_stage("bad", false())
    async with deployer.client() as client:
        await register(client, a_pipeline("again", *stages, hooks=hooks))
        failed = await ended(client, (await deploy(client, "again", "1")).name)
        notes(deployer)
        await ended(client, (await retry(client, failed.name)).name)

    assert notes(deployer) == ["announce 1", "warm 1"]


# ---- webhooks and checks --------------------------------------------------------------------------------------------


async def test_a_webhook_is_told_of_the_deployment_and_can_check_who_asks(deployer: DeployerProcess) -> None:
    call = {"secret": {"env": "HOOK_KEY"}, "metadata": {"team": "shop", "what": "${version}"}}
    async with a_receiver() as receiver, deployer.client() as client:
        hooks = [a_hook("gate", before="DEPLOYMENT", webhook={"url": receiver.url, **call})]
        await register(client, a_pipeline("called", hooks=hooks))
        done = await ended(client, (await deploy(client, "called", "1.2")).name)
        ((headers, body),) = receiver.calls

    told = json.loads(body)
    assert status_of(done) == "SUCCEEDED"
    assert (told["name"], told["phase"], told["version"]) == ("gate", "before:DEPLOYMENT", "1.2")
    assert (told["deployment"], told["metadata"]) == (done.name, {"team": "shop", "what": "1.2"})
    assert headers["Content-Type"] == "application/json"
    assert hmac.compare_digest(
        headers["X-Opsuite-Signature"], signature(SECRET, int(headers["X-Opsuite-Timestamp"]), body)
    )


async def test_a_webhook_that_says_no_is_asked_again_and_then_stops_it(deployer: DeployerProcess) -> None:
    again = {"attempts": 3, "backoff": "0.01s"}
    async with a_receiver() as receiver, deployer.client() as client:
        receiver.status = 403
        hooks = [a_hook("gate", before="STAGE", retry=again, webhook={"url": receiver.url})]
        hooks += [a_hook("tell", after="FAILURE", webhook={"url": receiver.url})]
        await register(client, a_pipeline("refused", hooks=hooks))
        done = await ended(client, (await deploy(client, "refused", "1")).name)
        told = [json.loads(body) for _, body in receiver.calls]
        deliveries = {headers["X-Opsuite-Delivery"] for headers, _ in receiver.calls}

    assert (status_of(done), done.failure.message) == ("FAILED", "the webhook: HTTP 403")
    assert [(one["name"], one["attempt"]) for one in told] == [("gate", 1), ("gate", 2), ("gate", 3), ("tell", 1)]
    assert (told[-1]["status"], told[-1]["failure"]) == ("FAILED", "the webhook: HTTP 403")
    assert len(deliveries) == 4


async def test_preflight_and_plan_know_the_hooks(deployer: DeployerProcess) -> None:
    hooks = [
        a_hook("tool", before="STAGE", command={"command": "gradle"}),
        a_hook("call", after="ROLLBACK", webhook={"url": "http://127.0.0.1:9/", "secret": {"env": "NO_SUCH_KEY"}}),
        a_hook("tell", after="FAILURE", webhook={"url": "http://127.0.0.1:9/", "secret": {"env": "NO_SUCH_KEY"}}),
    ]
    async with deployer.client() as client:
        await register(client, a_pipeline("planned", a_stage("a", true()), a_stage("b", true()), hooks=hooks))
        found = await plan(client, "planned")
        done = await ended(client, (await deploy(client, "planned", "1")).name)

    steps = [(one.stage, one.step, one.kind, one.action) for one in found.steps]
    assert steps[0] == ("before:a", "tool", "command", "gradle")
    assert [one[0] for one in steps] == ["before:a", "a", "before:b", "b", "after:FAILURE"]
    assert steps[-1] == ("after:FAILURE", "tell", "webhook", "POST to http://127.0.0.1:9/")
    problems = {check.field for check in found.checks if not check.passed}
    assert problems == {"hooks[0]", "hooks[2].webhook.secret"}
    assert status_of(done) == "FAILED"
    assert hooks_of(done) == {"before:a/tool": "PENDING", "before:b/tool": "PENDING", "after:FAILURE/tell": "PENDING"}


# ---- rollouts -------------------------------------------------------------------------------------------------------


HALF: Form = {"steps": [{"setWeight": 50}], "scaleDownDelay": "0s", "abortScaleDownDelay": "0.1s"}


async def test_hooks_around_a_promotion_decide_about_it(deployer: DeployerProcess) -> None:
    (deployer.work / "smoke.py").write_text("import os, sys; sys.exit(os.environ['DEPLOYMENT_VERSION'] == '1.2')")
    hooks = [
        a_hook("smoke", before="PROMOTION", **_does(a_script("smoke", "smoke.py"))),
        a_hook("tell", after="PROMOTION", stage="web"),
    ]
    stage = a_stage("web", a_rollout("hooked", canary=HALF))
    async with deployer.client() as client:
        await register(client, a_pipeline("promoted", stage, hooks=hooks))
        for version in ("1.0", "1.1"):
            good = await ended(client, (await deploy(client, "promoted", version)).name)
            assert (status_of(good), notes(deployer)) == ("SUCCEEDED", [f"tell {version}"])
        bad = await ended(client, (await deploy(client, "promoted", "1.2")).name)
        back = await get(client, bad.rolled_back_by)

    assert hooks_of(good) == {
        "before:PROMOTION:web:roll/smoke": "SUCCEEDED",
        "after:PROMOTION:web:roll/tell": "SUCCEEDED",
    }
    assert (status_of(bad), status_of(back), notes(deployer)) == ("ROLLED_BACK", "SUCCEEDED", [])
    assert (bad.failure.stage, bad.failure.step) == ("web", "roll")
    assert "hook smoke (before:PROMOTION:web:roll) failed: exited with status 1" in bad.failure.message
    assert hooks_of(bad)["before:PROMOTION:web:roll/smoke"] == "FAILED"
    assert hooks_of(back) == {}
    assert [track.version for track in rollout_of(back).tracks if track.available_replicas] == ["1.1"]


async def test_kill_9_while_a_rollout_waits_for_a_hook() -> None:
    with a_deployer() as process:
        _furnish(process)
        held = HeldSteps(process.work)
        hook = a_hook("ask", before="PROMOTION", idempotent=True, **_does(held.step("ask")))
        stage = a_stage("web", a_rollout("asked", canary=HALF))
        async with process.client() as client:
            await register(client, a_pipeline("asked", stage, hooks=[hook]))
            name = (await deploy(client, "asked", "1.0")).name
            await held.started("ask")
        process.kill()
        process.start()
        async with process.client() as client:
            await held.started("ask", times=2)
            assert status_of(await get(client, name)) == "RUNNING"
            held.end("ask")
            done = await ended(client, name)

    assert (status_of(done), hooks_of(done)) == ("SUCCEEDED", {"before:PROMOTION:web:roll/ask": "SUCCEEDED"})


# ---- crashes --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("moment", "fields", "ends"),
    [
        ({"before": "DEPLOYMENT"}, {"idempotent": True}, "SUCCEEDED"),
        ({"after": "DEPLOYMENT"}, {"idempotent": True}, "SUCCEEDED"),
        ({"after": "FAILURE"}, {"idempotent": True}, "FAILED"),
        ({"after": "FAILURE"}, {}, "FAILED"),
    ],
)
async def test_kill_9_during_a_hook(moment: dict[str, str], fields: Form, ends: str) -> None:
    name = "-".join([*moment, *(word.lower() for word in moment.values()), *fields])
    with a_deployer() as process:
        held = HeldSteps(process.work)
        hook = a_hook("slow", **moment, **fields, **_does(held.step("slow")))
        work = a_stage("work", true() if ends == "SUCCEEDED" else false())
        async with process.client() as client:
            await register(client, a_pipeline(name, work, hooks=[hook]))
            deployment = (await deploy(client, name, "1")).name
            await held.started("slow")
        process.kill()
        process.start()
        async with process.client() as client:
            if fields:
                await held.started("slow", times=2)
            held.end("slow")
            done = await ended(client, deployment)

    attempts = [step.attempt for stage in done.stages for step in stage.steps if step.name == "slow"]
    assert (status_of(done), attempts) == (ends, [2 if fields else 1])
    assert any("was interrupted" in warning for warning in done.warnings) == (not fields)


async def test_an_interrupted_hook_waits_for_a_person() -> None:
    with a_deployer() as process:
        held = HeldSteps(process.work)
        async with process.client() as client:
            await register(
                client, a_pipeline("once", hooks=[a_hook("once", before="STAGE", **_does(held.step("once")))])
            )
            name = (await deploy(client, "once", "1")).name
            await held.started("once")
        process.kill()
        process.start()
        async with process.client() as client:
            await until(client, name, "PAUSED")
            waiting = await get(client, name)
            await client.deployments.RetryStep(d.RetryStepRequest(name=name, stage="before:work", step="once"))
            held.end("once")
            done = await ended(client, name)

    assert waiting.message == "hook once (before:work) was interrupted"
    assert (status_of(done), done.stages[0].steps[0].attempt) == ("SUCCEEDED", 2)
