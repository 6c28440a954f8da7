"""Runs containers on a Docker Engine; fits `port.ContainerRunner`.

**Once.** The engine lets a name exist once, so a container is created once whoever asks how often; who finds the name
taken adopts. Starting is not guarded like that (a container that has ended starts again), so only who created it starts
it. One that stays created and never starts belonged to a caller that died in between: it is started by whoever adopts
it after `start_patience`, which has to be longer than a living creator may stall (docs/adr/0020).

**Output.** The log is kept by the engine. While the container runs it is followed for the sake of speed; after its end
it is read once more, whole, and what was not delivered is. So a lost connection costs no line and doubles none.
On adoption the whole log comes again: the same lines in the same order with the same times, the mark of a cut among
them, so a caller that kept n lines skips n.

**Engine gone.** Before the container is known to exist that is Unavailable at once; later calls wait for the engine for
`patience`, then raise Unavailable, and the next `run` adopts. An engine without live restore stops its containers when
it dies; they then show as SIGNALLED.
"""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Awaitable, Callable, Coroutine, Iterator, Sequence
from contextlib import aclosing, contextmanager
from datetime import datetime, timedelta
from http import HTTPStatus
from typing import Any, Final, TypeVar

import structlog

from opsuite_kernel.clock import Clock, SystemClock
from opsuite_kernel.errors import Unavailable
from opsuite_platforms.docker_engine import ContainerState, DockerEngine, NameTaken, NoSuchImage, Refused
from opsuite_platforms.docker_output import ContainerOutput
from opsuite_platforms.port import ContainerSpec, Exit, ExitKind, OnOutput

DEFAULT_URL: Final = "unix:///var/run/docker.sock"
# Pause between two tries to reach an engine, and between two looks at a container that has yet to start.
PAUSE: Final = 0.1
# Longest time for which somebody who stops a container waits for the rest of its output.
LAST_WORDS_SECONDS: Final = 10.0
# Exit statuses from here to 128 + 64 mean death by signal: runc and shells report them like this.
SIGNAL_BASE: Final = 128
LAST_SIGNAL: Final = 64

log = structlog.get_logger()
T = TypeVar("T")


class DockerContainers:
    """Containers of one Docker Engine. Use it in one event loop; `close` it when nothing runs any more."""

    def __init__(
        self,
        url: str = DEFAULT_URL,
        *,
        clock: Clock | None = None,
        patience: timedelta = timedelta(seconds=30),
        start_patience: timedelta = timedelta(seconds=5),
    ) -> None:
        self._url = url
        self._clock = clock or SystemClock()
        self._patience = patience
        self._start_patience = start_patience
        self._lazy_engine: DockerEngine | None = None
        self._left: dict[str, ContainerOutput] = {}
        """Where the output of containers goes whose `run` was cancelled; that of the last call."""
        self._closed = False

    async def close(self) -> None:
        """Let go of the engine; containers run on."""
        self._closed = True
        if self._lazy_engine is not None:
            await self._lazy_engine.close()

    async def run(self, spec: ContainerSpec, on_output: OnOutput) -> Exit:
        """Create the container, or adopt the one of that name, follow its output from the start, and wait for its end.

        `spec.timeout` counts from the container's start, also if that was long before this call. The exit is read from
        the engine's record, so it stays the same until `forget`. Cancelling the call leaves the container running, for
        the next caller of that name to adopt. Raises: Unavailable.
        """
        try:
            await self._begin(spec)
        except Refused as refusal:
            return Exit(ExitKind.NOT_STARTED, message=refusal.message)
        output = ContainerOutput(spec.output_bytes, on_output, self._clock)
        try:
            return await self._follow_to_end(spec, output)
        except asyncio.CancelledError:
            self._left[spec.name] = output
            raise

    async def stop(self, name: str, *, grace: timedelta) -> None:
        """SIGTERM, then SIGKILL after `grace`, in whole seconds; returns when it has ended.

        What it wrote since a `run` of it was cancelled here goes to the `on_output` of that call, if the engine gives
        it in good time. One that does not exist is fine. Raises: Unavailable.
        """
        await self._patiently(lambda: self._engine().stop(name, grace))
        if (output := self._left.pop(name, None)) is not None:
            await self._read_last_words(name, output)

    async def forget(self, name: str) -> None:
        """Remove the container, running or not; one that does not exist is fine. Raises: Unavailable."""
        self._left.pop(name, None)
        with _refusal_as_unavailable():
            await self._engine().remove(name)

    async def list_names(self, label: str, value: str) -> Sequence[str]:
        """Names of the containers with that label, running or not, sorted. Raises: Unavailable."""
        with _refusal_as_unavailable():
            return await self._engine().names(label, value)

    async def check(self, image: str | None = None) -> None:
        """Return if the engine answers (and has, or can fetch, `image`). Raises: Unavailable, saying what to do."""
        engine = self._engine()
        with _refusal_as_unavailable():
            await engine.version()
            if image is None or await engine.has_image(image):
                return
        try:
            await engine.find_in_registry(image)
        except Refused as refusal:
            advice = f"image {image} is neither on the engine nor to be had from its registry: {refusal.message}"
            raise Unavailable(advice, reason="IMAGE_UNAVAILABLE", metadata={"image": image}) from refusal

    async def _begin(self, spec: ContainerSpec) -> None:
        """Return when the container has been started, here or by whoever created it. Raises: Refused, Unavailable."""
        try:
            await self._create_and_start(spec)
        except NameTaken:
            await self._adopt(spec.name)

    async def _create_and_start(self, spec: ContainerSpec) -> None:
        try:
            await _uninterrupted(self._create_and_start_local(spec))
        except NoSuchImage:
            await self._pull(spec.image)
            await _uninterrupted(self._create_and_start_local(spec))

    async def _create_and_start_local(self, spec: ContainerSpec) -> None:
        await self._engine().create(spec)
        await self._engine().start(spec.name)

    async def _pull(self, image: str) -> None:
        try:
            await self._engine().pull(image)
        except Refused as refusal:
            message = f"image {image} is not on the engine and cannot be pulled: {refusal.message}"
            raise Refused(refusal.status, message) from refusal

    async def _adopt(self, name: str) -> None:
        """Return when the container of that name has been started by its creator, or start it in a dead one's place."""
        begin = self._clock.monotonic()
        while not await self._has_started(name):
            if self._clock.monotonic() - begin >= self._start_patience.total_seconds():
                await self._start_orphan(name)
                return
            await asyncio.sleep(PAUSE)

    async def _has_started(self, name: str) -> bool:
        """Also false while it is being created: its name is taken then, but the engine does not show it yet."""
        state = await self._patiently(lambda: self._engine().state(name))
        return state is not None and state.status != "created"

    async def _start_orphan(self, name: str) -> None:
        log.info("container_adopted_unstarted", container=name)
        try:
            await self._engine().start(name)
        except Refused as refusal:
            if refusal.status != HTTPStatus.NOT_FOUND:
                raise
            raise Unavailable(f"container {name} was removed meanwhile", metadata={"name": name}) from refusal

    async def _follow_to_end(self, spec: ContainerSpec, output: ContainerOutput) -> Exit:
        following = asyncio.create_task(self._follow(spec.name, output))
        try:
            timed_out = await self._wait_or_stop(spec)
        finally:
            following.cancel()
            await asyncio.wait({following})
        if not following.cancelled():
            following.result()  # raises what the caller's on_output raised
        # What following missed. The engine has written the whole log before it calls a container ended.
        await self._patiently(lambda: self._read_log(spec.name, output, follow=False))
        return exit_of(await self._patiently(lambda: self._engine().state(spec.name)), spec, timed_out=timed_out)

    async def _wait_or_stop(self, spec: ContainerSpec) -> bool:
        """Return at the container's end: whether it had to be stopped for its timeout."""
        state = await self._patiently(lambda: self._engine().state(spec.name))
        if state is None or state.started_at is None or state.status == "exited":
            return False
        try:
            async with asyncio.timeout(self._seconds_left(spec, state.started_at)):
                await self._patiently(lambda: self._engine().wait(spec.name))
        except TimeoutError:
            await self._patiently(lambda: self._engine().stop(spec.name, spec.grace))
            return True
        return False

    def _seconds_left(self, spec: ContainerSpec, started_at: datetime) -> float:
        """Until the timeout. The engine's clock is taken to agree with ours; never more than the whole timeout."""
        left = spec.timeout - (self._clock.now() - started_at)
        return min(spec.timeout, max(timedelta(), left)).total_seconds()

    async def _follow(self, name: str, output: ContainerOutput) -> None:
        """Deliver output as it comes, until cancelled: whether the container has ended is for others to say."""
        while not output.is_full:
            try:
                await self._read_log(name, output, follow=True)
            except (Unavailable, Refused):
                log.warning("container_log_interrupted", container=name)
            await asyncio.sleep(PAUSE)

    async def _read_log(self, name: str, output: ContainerOutput, *, follow: bool) -> None:
        reading = output.reading()
        async with aclosing(self._engine().logs(name, follow=follow)) as frames:
            async for data in frames:
                reading.feed(data)
                if output.is_full:
                    return
        if not follow:
            reading.finish()

    async def _read_last_words(self, name: str, output: ContainerOutput) -> None:
        try:
            async with asyncio.timeout(LAST_WORDS_SECONDS):
                await self._read_log(name, output, follow=False)
        except (TimeoutError, Unavailable, Refused):
            log.warning("container_log_interrupted", container=name)

    async def _patiently(self, call: Callable[[], Awaitable[T]]) -> T:
        """The result of `call`, made again while the engine is away or not itself. Raises: Unavailable at the end."""
        begin = self._clock.monotonic()
        while True:
            try:
                with _refusal_as_unavailable():
                    return await call()
            except Unavailable:
                if self._closed or self._clock.monotonic() - begin >= self._patience.total_seconds():
                    raise
            await asyncio.sleep(PAUSE)

    def _engine(self) -> DockerEngine:
        if self._closed:
            raise Unavailable("this connection to the Docker engine was closed", reason="DOCKER_UNAVAILABLE")
        if self._lazy_engine is None:
            self._lazy_engine = DockerEngine(self._url)
        return self._lazy_engine


def exit_of(state: ContainerState | None, spec: ContainerSpec, *, timed_out: bool) -> Exit:
    """How a container ended, by the engine's record; `timed_out`: it was stopped by us for that reason."""
    if state is None:
        return Exit(ExitKind.LOST, message=f"container {spec.name} was removed before its end could be read")
    if timed_out or _ran(state) >= spec.timeout:
        return Exit(ExitKind.TIMED_OUT, state.exit_code, f"stopped after {spec.timeout.total_seconds():g} s")
    message = _reason(state, spec)
    if SIGNAL_BASE < state.exit_code <= SIGNAL_BASE + LAST_SIGNAL:
        return Exit(ExitKind.SIGNALLED, state.exit_code - SIGNAL_BASE, message)
    return Exit(ExitKind.EXITED, state.exit_code, message)


def _reason(state: ContainerState, spec: ContainerSpec) -> str:
    if state.oom_killed:
        return f"out of memory: the limit is {spec.memory_bytes} bytes"
    if state.exit_code == SIGNAL_BASE + signal.SIGKILL:
        # An engine that hears of the end before it hears of the lack of memory never records the latter.
        return f"killed: out of memory (the limit is {spec.memory_bytes} bytes), or by someone"
    return state.error


def _ran(state: ContainerState) -> timedelta:
    if state.started_at is None or state.finished_at is None:
        return timedelta()
    return state.finished_at - state.started_at


@contextmanager
def _refusal_as_unavailable() -> Iterator[None]:
    """For calls that a sound engine never refuses: it is about to stop, or its disk is full."""
    try:
        yield
    except Refused as refusal:
        raise Unavailable(f"the Docker engine refuses: {refusal.message}", reason="DOCKER_UNAVAILABLE") from refusal


async def _uninterrupted(work: Coroutine[Any, Any, None]) -> None:
    """Do `work` to its end even if cancelled meanwhile, and only then raise that."""
    task = asyncio.ensure_future(work)
    try:
        await asyncio.shield(task)
    except asyncio.CancelledError:
        await asyncio.wait({task})
        raise
