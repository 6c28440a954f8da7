"""Stages, steps and gates as they really run."""

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field

import pytest
from deployer import DeployerProcess, deploy, ended, register
from fakes.calls import cancel, get, lines_of, pause, resume, run, status_of, step_is, steps_of, until
from fakes.event_log import log_of
from fakes.held_steps import HeldSteps
from fakes.pipelines import (
    a_command,
    a_gate,
    a_pipeline,
    a_script,
    a_stage,
    a_wait,
    an_http_check,
    false,
    true,
)

from opsuite.deployer.v1 import deployment_pb2
from opsuite.deployer.v1 import deployment_service_pb2 as d

S = deployment_pb2.DeploymentStatus
MEETING = """
import os, socket, sys
mine, other = sys.argv[1:]
listener = socket.socket(socket.AF_UNIX)
listener.bind(mine)
listener.listen()
while True:
    try:
        caller = socket.socket(socket.AF_UNIX)
        caller.connect(other)
        break
    except OSError:
        caller.close()
listener.accept()
print("met", other)
"""
FLAKY = """
import os, sys
path = "flaky." + os.environ["DEPLOYMENT_ID"]
with open(path, "a") as file:
    file.write("x")
sys.exit(0 if os.path.getsize(path) >= int(sys.argv[1]) else 3)
"""


@dataclass
class Answers:
    """A server whose health is what the test says."""

    url: str = ""
    statuses: list[str] = field(default_factory=lambda: ["200 OK"])
    """Answers to come; the last one stays."""
    asked: int = 0

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        self.asked += 1
        status = self.statuses.pop(0) if len(self.statuses) > 1 else self.statuses[0]
        writer.write(f"HTTP/1.1 {status}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n".encode())
        with contextlib.suppress(ConnectionError):
            await writer.drain()
        writer.close()


@pytest.fixture
async def answers() -> AsyncIterator[Answers]:
    """A server that is well until told otherwise."""
    made = Answers()
    server = await asyncio.start_server(made.serve, "127.0.0.1", 0)
    made.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/health"
    async with server:
        yield made


# ---- order and overlap ----------------------------------------------------------------------------------------------


async def test_parallel_steps_overlap(deployer: DeployerProcess) -> None:
    (deployer.work / "meeting.py").write_text(MEETING)
    async with deployer.client() as client:
        meet = [a_script("a", "meeting.py", "a.sock", "b.sock"), a_script("b", "meeting.py", "b.sock", "a.sock")]
        done = await run(client, "meeting", a_stage("work", *meet, parallel=True))
        assert steps_of(done) == {"a": "SUCCEEDED", "b": "SUCCEEDED"}


async def test_stages_that_need_nothing_overlap_and_the_last_waits_for_both(deployer: DeployerProcess) -> None:
    held = HeldSteps(deployer.work)
    async with deployer.client() as client:
        first = a_stage("first", held.step("early"))
        second = a_stage("second", held.step("aside"), needs={"stages": []})
        third = a_stage("third", held.step("last"), needs={"stages": ["first", "second"]})
        await register(client, a_pipeline("graph", first, second, third))
        name = (await deploy(client, "graph")).name
        await held.started("early")
        await held.started("aside")
        held.end("early")
        await step_is(client, name, "early", "SUCCEEDED")
        assert steps_of(await get(client, name))["last"] == "PENDING"
        held.end("aside")
        held.end("last")
        assert status_of(await ended(client, name)) == "SUCCEEDED"


async def test_steps_follow_one_another_unless_told_otherwise(deployer: DeployerProcess) -> None:
    held = HeldSteps(deployer.work)
    async with deployer.client() as client:
        await register(client, a_pipeline("row", a_stage("work", held.step("row-1"), true("row-2"))))
        name = (await deploy(client, "row")).name
        await held.started("row-1")
        assert steps_of(await get(client, name)) == {"row-1": "RUNNING", "row-2": "PENDING"}
        held.end("row-1")
        assert steps_of(await ended(client, name)) == {"row-1": "SUCCEEDED", "row-2": "SUCCEEDED"}


# ---- failures -------------------------------------------------------------------------------------------------------


async def test_continue_on_failure_goes_on_and_counts(deployer: DeployerProcess) -> None:
    async with deployer.client() as client:
        loose = a_stage("loose", false("lint"), true("more"), continueOnFailure=True)
        done = await run(client, "loose", loose, a_stage("after"))
        assert status_of(done) == "SUCCEEDED"
        assert steps_of(done) == {"lint": "FAILED_CONTINUED", "more": "SUCCEEDED", "fine": "SUCCEEDED"}
        assert done.failed_steps == 1
        assert len(done.warnings) == 1
        assert "lint" in done.warnings[0]
        assert done.stable


async def test_a_failed_step_stops_its_siblings_by_default(deployer: DeployerProcess) -> None:
    held = HeldSteps(deployer.work)
    async with deployer.client() as client:
        both = a_stage("work", held.step("good"), held.step("bad"), parallel=True)
        await register(client, a_pipeline("fail-fast", both, a_stage("after")))
        name = (await deploy(client, "fail-fast")).name
        await held.started("good")
        await held.started("bad")
        held.end("bad", status=1)
        done = await ended(client, name)
        assert status_of(done) == "FAILED"
        assert steps_of(done) == {"good": "CANCELLED", "bad": "FAILED", "fine": "PENDING"}
        assert (done.failure.stage, done.failure.step, done.failure.reason) == ("work", "bad", "STEP_FAILED")


async def test_siblings_run_to_their_end_when_the_stage_says_so(deployer: DeployerProcess) -> None:
    held = HeldSteps(deployer.work)
    async with deployer.client() as client:
        policy = "SIBLING_POLICY_WAIT_ALL"
        both = a_stage("work", held.step("slow"), held.step("wrong"), parallel=True, onSiblingFailure=policy)
        await register(client, a_pipeline("wait-all", both, a_stage("after")))
        name = (await deploy(client, "wait-all")).name
        await held.started("slow")
        await held.started("wrong")
        held.end("wrong", status=1)
        await step_is(client, name, "wrong", "FAILED")
        assert steps_of(await get(client, name))["slow"] == "RUNNING"
        held.end("slow")
        done = await ended(client, name)
        assert steps_of(done) == {"slow": "SUCCEEDED", "wrong": "FAILED", "fine": "PENDING"}
        assert status_of(done) == "FAILED"


async def test_a_step_that_fails_is_tried_again(deployer: DeployerProcess) -> None:
    (deployer.work / "flaky.py").write_text(FLAKY)
    async with deployer.client() as client:
        retry = {"attempts": 3, "backoff": "0.05s", "maxBackoff": "0.06s"}
        done = await run(client, "flaky", a_stage("work", a_script("flaky", "flaky.py", "3", retry=retry)))
        step = done.stages[0].steps[0]
        assert (status_of(done), step.attempt, step.exit_code) == ("SUCCEEDED", 3, 0)
        events = [event for event in log_of(deployer.data_dir, done.name) if event.step]
        kinds = [(deployment_pb2.DeploymentEventKind.Name(event.kind)[22:], event.attempt) for event in events]
        assert kinds == [(kind, attempt) for attempt in (1, 2, 3) for kind in ("STEP_STARTED", "STEP_ENDED")]
        assert [event.reason for event in events[1::2]] == ["RETRYING", "RETRYING", "SUCCEEDED"]


async def test_a_step_between_two_attempts_waits_and_can_be_cancelled(deployer: DeployerProcess) -> None:
    async with deployer.client() as client:
        retry = {"attempts": 2, "backoff": "3600s", "maxBackoff": "3600s"}
        await register(client, a_pipeline("waiting", a_stage("work", false(retry=retry))))
        name = (await deploy(client, "waiting")).name
        while not any(event.reason == "RETRYING" for event in log_of(deployer.data_dir, name)):  # noqa: ASYNC110 - another process
            await asyncio.sleep(0.02)
        assert steps_of(await get(client, name)) == {"broken": "RUNNING"}
        await cancel(client, name)
        done = await ended(client, name)
        assert (status_of(done), steps_of(done)) == ("CANCELLED", {"broken": "CANCELLED"})
        assert done.stages[0].steps[0].attempt == 1


async def test_the_last_failed_attempt_fails_the_step(deployer: DeployerProcess) -> None:
    async with deployer.client() as client:
        done = await run(client, "hopeless", a_stage("work", false(retry={"attempts": 2, "backoff": "0.01s"})))
        step = done.stages[0].steps[0]
        assert (status_of(done), step.attempt) == ("FAILED", 2)
        assert "not a git repository" in "".join(done.failure.last_log_lines)


async def test_a_step_that_takes_too_long_is_stopped(deployer: DeployerProcess) -> None:
    held = HeldSteps(deployer.work)
    async with deployer.client() as client:
        done = await run(client, "late", a_stage("work", held.step("late", timeout="0.2s")))
        assert (status_of(done), steps_of(done)) == ("FAILED", {"late": "TIMED_OUT"})
        assert done.failure.reason == "STEP_TIMED_OUT"


async def test_a_health_check_step_that_takes_too_long_is_stopped(deployer: DeployerProcess, answers: Answers) -> None:
    answers.statuses = ["503 Unavailable"]
    async with deployer.client() as client:
        check = {
            "name": "up",
            "healthCheck": an_http_check("home", answers.url, failureThreshold=1000),
            "timeout": "0.2s",
        }
        done = await run(client, "late-check", a_stage("work", check))
        assert (status_of(done), steps_of(done)) == ("FAILED", {"up": "TIMED_OUT"})


async def test_a_deployment_that_takes_too_long_ends_with_a_reason(deployer: DeployerProcess) -> None:
    async with deployer.client() as client:
        done = await run(client, "slow", a_stage("work", a_wait()), timeout="0.2s")
        assert (status_of(done), done.reason) == ("TIMED_OUT", "DEPLOYMENT_TIMED_OUT")
        assert (done.failure.stage, done.failure.step) == ("work", "wait")
        assert steps_of(done) == {"wait": "CANCELLED"}


async def test_a_pause_does_not_count_towards_the_timeout_but_towards_the_longest_duration(
    deployer: DeployerProcess,
) -> None:
    held = HeldSteps(deployer.work)
    async with deployer.client() as client:
        stages = [a_stage("work", held.step("paused-long"), true("never"))]
        await register(client, a_pipeline("paused", *stages, timeout="1s", maxDuration="2s"))
        name = (await deploy(client, "paused")).name
        await held.started("paused-long")
        await pause(client, name)
        held.end("paused-long")
        done = await ended(client, name)
        assert (status_of(done), done.reason) == ("TIMED_OUT", "DEPLOYMENT_TOO_LONG")
        assert steps_of(done) == {"paused-long": "SUCCEEDED", "never": "PENDING"}


# ---- gates ----------------------------------------------------------------------------------------------------------


async def test_a_gate_waits_until_its_checks_are_healthy(deployer: DeployerProcess, answers: Answers) -> None:
    answers.statuses = ["503 Unavailable", "500 Broken", "200 OK"]
    async with deployer.client() as client:
        check = an_http_check("home", answers.url, failureThreshold=3, successThreshold=2)
        done = await run(client, "patient", a_stage("work", gates=[a_gate("answers", check)]))
        assert (status_of(done), steps_of(done)["answers"]) == ("SUCCEEDED", "SUCCEEDED")
        assert answers.asked == 4
        statuses = [event.status for event in log_of(deployer.data_dir, done.name)]
        assert S.DEPLOYMENT_STATUS_VERIFYING in statuses


async def test_a_failed_gate_fails_the_deployment(deployer: DeployerProcess, answers: Answers) -> None:
    answers.statuses = ["503 Unavailable"]
    async with deployer.client() as client:
        gates = [a_gate("answers", an_http_check("home", answers.url))]
        done = await run(client, "strict-gate", a_stage("work", gates=gates), a_stage("after", true("never")))
        assert (status_of(done), done.reason) == ("FAILED", "HEALTH_GATE_FAILED")
        assert (done.failure.stage, done.failure.gate) == ("work", "answers")
        assert steps_of(done)["never"] == "PENDING"


async def test_a_gate_that_continues_leaves_a_warning(deployer: DeployerProcess, answers: Answers) -> None:
    answers.statuses = ["503 Unavailable"]
    async with deployer.client() as client:
        gate = a_gate("answers", an_http_check("home", answers.url), onFailure="GATE_FAILURE_CONTINUE")
        done = await run(client, "loose-gate", a_stage("work", gates=[gate]), a_stage("after", true("more")))
        assert (status_of(done), steps_of(done)["answers"], steps_of(done)["more"]) == (
            "SUCCEEDED",
            "FAILED_CONTINUED",
            "SUCCEEDED",
        )
        assert "answers" in done.warnings[0]


async def test_a_gate_that_pauses_is_asked_again_on_resume(deployer: DeployerProcess, answers: Answers) -> None:
    answers.statuses = ["503 Unavailable"]
    async with deployer.client() as client:
        gate = a_gate("answers", an_http_check("home", answers.url), onFailure="GATE_FAILURE_PAUSE")
        await register(client, a_pipeline("pausing-gate", a_stage("work", gates=[gate])))
        name = (await deploy(client, "pausing-gate")).name
        await until(client, name, "PAUSED")
        assert (await get(client, name)).pause_reason == deployment_pb2.PAUSE_REASON_GATE
        answers.statuses = ["200 OK"]
        await resume(client, name)
        done = await ended(client, name)
        assert (status_of(done), done.stages[0].gates[0].attempt) == ("SUCCEEDED", 2)


async def test_a_gate_is_asked_again_when_the_last_interrupted_step_is_decided(
    start_deployer: Callable[..., DeployerProcess], answers: Answers
) -> None:
    answers.statuses = ["503 Unavailable"]
    deployer = start_deployer()
    held = HeldSteps(deployer.work)
    gate = a_gate("answers", an_http_check("home", answers.url), onFailure="GATE_FAILURE_PAUSE")
    stages = [a_stage("gated", gates=[gate]), a_stage("aside", held.step("lost"), needs={"stages": []})]
    async with deployer.client() as client:
        await register(client, a_pipeline("twice-paused", *stages))
        name = (await deploy(client, "twice-paused")).name
        await held.started("lost")
        await until(client, name, "PAUSED")
    deployer.kill()
    deployer.start()
    async with deployer.client() as client:
        assert (await get(client, name)).pause_reason == deployment_pb2.PAUSE_REASON_INTERRUPTED
        answers.statuses = ["200 OK"]
        await client.deployments.SkipStep(d.SkipStepRequest(name=name, stage="aside", step="lost"))
        done = await ended(client, name)
        assert (status_of(done), steps_of(done)) == (
            "SUCCEEDED",
            {"fine": "SUCCEEDED", "answers": "SUCCEEDED", "lost": "SKIPPED"},
        )


# ---- templates, secrets, logs ---------------------------------------------------------------------------------------

IDENTITY = ("DEPLOYMENT_ID", "DEPLOYMENT_VERSION", "DEPLOYMENT_ENVIRONMENT", "OPSUITE_EPOCH")
SHOW = """
import json, os, sys
print(json.dumps({"args": sys.argv[1:], "env": dict(os.environ), "cwd": os.getcwd()}))
"""


async def test_templates_are_filled_inside_one_argument(deployer: DeployerProcess) -> None:
    (deployer.work / "below").mkdir()
    (deployer.work / "below" / "show.py").write_text(SHOW)
    command = {
        "command": "python3",
        "args": ["show.py", "${version}-${colour}", "${environment}/${deployment_id}"],
        "workingDir": "${place}",
        "env": {"COLOUR": "${colour}", "PLAIN": "$${version}"},
    }
    variables = {"colour": "red", "place": "below"}
    async with deployer.client() as client:
        stage = a_stage("work", {"name": "show", "command": command})
        await register(client, a_pipeline("filled", stage, variables=variables))
        request = d.DeployRequest(
            pipeline="pipelines/filled", version="2.0", environment="staging", variables={"colour": "dark blue"}
        )
        done = await ended(client, (await client.deployments.Deploy(request)).deployment.name)
        assert status_of(done) == "SUCCEEDED", done.message
        [line] = await lines_of(client, done.name)
        shown = json.loads(line)
        assert shown["args"] == ["2.0-dark blue", f"staging/{done.uid}"]
        assert shown["cwd"].endswith("/work/below")
        assert shown["env"].keys() - {"LC_CTYPE"} == {"COLOUR", "PLAIN", "PATH", *IDENTITY}
        assert (shown["env"]["COLOUR"], shown["env"]["PLAIN"]) == ("dark blue", "${version}")
        assert dict(done.variables) == variables | {"colour": "dark blue"}


async def test_secrets_are_masked_in_logs_events_and_failures(start_deployer: Callable[..., DeployerProcess]) -> None:
    deployer = start_deployer(DEPLOYER_SECRET_ENV="PASSWORD", PASSWORD="hunter2\nsecond-line")
    (deployer.work / "leak.py").write_text('import os, sys\nprint("my", os.environ["P"])\nsys.exit("it is hunter2!")\n')
    async with deployer.client() as client:
        secret = {"command": "python3", "args": ["leak.py"], "secretEnv": {"P": {"env": "PASSWORD"}}}
        done = await run(client, "leaking", a_stage("work", {"name": "leak", "command": secret}))
        assert await lines_of(client, done.name) == ["my ***", "***", "it is ***!"]
        assert list(done.failure.last_log_lines) == ["my ***", "***", "it is ***!"]
    database = b"".join(path.read_bytes() for path in deployer.data_dir.glob("deployer.db*"))
    assert b"hunter2" not in database
    assert b"hunter2" not in deployer.log_file.read_bytes()


async def test_a_command_refused_once_its_template_is_filled_is_not_started(deployer: DeployerProcess) -> None:
    async with deployer.client() as client:
        await register(
            client,
            a_pipeline("injected", a_stage("work", a_command("x", "make", "${target}")), variables={"target": "all"}),
        )
        request = d.DeployRequest(
            pipeline="pipelines/injected", version="1", environment="staging", variables={"target": "$(id)"}
        )
        done = await ended(client, (await client.deployments.Deploy(request)).deployment.name)
        assert (status_of(done), done.reason) == ("FAILED", "PREFLIGHT_FAILED")
        assert steps_of(done) == {"x": "PENDING"}
