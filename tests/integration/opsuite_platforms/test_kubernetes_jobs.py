"""`KubernetesJobs` on a real API server with its real controllers, under our own Role.

The pods' commands run as processes of this machine (`kubelet`). What every runner of containers promises is in the
contract suite; here is what only Kubernetes can do to a container, and what outlives the death of whoever waits.
"""

from __future__ import annotations

import asyncio
import signal
import sys
from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
from kube import Cluster, cluster, control_plane, kubelet
from kube_faults import Fault, faulty_server

from opsuite_platforms.kubernetes_api import JOBS, NETWORK_POLICIES, PODS, Resource
from opsuite_platforms.kubernetes_jobs import KubernetesJobs
from opsuite_platforms.kubernetes_transport import Object
from opsuite_platforms.port import ContainerSpec, Exit, ExitKind, MountSpec, OutputLine, Stream

__all__ = ["cluster", "control_plane", "kubelet"]

QUOTAS = Resource("v1", "resourcequotas", "ResourceQuota")
SECOND = timedelta(seconds=1)


class Output(list[OutputLine]):
    """Collects what a container writes; `written` is set with the first line."""

    def __init__(self) -> None:
        super().__init__()
        self.written = asyncio.Event()

    def __call__(self, lines: Sequence[OutputLine]) -> None:
        self.extend(lines)
        self.written.set()

    @property
    def texts(self) -> list[str]:
        return [line.text for line in self]


def a_job(script: str, name: str = "op-1") -> ContainerSpec:
    labels = {"opsuite.step": "build/compile it"}
    return ContainerSpec(name, "tools:1", ("sh", "-c", script), {}, labels, timedelta(seconds=60), grace=SECOND)


def until_told(path: Path, script: str = "exit 0") -> str:
    """A script that says so and waits for the file, then does `script`."""
    return f"echo begun; while [ ! -e {path} ]; do sleep 0.05; done; echo told; {script}"


async def pod_of(cluster: Cluster) -> Object:
    (pod,) = await cluster.admin.list(PODS, cluster.namespace)
    return pod


async def a_quota(cluster: Cluster, **hard: str) -> None:
    quota = {"metadata": {"name": "none"}, "spec": {"hard": hard}}
    await cluster.admin.create(QUOTAS, cluster.namespace, quota)
    while "used" not in (await cluster.admin.get(QUOTAS, cluster.namespace, "none")).get("status", {}):  # noqa: ASYNC110  # counted by a controller
        await asyncio.sleep(0.02)


def is_failed(job: Object) -> bool:
    return any(each["type"] == "Failed" for each in job["status"].get("conditions", []))


# --- whoever waits dies -----------------------------------------------------------------------------------------------

WAITS = """
import asyncio, sys
from datetime import timedelta
from pathlib import Path
from opsuite_platforms.kubernetes_api import KubernetesApi
from opsuite_platforms.kubernetes_jobs import KubernetesJobs
from opsuite_platforms.port import ContainerSpec

async def main(kubeconfig, namespace, name, script):
    spec = ContainerSpec(name, "tools:1", ("sh", "-c", script), {}, {}, timedelta(seconds=60))
    jobs = KubernetesJobs(KubernetesApi(Path(kubeconfig)), namespace)
    await jobs.run(spec, lambda lines: [print(line.text, flush=True) for line in lines])

asyncio.run(main(*sys.argv[1:]))
"""


async def test_a_job_outlives_a_killed_caller_and_is_adopted_and_has_run_once(cluster: Cluster, tmp_path: Path) -> None:
    script = f"echo once >> {tmp_path}/runs; " + until_told(tmp_path / "go", "exit 5")
    first = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", WAITS, cluster.kubeconfig, cluster.namespace, "op-1", script),
        stdout=asyncio.subprocess.PIPE,
    )
    assert first.stdout is not None
    assert await first.stdout.readline() == b"begun\n"
    first.send_signal(signal.SIGKILL)
    await first.wait()

    output = Output()
    adopted = asyncio.create_task(KubernetesJobs(cluster.api(), cluster.namespace).run(a_job(script), output))
    await output.written.wait()
    (tmp_path / "go").touch()

    assert await adopted == Exit(ExitKind.EXITED, 5)
    assert output.texts == ["begun", "told"]
    assert (tmp_path / "runs").read_text() == "once\n"


async def test_a_job_is_waited_for_while_the_api_server_is_away(cluster: Cluster, tmp_path: Path) -> None:
    output = Output()
    jobs = KubernetesJobs(cluster.api(), cluster.namespace)
    running = asyncio.create_task(jobs.run(a_job(until_told(tmp_path / "go", "exit 3")), output))
    await output.written.wait()

    await asyncio.to_thread(cluster.control_plane.kill, "kube-apiserver")
    (tmp_path / "go").touch()
    await asyncio.to_thread(cluster.control_plane.start_api_server)

    assert await running == Exit(ExitKind.EXITED, 3)
    assert output.texts == ["begun", "told"]


@pytest.mark.parametrize("status", [429, 500])
async def test_a_server_that_fails_now_and_then_costs_nothing(cluster: Cluster, status: int) -> None:
    output = Output()
    async with faulty_server(cluster.control_plane) as server:
        server.faults = [Fault("GET", status, times=1, after=each) for each in range(5)]
        jobs = KubernetesJobs(cluster.api(url=server.url), cluster.namespace)

        end = await jobs.run(a_job("echo one; echo two"), output)

    assert end == Exit(ExitKind.EXITED, 0)
    assert output.texts == ["one", "two"]


# --- what Kubernetes can do to a container ----------------------------------------------------------------------------


async def test_a_program_that_is_not_there_was_not_started(cluster: Cluster) -> None:
    spec = replace(a_job(""), command=("/nonexistent/program",))

    end = await KubernetesJobs(cluster.api(), cluster.namespace).run(spec, Output())

    assert end.kind is ExitKind.NOT_STARTED
    assert "/nonexistent/program" in end.message


async def test_what_no_node_has_room_for_is_given_up(cluster: Cluster) -> None:
    spec = replace(a_job("exit 0"), cpus=100_000.0, timeout=SECOND)
    jobs = KubernetesJobs(cluster.api(), cluster.namespace, start_timeout=SECOND)

    end = await jobs.run(spec, Output())

    assert end.kind is ExitKind.NOT_STARTED
    assert "DeadlineExceeded" in end.message
    assert "Unschedulable" in end.message


async def test_what_a_quota_has_no_room_for_is_given_up(cluster: Cluster) -> None:
    await a_quota(cluster, pods="0")
    jobs = KubernetesJobs(cluster.api(), cluster.namespace, start_timeout=SECOND)

    end = await jobs.run(replace(a_job("exit 0"), timeout=SECOND), Output())

    assert end.kind is ExitKind.NOT_STARTED
    assert "exceeded quota: none" in end.message


async def test_a_job_that_a_quota_refuses_was_not_started_and_says_why(cluster: Cluster) -> None:
    await a_quota(cluster, **{"count/jobs.batch": "0"})

    end = await KubernetesJobs(cluster.api(), cluster.namespace).run(a_job("exit 0"), Output())

    assert end.kind is ExitKind.NOT_STARTED
    assert "exceeded quota: none" in end.message


async def test_a_job_that_is_stopped_before_it_begins_never_does(cluster: Cluster) -> None:
    jobs = KubernetesJobs(cluster.api(), cluster.namespace)
    spec = replace(a_job("exit 0"), cpus=100_000.0)
    running = asyncio.create_task(jobs.run(spec, Output()))
    while not await cluster.admin.list(PODS, cluster.namespace):  # noqa: ASYNC110  # until it waits for a node
        await asyncio.sleep(0.02)

    await jobs.stop(spec.name, grace=SECOND)

    assert (await running).kind is ExitKind.CANCELLED
    assert (await jobs.run(spec, Output())).kind is ExitKind.CANCELLED, "and it is not run by who asks again"


async def test_a_pod_that_someone_deletes_has_not_succeeded(cluster: Cluster, tmp_path: Path) -> None:
    output = Output()
    jobs = KubernetesJobs(cluster.api(), cluster.namespace)
    running = asyncio.create_task(jobs.run(a_job(until_told(tmp_path / "never")), output))
    await output.written.wait()

    await cluster.admin.delete(PODS, cluster.namespace, (await pod_of(cluster))["metadata"]["name"])

    # A deleted pod is about to go: whoever looks in between still sees the signal.
    assert (await running).kind in {ExitKind.LOST, ExitKind.SIGNALLED}
    while not is_failed(await cluster.admin.get(JOBS, cluster.namespace, "op-1")):  # noqa: ASYNC110  # by a controller
        await asyncio.sleep(0.02)
    job = await cluster.admin.get(JOBS, cluster.namespace, "op-1")
    assert job["status"].get("active", 0) == 0, "no second pod takes its place"
    assert job["status"]["failed"] == 1


async def test_a_log_that_went_with_its_node_is_told_and_the_end_counts(cluster: Cluster, tmp_path: Path) -> None:
    output = Output()
    jobs = KubernetesJobs(cluster.api(), cluster.namespace, patience=timedelta())
    running = asyncio.create_task(jobs.run(a_job(until_told(tmp_path / "go", "exit 4")), output))
    await output.written.wait()

    cluster.kubelet.lose_log(cluster.namespace, "op-1")
    (tmp_path / "go").touch()

    assert await running == Exit(ExitKind.EXITED, 4)
    assert output.texts[0] == "begun"
    assert output[-1].stream is Stream.SYSTEM
    assert "cannot be read" in output[-1].text


async def test_mounts_of_the_machine_are_refused(cluster: Cluster) -> None:
    spec = replace(a_job("exit 0"), mounts=(MountSpec("/srv", "/srv"),))

    end = await KubernetesJobs(cluster.api(), cluster.namespace).run(spec, Output())

    assert end.kind is ExitKind.NOT_STARTED
    assert await cluster.admin.find(JOBS, cluster.namespace, "op-1") is None


async def test_a_job_without_network_is_picked_out_by_a_policy_that_lets_nothing_through(cluster: Cluster) -> None:
    spec = replace(a_job("exit 0"), network_disabled=True)

    await KubernetesJobs(cluster.api(), cluster.namespace).run(spec, Output())

    (policy,) = await cluster.admin.list(NETWORK_POLICIES, cluster.namespace)
    chosen = policy["spec"]["podSelector"]["matchLabels"]
    assert chosen.items() <= (await pod_of(cluster))["metadata"]["labels"].items()
    assert policy["spec"]["policyTypes"] == ["Ingress", "Egress"]
    assert not {"ingress", "egress"} & policy["spec"].keys()


async def test_jobs_are_found_by_labels_that_kubernetes_cannot_say(cluster: Cluster) -> None:
    jobs = KubernetesJobs(cluster.api(), cluster.namespace)
    await jobs.run(a_job("exit 0"), Output())

    assert await jobs.list_names("opsuite.step", "build/compile it") == ["op-1"]
    assert await jobs.list_names("opsuite.step", "build-compile-it") == []


async def test_a_job_gets_its_environment_word_for_word_and_no_token(cluster: Cluster) -> None:
    output = Output()
    spec = replace(a_job('echo "$GREETING"'), env={"GREETING": "$(HOME) stays"})

    await KubernetesJobs(cluster.api(), cluster.namespace).run(spec, output)

    pod = (await pod_of(cluster))["spec"]
    assert pod["automountServiceAccountToken"] is False
    assert pod["containers"][0]["env"] == [{"name": "GREETING", "value": "$$(HOME) stays"}]
    assert pod["containers"][0]["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "capabilities": {"drop": ["ALL"]},
    }
