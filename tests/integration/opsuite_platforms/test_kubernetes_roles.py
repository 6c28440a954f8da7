"""The Role that we ship grants what the adapters ask for, by the API server's own record, and nothing else."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import timedelta

from kube import WORKLOADS, Cluster, cluster, control_plane, kubelet
from kube_rights import rights_granted, rights_used

from opsuite_platforms.kubernetes import KubernetesPlatform
from opsuite_platforms.kubernetes_jobs import KubernetesJobs
from opsuite_platforms.port import ContainerSpec, PortSpec, ReplicaPhase, WorkloadSpec

__all__ = ["cluster", "control_plane", "kubelet"]

SECOND = timedelta(seconds=1)


async def test_the_role_of_the_deployer_grants_what_it_does_and_nothing_else(cluster: Cluster) -> None:
    await use_every_verb_of_workloads(KubernetesPlatform(cluster.api(), cluster.namespace))
    await use_every_verb_of_jobs(KubernetesJobs(cluster.api(), cluster.namespace))

    used = set(rights_used(cluster))
    granted = set(rights_granted(WORKLOADS.read_text()))

    assert used - granted == set()
    assert granted - used == set()


async def use_every_verb_of_workloads(platform: KubernetesPlatform) -> None:
    spec = WorkloadSpec("web", "1.0.0", (), "/", ports=(PortSpec("http"),), image="app:1", grace=SECOND)
    await platform.check()
    await platform.apply(spec, epoch=1)
    await platform.apply(replace(spec, version="2.0.0"), epoch=1)
    while (status := await platform.observe("web")).replicas[0].phase is not ReplicaPhase.RUNNING:  # noqa: ASYNC110  # asked, it does not tell
        await asyncio.sleep(0.02)
    await platform.logs("web", status.replicas[0].name)
    await platform.scale("web", 2)
    await platform.restart("web", status.replicas[0].name)
    await platform.list_workloads()
    await platform.remove("web")


async def use_every_verb_of_jobs(jobs: KubernetesJobs) -> None:
    command = ("sh", "-c", "echo begun; exec sleep 1000")
    spec = ContainerSpec("op-1", "tools:1", command, {}, {}, timedelta(seconds=60), network_disabled=True, grace=SECOND)
    begun = asyncio.Event()
    running = asyncio.create_task(jobs.run(spec, lambda _: begun.set()))
    await begun.wait()
    await jobs.stop("op-1", grace=SECOND)
    await running
    await jobs.list_names("opsuite.run", "1")
    await jobs.forget("op-1")
