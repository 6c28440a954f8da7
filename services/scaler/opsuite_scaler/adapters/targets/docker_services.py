"""Services of a Docker Swarm, by the API of one of its managers. Members are the tasks that are meant to run.

A service is replaced in the version that was read; the manager refuses when it has changed. It changes for other
reasons than its size too, so after a refusal the size is read again, and only another one is a conflict.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime
from http import HTTPStatus
from typing import Any, Final

import aiodocker
import aiohttp

from opsuite_kernel.errors import Conflict, InvalidInput, NotFound, Unavailable
from opsuite_platforms.docker import DEFAULT_URL
from opsuite_platforms.usage import CPU, MEMORY
from opsuite_scaler.adapters.targets.registry import unknown
from opsuite_scaler.adapters.targets.workloads import size_changed
from opsuite_scaler.application.ports import Scale
from opsuite_scaler.domain.policy import TargetRef
from opsuite_scaler.domain.snapshot import Member, MemberPhase

CALL_SECONDS: Final = 10.0
TRIES: Final = 20
OUT_OF_SEQUENCE: Final = "update out of sequence"
ENDED: Final = frozenset({"complete", "shutdown", "failed", "rejected", "orphaned", "remove"})


class DockerServices:
    """Fits `targets.registry.SizedTargets`, for targets of kind DOCKER_SERVICE. `close` it at the end."""

    def __init__(self, url: str = DEFAULT_URL) -> None:
        self._url = url
        self._lazy_docker: aiodocker.Docker | None = None

    async def close(self) -> None:
        """Let go of the engine."""
        if self._lazy_docker is not None:
            await self._lazy_docker.close()
            self._lazy_docker = None

    async def get_scale(self, ref: TargetRef) -> Scale:
        """Size and tasks."""
        with self._translated(ref.name):
            service = await self._docker.services.inspect(ref.name)
            filters = {"service": [service["ID"]], "desired-state": ["running"]}
            tasks = await self._docker.tasks.list(filters=filters)
        members = tuple(member_of(ref.name, task) for task in sorted(tasks, key=slot_of))
        return Scale(size_of(service), len(members), members, version_of(service))

    async def set_scale(self, ref: TargetRef, replicas: int, *, expected: Scale) -> None:
        """Ask for a size of the service as it is, if it has the size of `expected` still."""
        for _ in range(TRIES):
            with self._translated(ref.name):
                service = await self._docker.services.inspect(ref.name)
                if (size := size_of(service)) != expected.spec_replicas:
                    raise size_changed(ref.name, size, expected.spec_replicas)
                if await self._update(service, replicas):
                    return
        raise Unavailable(f"{ref.name} changes faster than it can be changed", reason="DOCKER_UNAVAILABLE")

    async def _update(self, service: Mapping[str, Any], replicas: int) -> bool:
        """Whether the service was still as it had been read."""
        spec = {**service["Spec"], "Mode": {"Replicated": {"Replicas": replicas}}}
        docker = self._docker
        address = f"{docker.docker_host}/{docker.api_version}/services/{service['ID']}/update"
        params = {"version": version_of(service)}
        async with docker.session.post(address, params=params, json=spec) as response:
            if response.status == HTTPStatus.OK:
                return True
            message = str(json.loads(await response.read() or b"{}").get("message", ""))
        if OUT_OF_SEQUENCE in message:
            return False
        raise aiodocker.DockerError(response.status, message)

    @property
    def _docker(self) -> aiodocker.Docker:
        if self._lazy_docker is None:
            self._lazy_docker = aiodocker.Docker(url=self._url, timeout=aiohttp.ClientTimeout(total=CALL_SECONDS))
        return self._lazy_docker

    @contextmanager
    def _translated(self, name: str) -> Iterator[None]:
        try:
            yield
        except aiodocker.DockerError as refusal:
            if refusal.status == HTTPStatus.NOT_FOUND:
                raise NotFound("service", name) from refusal
            if refusal.status == HTTPStatus.BAD_REQUEST:
                raise Conflict(f"{name}: the Docker engine refuses: {refusal.message}") from refusal
            raise self._unavailable(refusal.message) from refusal  # 503: it is no manager of a swarm
        except (aiohttp.ClientError, TimeoutError, OSError) as fault:
            raise self._unavailable(str(fault) or type(fault).__name__) from fault

    def _unavailable(self, why: str) -> Unavailable:
        message = f"the Docker engine at {self._url} cannot tell of services: {why}"
        return Unavailable(message, reason="DOCKER_UNAVAILABLE", metadata={"url": self._url})


def size_of(service: Mapping[str, Any]) -> int:
    """The size asked for. Raises: InvalidInput (one on every node has no size)."""
    mode = service["Spec"].get("Mode") or {}
    if "Replicated" not in mode:
        raise not_replicated(service["Spec"]["Name"])
    return int(mode["Replicated"].get("Replicas", 0))


def not_replicated(name: str) -> InvalidInput:
    """The refusal of a service that runs once on every node, or to its end."""
    return unknown(f"{name} is not a replicated service, and has no size to set")


def version_of(service: Mapping[str, Any]) -> str:
    """What the swarm calls this state of the service."""
    return str(service["Version"]["Index"])


def slot_of(task: Mapping[str, Any]) -> int:
    """Number of the task within its service."""
    return int(task.get("Slot", 0))


def member_of(service: str, task: Mapping[str, Any]) -> Member:
    """A task; it is ready when its container runs, which with a health check means that it is healthy."""
    status = task["Status"]
    is_running = status["State"] == "running"
    since = datetime.fromisoformat(status["Timestamp"]) if is_running else None
    return Member(
        name=f"{service}.{slot_of(task)}.{task['ID']}",
        phase=phase_of(status["State"]),
        ready=is_running,
        started_at=since,
        ready_changed_at=since,
        requests=requests_of(task["Spec"]),
    )


def phase_of(state: str) -> MemberPhase:
    """Where a task that is meant to run stands."""
    if state in ENDED:
        return MemberPhase.FAILED
    return MemberPhase.RUNNING if state == "running" else MemberPhase.PENDING


def requests_of(spec: Mapping[str, Any]) -> Mapping[str, float]:
    """What is reserved for each task."""
    reserved = (spec.get("Resources") or {}).get("Reservations") or {}
    asked = {CPU: reserved.get("NanoCPUs", 0) / 1e6, MEMORY: float(reserved.get("MemoryBytes", 0))}
    return {resource: amount for resource, amount in asked.items() if amount}
