"""A workload of a pipeline as its platform is asked for it."""

from __future__ import annotations

from collections.abc import Mapping

from opsuite_deployer.application.ports import Machine
from opsuite_deployer.domain.pipeline import Workload, WorkloadPlatform
from opsuite_platforms.port import PortSpec, WorkloadSpec


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
