"""What a rollout costs beside the plain commands that end in the same place, and many rollouts at once beside one.

Kubernetes: a new version of three replicas, replica by replica, on a real API server with its own controllers; its node
is played (`tests/kubelet.py`), so that no time goes into containers. Beside it `kubectl apply` and `kubectl rollout
status` of a Deployment that is alike. Docker: a new version of three replicas at once, beside three `docker run` at
once and `docker rm` of the old ones. Nothing asks replicas for health, and none has to be healthy for any time.

Processes: rollouts of one replica each, all at once, beside one after the other; `OPSUITE_BENCH_ROLLOUTS` is how many.
"""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import tempfile
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from itertools import count
from pathlib import Path
from secrets import token_hex
from typing import Any

from components import program
from deployer import Client, a_pipeline, deploy, ended, register
from docker import docker as command_line
from docker import engine_url, import_tiny_image
from idlers import Idlers
from kube import ADMIN_TOKEN, HOW_TO_GET_IT, Cluster, ControlPlane, own_cluster
from kubelet import Kubelet

from bench.containers import LIKE_OURS, docker, in_turns, timed
from bench.deployers import SUCCEEDED, a_bench_deployer
from bench.table import Row, ms, p50

AT_ONCE = int(os.environ.get("OPSUITE_BENCH_ROLLOUTS", "200"))
REPLICAS = 3
NAME = f"shop-{token_hex(4)}"
"""Nobody else's on the engine."""
PREFIX = "opsuite-bench-"


async def main(rounds: int) -> list[Row]:
    return [await on_kubernetes(rounds), await on_docker(rounds), await at_once(rounds)]


async def roll_out(client: Client, pipeline: str, version: str) -> float:
    """Milliseconds from asking for a version until its rollout has ended."""
    began = time.perf_counter()
    done = await ended(client, (await deploy(client, pipeline, version)).name)
    assert done.status == SUCCEEDED, done
    return (time.perf_counter() - began) * 1000


def a_rollout(workload: Mapping[str, Any], **rolling: str) -> dict[str, Any]:
    """A step that rolls out as fast as it may."""
    return {"name": "roll", "rollout": {"workload": dict(workload), "rolling": rolling, "minHealthyTime": "0s"}}


# ---- Kubernetes -----------------------------------------------------------------------------------------------------


async def on_kubernetes(rounds: int) -> Row:
    """Replica by replica, beside kubectl."""
    kubectl, versions = str(program("kubectl", HOW_TO_GET_IT)), count(1)
    workload = {"workload": NAME, "platform": "WORKLOAD_PLATFORM_KUBERNETES", "image": "app:${version}"}
    async with a_cluster() as cluster:
        access = {"DEPLOYER_KUBECONFIG": str(cluster.kubeconfig), "DEPLOYER_KUBERNETES_NAMESPACE": cluster.namespace}
        with a_bench_deployer(**access) as deployer:
            async with deployer.client() as client:
                await register(client, a_pipeline(NAME, a_rollout({**workload, "replicas": REPLICAS, "grace": "1s"})))
                ours, plain = await in_turns(
                    rounds,
                    lambda: roll_out(client, NAME, str(next(versions))),
                    lambda: timed(apply_and_wait(kubectl, cluster, next(versions))),
                )
    return Row("rollout on Kubernetes, p50", ms(ours), f"kubectl apply and wait {ms(plain)}", ours / plain)


@asynccontextmanager
async def a_cluster() -> AsyncIterator[Cluster]:
    """A namespace of a control plane that is there for this alone."""
    directory = Path(tempfile.mkdtemp(prefix="opsuite-kube-"))
    plane = ControlPlane(directory)
    try:
        await asyncio.to_thread(plane.start)
        kubelet = Kubelet(plane.url, plane.authorities, ADMIN_TOKEN)
        await asyncio.to_thread(kubelet.start)
        async with own_cluster(plane, kubelet) as cluster:
            yield cluster
        await asyncio.to_thread(kubelet.stop)
    finally:
        await asyncio.to_thread(plane.stop)
        shutil.rmtree(directory)


async def apply_and_wait(kubectl: str, cluster: Cluster, version: int) -> None:
    """What somebody types who has no rollouts."""
    access = ("--kubeconfig", str(cluster.control_plane.directory / "admin.json"), "--namespace", cluster.namespace)
    await run(kubectl, *access, "apply", "-f", "-", stdin=json.dumps(a_plain_deployment(version)).encode())
    await run(kubectl, *access, "rollout", "status", "deployment/plain")


def a_plain_deployment(version: int) -> dict[str, Any]:
    """Like ours: replica by replica."""
    labels = {"app": "plain"}
    pod = {"terminationGracePeriodSeconds": 1, "containers": [{"name": "app", "image": f"app:{version}"}]}
    template = {"metadata": {"labels": labels}, "spec": pod}
    spec = {"replicas": REPLICAS, "selector": {"matchLabels": labels}, "template": template}
    return {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "plain"}, "spec": spec}


# ---- Docker ---------------------------------------------------------------------------------------------------------


async def on_docker(rounds: int) -> Row:
    """All replicas at once, beside docker run and docker rm."""
    url = await asyncio.to_thread(engine_url)
    image, versions = await asyncio.to_thread(import_tiny_image, url), count(1)
    workload = {"workload": NAME, "platform": "WORKLOAD_PLATFORM_DOCKER", "image": image, "replicas": REPLICAS}
    step = a_rollout({**workload, "command": ["sleep", "1000"], "env": {"VERSION": "${version}"}}, maxSurge="100%")
    with a_bench_deployer(DEPLOYER_DOCKER_URL=url) as deployer:
        async with deployer.client() as client, plain_containers(url, image) as plain:
            await register(client, a_pipeline(NAME, step))
            ours, bare = await in_turns(
                rounds,
                lambda: roll_out(client, NAME, str(next(versions))),
                lambda: timed(plain.replace()),
            )
    await asyncio.to_thread(remove_ours, url)
    return Row("rollout on Docker, p50", ms(ours), f"docker run and rm {ms(bare)}", ours / bare)


def remove_ours(url: str) -> None:
    """The deployer is gone by now; what it ran is not."""
    if left := command_line("ps", "--all", "--quiet", "--filter", f"name=^opsuite-{NAME}-", url=url).split():
        command_line("rm", "--force", *left, url=url)


class PlainContainers:
    """As many containers as ours, and a way to replace them."""

    def __init__(self, url: str, image: str) -> None:
        self._url = url
        self._image = image
        self._versions = count(1)
        self._names: list[str] = []

    async def replace(self) -> None:
        """Run new ones, all at once, then remove the old ones."""
        version = next(self._versions)
        old, self._names = self._names, [f"{PREFIX}{version}-{number}" for number in range(REPLICAS)]
        command = (self._image, "sleep", "1000")
        await asyncio.gather(
            *(docker(self._url, "run", "--detach", "--name", name, *LIKE_OURS, *command) for name in self._names)
        )
        if old:
            await docker(self._url, "rm", "--force", *old)

    async def remove(self) -> None:
        """Remove those that are left."""
        if self._names:
            await docker(self._url, "rm", "--force", *self._names)


@asynccontextmanager
async def plain_containers(url: str, image: str) -> AsyncIterator[PlainContainers]:
    """None at first, and none at the end."""
    plain = PlainContainers(url, image)
    try:
        yield plain
    finally:
        await plain.remove()


# ---- processes ------------------------------------------------------------------------------------------------------


async def at_once(rounds: int) -> Row:
    """The second version of many workloads, all at once; then those of the first of them one after the other."""
    settings = {"DEPLOYER_START_PLATFORM": "true", "DEPLOYER_LOG_LEVEL": "WARNING"}
    with a_bench_deployer(DEPLOYER_MAX_CONCURRENT_DEPLOYMENTS=str(AT_ONCE), **settings) as deployer:
        idlers = Idlers(deployer, AT_ONCE)
        async with deployer.client() as client:
            await idlers.register(client)
            await idlers.roll_out(client, "1.0")
            began = time.perf_counter()
            done = await idlers.roll_out(client, "1.1")
            taken = time.perf_counter() - began
            assert all(one.status == SUCCEEDED for one in done), {one.status for one in done}
            alone = p50([await roll_out(client, "one-0", f"2.{number}") for number in range(rounds)])
    rate, one_by_one = AT_ONCE / taken, 1000 / alone
    said = f"{rate:.3g}/s, all ended after {taken:.3g} s"
    return Row(f"{AT_ONCE} rollouts at once", said, f"one by one {one_by_one:.3g}/s", rate / one_by_one)


# ---- programs -------------------------------------------------------------------------------------------------------


async def run(*command: str, stdin: bytes | None = None) -> None:
    """Run a program to its end, which has to be a good one."""
    pipe = asyncio.subprocess.PIPE
    process = await asyncio.create_subprocess_exec(*command, stdin=pipe, stdout=pipe, stderr=asyncio.subprocess.STDOUT)
    said, _ = await process.communicate(stdin)
    if process.returncode:
        raise RuntimeError(f"{' '.join(command[:1])} ended with {process.returncode}: {said.decode()}")
