"""Callers of the Docker platform, and the engine itself, die at every moment; the next caller puts things right."""

from __future__ import annotations

import asyncio
import signal
import sys
from collections.abc import Awaitable, Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from docker import docker, docker_url, import_tiny_image, tiny_image  # noqa: F401  # two of them are fixtures
from private_docker import PrivateEngine, private_engine

from opsuite_kernel.errors import NotFound
from opsuite_platforms.docker_engine import DockerEngine
from opsuite_platforms.docker_workloads import DockerPlatform
from opsuite_platforms.port import PortSpec, WorkloadSpec, WorkloadStatus

pytestmark = pytest.mark.needs("docker")

CALLS = ("find", "state", "has_image", "create_configured", "start", "stop", "restart", "remove")


class Died(BaseException):
    """The caller is gone: nothing that it would do next is done."""


class FatalEngine(DockerEngine):
    """An engine whose caller dies when a number of calls have been carried out, before it hears of the last."""

    def __init__(self, url: str, lethal_call: int) -> None:
        super().__init__(url)
        self.lethal_call = lethal_call
        self.carried_out = 0

    def is_fatal(self) -> bool:
        return self.carried_out >= self.lethal_call


def fatal(name: str) -> Callable[..., Awaitable[Any]]:
    async def call(self: FatalEngine, *arguments: Any) -> Any:
        if self.is_fatal():
            raise Died
        result = await getattr(DockerEngine, name)(self, *arguments)
        self.carried_out += 1
        if self.is_fatal():
            raise Died
        return result

    return call


for each in CALLS:
    setattr(FatalEngine, each, fatal(each))


def a_workload(image: str, *, version: str = "1", replicas: int = 2) -> WorkloadSpec:
    command = ("sleep", "1000")
    return WorkloadSpec("web", version, command, "/", {}, (PortSpec("http"),), replicas, image, grace=timedelta(0))


@dataclass(frozen=True)
class Verb:
    """Something to do, to a workload of that size (0: there is none), and what there is then."""

    do: Callable[[DockerPlatform, str, str], Awaitable[None]]
    """With an image, and a version that was not there before."""
    size_before: int
    size: int
    is_new_version: bool = False


VERBS = {
    "apply": Verb(lambda platform, image, new: platform.apply(a_workload(image, version=new), epoch=1), 0, 2, True),
    "replace": Verb(lambda platform, image, new: platform.apply(a_workload(image, version=new), epoch=1), 2, 2, True),
    "scale up": Verb(lambda platform, *_: platform.scale("web", 2), 1, 2),
    "scale down": Verb(lambda platform, *_: platform.scale("web", 1), 2, 1),
    "restart": Verb(lambda platform, *_: platform.restart("web"), 1, 1),
    "remove": Verb(lambda platform, *_: platform.remove("web"), 2, 0),
}


async def ready(platform: DockerPlatform) -> WorkloadStatus:
    while not (status := await platform.observe("web")).is_ready:  # noqa: ASYNC110  # it is asked
        await asyncio.sleep(0.005)
    return status


@pytest.mark.parametrize("verb", VERBS)
async def test_a_verb_may_be_repeated_after_its_caller_died_at_any_call(
    verb: str,
    docker_url: str,  # noqa: F811
    tiny_image: str,  # noqa: F811
    tmp_path: Path,
) -> None:
    prefix = f"opsuite-test-{uuid4().hex[:8]}-"
    heir = DockerPlatform(tmp_path, docker_url, prefix=prefix)
    lethal_call, version, is_dead = 0, "0", True

    while is_dead:
        lethal_call += 1
        await prepare(heir, VERBS[verb], a_workload(tiny_image, version=version))
        version = str(lethal_call) if VERBS[verb].is_new_version else version
        is_dead = await dies(VERBS[verb], FatalEngine(docker_url, lethal_call), tmp_path, prefix, tiny_image, version)

        await VERBS[verb].do(heir, tiny_image, version)

        assert await versions(heir) == [version] * VERBS[verb].size
        names = docker("ps", "--all", "--format", "{{.Names}}", "--filter", f"name=^{prefix}", url=docker_url)
        assert sorted(names.split()) == [f"{prefix}web-{index}" for index in range(VERBS[verb].size)]
    assert lethal_call > 2
    await heir.remove("web")
    await heir.close()


async def prepare(platform: DockerPlatform, verb: Verb, spec: WorkloadSpec) -> None:
    if verb.size_before:
        await platform.apply(replace(spec, replicas=verb.size_before), epoch=1)
    else:
        await platform.remove("web")


async def dies(verb: Verb, engine: FatalEngine, data: Path, prefix: str, image: str, version: str) -> bool:
    """Whether the caller died; if not, the verb took fewer calls than the lethal one."""
    platform = DockerPlatform(data, prefix=prefix, connect=lambda _: engine)
    with suppress(Died):
        await verb.do(platform, image, version)
    await platform.close()
    return engine.is_fatal()


async def versions(platform: DockerPlatform) -> list[str]:
    """Of all replicas, when they are ready; of a workload that does not exist, none."""
    try:
        return [replica.version for replica in (await ready(platform)).replicas]
    except NotFound:
        return []


async def test_a_process_killed_in_the_middle_of_a_change_holds_nobody_up(
    docker_url: str,  # noqa: F811
    tiny_image: str,  # noqa: F811
    tmp_path: Path,
) -> None:
    prefix = f"opsuite-test-{uuid4().hex[:8]}-"
    code = f"""
import asyncio, os, pathlib, signal
from opsuite_platforms.docker_engine import DockerEngine
from opsuite_platforms.docker_workloads import DockerPlatform
from opsuite_platforms.port import WorkloadSpec

class Engine(DockerEngine):
    async def start(self, name):
        os.kill(os.getpid(), signal.SIGKILL)

platform = DockerPlatform(pathlib.Path({str(tmp_path)!r}), {docker_url!r}, prefix={prefix!r}, connect=Engine)
spec = WorkloadSpec("web", "1", ("sleep", "1000"), "/", replicas=2, image={tiny_image!r})
asyncio.run(platform.apply(spec, epoch=1))
"""
    victim = await asyncio.create_subprocess_exec(sys.executable, "-c", code)
    assert await victim.wait() == -signal.SIGKILL
    heir = DockerPlatform(tmp_path, docker_url, prefix=prefix)
    assert not (await heir.observe("web")).is_ready

    await heir.apply(replace(a_workload(tiny_image), ports=()), epoch=2)

    assert len((await ready(heir)).replicas) == 2
    await heir.remove("web")
    await heir.close()


# --- the engine dies ---


@pytest.fixture(scope="module")
def engine() -> Iterator[PrivateEngine]:
    with private_engine(live_restore=False) as engine:
        yield engine


@pytest.mark.parametrize("death", ["restart", "kill"])
async def test_after_a_restart_of_the_engine_everything_is_as_before(
    engine: PrivateEngine, tmp_path: Path, death: str
) -> None:
    platform = DockerPlatform(tmp_path, engine.url)
    spec = replace(a_workload(import_tiny_image(engine.url)), ports=())
    await platform.apply(spec, epoch=1)
    await platform.apply(replace(spec, name="api", replicas=1), epoch=1)
    before = await ready(platform)
    await platform.scale("api", 0)

    await asyncio.to_thread(engine.restart if death == "restart" else engine.kill)
    if death == "kill":
        await asyncio.to_thread(engine.start)

    after = await ready(platform)
    assert [(r.name, r.version, r.ports) for r in after.replicas] == [
        (r.name, r.version, r.ports) for r in before.replicas
    ]
    assert (await platform.observe("api")).replicas == ()
    await platform.apply(spec, epoch=1)
    assert await ready(platform) == after
    await platform.remove("web")
    await platform.remove("api")
    await platform.close()
