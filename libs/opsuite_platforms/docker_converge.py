"""The containers that are replicas, on one Docker Engine: looking at them, and making them agree with a record.

Whoever converges holds the workload's lock, so the only others that change its containers are people, and callers that
died while the engine carried out their last call. Either is met by looking again.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Iterable, Iterator, Sequence
from contextlib import aclosing, contextmanager
from datetime import timedelta
from http import HTTPStatus
from typing import Final, TypeVar

import structlog

from opsuite_kernel.clock import Clock
from opsuite_kernel.errors import Conflict, Unavailable
from opsuite_platforms.docker_engine import (
    ContainerState,
    DockerEngine,
    FoundContainer,
    NameTaken,
    NoSuchImage,
    PortTaken,
    Refused,
    refusal_as_unavailable,
)
from opsuite_platforms.docker_output import LogReader
from opsuite_platforms.docker_replicas import KEPT, PLATFORM, WORKLOAD, Identity, config_of, difference, index_of
from opsuite_platforms.workload_files import Record

# Pause between two looks at an engine that is still busy with an earlier call for the same container.
PAUSE: Final = 0.1
LONGEST_LOG_LINE_BYTES: Final = 65_536

log = structlog.get_logger()
T = TypeVar("T")


class _Overtaken(Exception):
    """The engine changed between the look and the call."""


class ReplicaContainers:
    """The containers of one platform; those of others on the engine are never touched."""

    def __init__(self, engine: DockerEngine, identity: Identity, *, patience: timedelta, clock: Clock) -> None:
        self._engine = engine
        self.identity = identity
        self._patience = patience
        self._clock = clock

    async def close(self) -> None:
        """Let go of the engine; no call may be under way."""
        await self._engine.close()

    async def find(self, workload: str | None = None) -> list[FoundContainer]:
        """The containers of one workload, or of all. Raises: Unavailable."""
        labels = {PLATFORM: self.identity.id} | ({WORKLOAD: workload} if workload is not None else {})
        with refusal_as_unavailable():
            return await self._engine.find(labels)

    async def states(self, containers: Iterable[FoundContainer]) -> list[ContainerState | None]:
        """What is recorded about each; None for one that is gone. Raises: Unavailable."""
        return await together(self._state(container.id) for container in containers)

    async def tail(self, container: str, lines: int) -> Sequence[str]:
        """The last lines it wrote, oldest first; empty when it does not exist. Raises: Unavailable."""
        reader, texts = LogReader(LONGEST_LOG_LINE_BYTES), list[str]()
        with refusal_as_unavailable():
            async with aclosing(self._engine.logs(container, follow=False, last=lines)) as frames:
                async for data in frames:
                    texts += [line.text for line in reader.feed(data)]
        return [*texts, *(line.text for line in reader.rest())][-lines:]

    async def check(self) -> None:
        """Return if the engine answers. Raises: Unavailable."""
        with refusal_as_unavailable():
            await self._engine.version()

    async def fetch(self, image: str) -> None:
        """Have the image on the engine; pulled only if it is not there. Raises: Conflict, Unavailable."""
        with refusal_as_unavailable():
            if await self._engine.has_image(image):
                return
        try:
            await self._engine.pull(image)
        except Refused as refusal:
            message = f"image {image} is not on the engine and cannot be pulled: {refusal.message}"
            raise Conflict(message, reason="SPEC_IMPOSSIBLE", metadata={"image": image}) from refusal

    async def converge(self, record: Record) -> frozenset[int]:
        """Make the engine agree with the record: what is not wanted stops, then what is missing starts.

        Returns the replicas that could not be started because somebody has a port of theirs. Of what could not be
        started for another reason the engine keeps the reason.
        Raises: Conflict (the engine refuses the spec; a stranger has the name), Unavailable.
        """
        begin = self._clock.monotonic()
        while True:
            try:
                return await self._converge_once(record)
            except _Overtaken as overtaken:
                if self._clock.monotonic() - begin >= self._patience.total_seconds():
                    message = f"the Docker engine does not finish an earlier call for {record.spec.name}"
                    raise Unavailable(message, reason="DOCKER_UNAVAILABLE") from overtaken
            await asyncio.sleep(PAUSE)

    async def discard(self, containers: Iterable[FoundContainer], grace: timedelta) -> None:
        """Stop and remove them, all at once. Raises: Unavailable."""
        await together(self._discard(container, grace) for container in containers)

    async def restart(self, container: FoundContainer, grace: timedelta) -> None:
        """Stop and start it; if it cannot be started, the engine keeps the reason. Raises: Unavailable."""
        try:
            await self._engine.restart(container.id, grace)
        except Refused as refusal:
            log.warning("container_not_started", container=container.name, error=refusal.message)

    async def _converge_once(self, record: Record) -> frozenset[int]:
        todo = difference(record, self.identity, await self.find(record.spec.name))
        await self.discard(todo.surplus, record.spec.grace)
        await together(self._create(record, index) for index in todo.missing)
        to_start = [*todo.missing, *(index_of(container) for container in todo.idle)]
        have_ports = await together(self._start(self.identity.container(record, index)) for index in to_start)
        return frozenset(index for index, has_ports in zip(to_start, have_ports, strict=True) if not has_ports)

    async def _create(self, record: Record, index: int) -> None:
        name = self.identity.container(record, index)
        try:
            with _refusal_as_conflict(name):
                await self._engine.create_configured(name, config_of(record, self.identity, index))
        except NameTaken as taken:
            await self._refuse_stranger(name)
            raise _Overtaken from taken

    async def _refuse_stranger(self, container: str) -> None:
        """Return if the name belongs to a container of ours, or to one that the engine does not show yet."""
        with refusal_as_unavailable():
            labels = await self._engine.labels(container)
        if labels is not None and labels.get(PLATFORM) != self.identity.id:
            message = f"container {container} on this engine is not ours: remove it, or choose another prefix"
            raise Conflict(message, reason="NAME_TAKEN", metadata={"container": container})

    async def _start(self, name: str) -> bool:
        """Whether it has its ports now."""
        try:
            await self._engine.start(name)
        except PortTaken:
            return False
        except Refused as refusal:
            if refusal.status == HTTPStatus.NOT_FOUND and await self._state(name) is None:
                raise _Overtaken from refusal
            log.warning("container_not_started", container=name, error=refusal.message)
        return True

    async def _discard(self, container: FoundContainer, grace: timedelta) -> None:
        with refusal_as_unavailable():
            if container.status in KEPT:
                await self._engine.stop(container.id, grace)
            await self._engine.remove(container.id)

    async def _state(self, container: str) -> ContainerState | None:
        with refusal_as_unavailable():
            return await self._engine.state(container)


@contextmanager
def _refusal_as_conflict(container: str) -> Iterator[None]:
    """For the creation of a container: what is wrong with its description will be wrong again."""
    try:
        yield
    except NameTaken:
        raise
    except Refused as refusal:
        if refusal.status >= HTTPStatus.INTERNAL_SERVER_ERROR and not isinstance(refusal, NoSuchImage):
            raise Unavailable(f"the Docker engine refuses: {refusal.message}", reason="DOCKER_UNAVAILABLE") from refusal
        raise Conflict(
            f"{container}: the Docker engine refuses it: {refusal.message}", reason="SPEC_IMPOSSIBLE"
        ) from refusal


async def together(works: Iterable[Awaitable[T]]) -> list[T]:
    """Their results, in order. All come to their end before the first fault is raised: none goes on unwatched."""
    results = await asyncio.gather(*works, return_exceptions=True)
    for result in results:
        if isinstance(result, BaseException):
            raise result
    return [result for result in results if not isinstance(result, BaseException)]
