"""Docker steps of a real deployer on a real engine."""

import asyncio
import itertools
import json
from collections.abc import Iterator
from typing import Any

import pytest
from deployer import Client, DeployerProcess, a_deployer, deploy, ended, register
from docker import docker, docker_url, tiny_image  # noqa: F401  # the last two are fixtures
from fakes.calls import cancel, get, lines_of, run, status_of, steps_of
from fakes.pipelines import Form, a_docker, a_pipeline, a_stage

LABEL = "opsuite.run"


@pytest.fixture(scope="module")
def boxed(docker_url: str) -> Iterator[DeployerProcess]:  # noqa: F811 - the fixture
    """A deployer with that engine."""
    with a_deployer(DEPLOYER_DOCKER_URL=docker_url, DEPLOYER_COMMAND_GRACE="0.2") as running:
        yield running


@pytest.fixture
def shell(tiny_image: str) -> Any:  # noqa: F811 - the fixture
    """A function that makes a step which runs a script of busybox in a container."""
    return lambda name, script, **fields: a_docker(name, tiny_image, "/bin/sh", "-c", script, **fields)


def containers(uid: str, *options: str) -> list[str]:
    """Containers of a deployment, running or not; `options` are of `docker ps`."""
    return docker("ps", "--all", "--no-trunc", "--quiet", "--filter", f"label={LABEL}={uid}", *options).splitlines()


async def the_container(uid: str) -> dict[str, Any]:
    """The one container of a deployment, once it runs."""
    for _ in itertools.count():
        assert len(await asyncio.to_thread(containers, uid)) <= 1, "there is more than one"
        if running := await asyncio.to_thread(containers, uid, "--filter", "status=running"):
            [about] = json.loads(await asyncio.to_thread(docker, "inspect", *running))
            return dict(about)
        await asyncio.sleep(0.02)
    raise AssertionError


async def written(client: Client, name: str, number: int) -> None:
    """Return once that many lines are recorded."""
    while len(await lines_of(client, name)) < number:  # noqa: ASYNC110 - another process
        await asyncio.sleep(0.02)


async def gone(uid: str) -> bool:
    """Return once no container of the deployment is left: they are removed behind the result."""
    while await asyncio.to_thread(containers, uid):  # noqa: ASYNC110 - another process
        await asyncio.sleep(0.02)
    return True


async def test_a_container_runs_to_its_end_and_is_removed(boxed: DeployerProcess, shell: Any) -> None:
    async with boxed.client() as client:
        step = shell("box", "echo out $WORD; echo err >&2; echo $DEPLOYMENT_VERSION")
        step["docker"]["environmentVars"] = {"WORD": "${word}"}
        done = await run(client, "box", a_stage("work", step), variables={"word": "a b"})
        assert (status_of(done), done.stages[0].steps[0].exit_code) == ("SUCCEEDED", 0)
        assert sorted(await lines_of(client, done.name)) == ["1.0.0", "err", "out a b"]
        assert await gone(done.uid)


async def test_a_container_that_fails_fails_its_step(boxed: DeployerProcess, shell: Any) -> None:
    async with boxed.client() as client:
        done = await run(client, "bad-box", a_stage("work", shell("box", "echo why; exit 3")))
        assert (status_of(done), done.stages[0].steps[0].exit_code) == ("FAILED", 3)
        assert list(done.failure.last_log_lines) == ["why"]
        assert await gone(done.uid)


async def test_a_container_gets_its_limits_and_its_mounts_and_nothing_else(boxed: DeployerProcess, shell: Any) -> None:
    (boxed.work / "shared").mkdir()
    (boxed.work / "shared" / "given").write_text("hello\n")
    async with boxed.client() as client:
        rest: Form = {
            "limits": {"cpus": 0.5, "memoryBytes": 64 << 20, "pids": 32},
            "networkDisabled": True,
            "mounts": [{"source": "shared", "target": "/data"}],
        }
        step = shell("box", "cat /data/given; echo no > /data/taken; sleep 3600")
        step["docker"] |= rest
        await register(client, a_pipeline("limits", a_stage("work", step)))
        deployment = await deploy(client, "limits")
        host = (await the_container(deployment.uid))["HostConfig"]
        assert (host["NanoCpus"], host["Memory"], host["PidsLimit"]) == (500_000_000, 64 << 20, 32)
        assert host["NetworkMode"] == "none"
        assert not host["Privileged"]
        await written(client, deployment.name, 2)
        await cancel(client, deployment.name)
        done = await ended(client, deployment.name)
        assert steps_of(done) == {"box": "CANCELLED"}
        assert "hello" in await lines_of(client, done.name)
        assert not (boxed.work / "shared" / "taken").exists()
        assert await gone(done.uid)


async def test_the_last_words_of_a_container_that_is_cancelled_are_kept(boxed: DeployerProcess, shell: Any) -> None:
    async with boxed.client() as client:
        words = "i=0; while [ $i -lt 300 ]; do echo word $i; i=$((i+1)); done"
        script = f"trap '{words}; exit 1' TERM; echo ready; while :; do sleep 0.02; done"
        await register(client, a_pipeline("last-words", a_stage("work", shell("box", script))))
        deployment = await deploy(client, "last-words")
        await written(client, deployment.name, 1)
        await cancel(client, deployment.name)
        done = await ended(client, deployment.name)
        assert steps_of(done) == {"box": "CANCELLED"}
        assert await lines_of(client, done.name) == ["ready", *(f"word {number}" for number in range(300))]


async def test_a_container_that_takes_too_long_is_stopped(boxed: DeployerProcess, shell: Any) -> None:
    async with boxed.client() as client:
        done = await run(client, "late-box", a_stage("work", shell("box", "sleep 3600", timeout="0.5s")))
        assert (status_of(done), steps_of(done)) == ("FAILED", {"box": "TIMED_OUT"})
        assert await gone(done.uid)


async def test_an_image_that_cannot_be_had_is_told_with_its_name(boxed: DeployerProcess) -> None:
    async with boxed.client() as client:
        image = "127.0.0.1:9/absent:1"  # nothing listens on the discard port
        done = await run(client, "absent", a_stage("work", a_docker("box", image)))
        assert status_of(done) == "FAILED"
        assert image in done.message
        assert containers(done.uid) == []


async def test_a_deployer_that_comes_back_adopts_the_container_it_left(boxed: DeployerProcess, shell: Any) -> None:
    count = "i=0; while [ $i -lt 200 ]; do echo line $i; i=$((i+1)); done"
    script = f"{count}; while [ ! -e /data/go ]; do sleep 0.02; done; echo last; exit 7"
    (boxed.work / "gate").mkdir()
    async with boxed.client() as client:
        step = shell("box", script)
        step["docker"]["mounts"] = [{"source": "gate", "target": "/data"}]
        await register(client, a_pipeline("adopted", a_stage("work", step)))
        deployment = await deploy(client, "adopted")
        before = await the_container(deployment.uid)
        await written(client, deployment.name, 100)
    boxed.kill()
    boxed.start()
    async with boxed.client() as client:
        assert (await the_container(deployment.uid))["Id"] == before["Id"], "it is another container"
        (boxed.work / "gate" / "go").touch()
        done = await ended(client, deployment.name)
        step_run = done.stages[0].steps[0]
        assert (status_of(done), step_run.attempt, step_run.exit_code) == ("FAILED", 1, 7)
        assert await lines_of(client, done.name) == [*(f"line {number}" for number in range(200)), "last"]
        assert await gone(done.uid)


async def test_a_container_whose_end_was_recorded_at_a_crash_is_removed_at_the_next_start(
    boxed: DeployerProcess, shell: Any
) -> None:
    boxed.terminate()
    boxed.start(OPSUITE_FAULT="deployer.settled:1")  # after the record, before anything is cleaned up
    async with boxed.client() as client:
        await register(client, a_pipeline("left", a_stage("work", shell("box", "true"))))
        deployment = await deploy(client, "left")
        await asyncio.to_thread(boxed.wait_until_gone)
    assert len(containers(deployment.uid)) == 1
    boxed.start()
    async with boxed.client() as client:
        assert status_of(await get(client, deployment.name)) == "SUCCEEDED"
        assert await gone(deployment.uid)


async def test_a_container_that_ended_while_nobody_looked_is_recorded_once(boxed: DeployerProcess, shell: Any) -> None:
    (boxed.work / "unseen").mkdir()
    async with boxed.client() as client:
        step = shell("box", "echo one; while [ ! -e /data/go ]; do sleep 0.02; done; echo two")
        step["docker"]["mounts"] = [{"source": "unseen", "target": "/data"}]
        await register(client, a_pipeline("unseen", a_stage("work", step)))
        deployment = await deploy(client, "unseen")
        about = await the_container(deployment.uid)
    boxed.kill()
    (boxed.work / "unseen" / "go").touch()
    await asyncio.to_thread(docker, "wait", about["Id"])
    boxed.start()
    async with boxed.client() as client:
        done = await ended(client, deployment.name)
        assert (status_of(done), done.stages[0].steps[0].attempt) == ("SUCCEEDED", 1)
        assert await lines_of(client, done.name) == ["one", "two"]
        assert await gone(done.uid)
