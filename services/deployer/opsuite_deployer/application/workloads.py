"""A workload of a pipeline as its platform is asked for it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from opsuite_deployer.application.ports import Machine
from opsuite_deployer.domain.pipeline import Workload, WorkloadPlatform
from opsuite_deployer.domain.revisions import revision_name
from opsuite_deployer.domain.routing import ReplicaHealth
from opsuite_platforms.port import PortSpec, Readiness, WorkloadSpec


def workload_spec(workload: Workload, machine: Machine, env: Mapping[str, str]) -> WorkloadSpec:
    """The spec of a workload whose templates are filled; `env` comes before what the workload itself sets.

    Raises InvalidInput: the program of a process, or its directory, is not there or not allowed.
    """
    directory, command = "", workload.command
    if workload.platform is WorkloadPlatform.PROCESS:
        directory = machine.directory(workload.directory)
        command = machine.workload(workload.command, directory)
        env = {"PATH": machine.search_path(), **env}
    return WorkloadSpec(
        name=workload.workload,
        version=workload.version,
        command=command,
        directory=directory,
        env={**env, **workload.env},
        ports=tuple(PortSpec(port.name, port.number) for port in workload.ports),
        replicas=workload.replicas,
        image=workload.image,
        cpus=workload.cpus,
        memory_bytes=workload.memory_bytes,
        grace=workload.grace,
    )


def revision_spec(
    workload: Workload, health: ReplicaHealth | None, machine: Machine, env: Mapping[str, str]
) -> WorkloadSpec:
    """The spec of a revision. `env` holds nothing that differs from deployment to deployment. Raises InvalidInput."""
    readiness = None
    if health is not None and workload.ports:
        port = health.port or workload.ports[0].name
        readiness = Readiness(port, health.path, interval=health.interval, timeout=health.timeout)
    spec = workload_spec(workload, machine, env)
    return replace(spec, name=revision_name(workload), part_of=workload.workload, readiness=readiness)
