"""`Spawner`: runs commands through a resident process, so that a step costs a `posix_spawn` and leaves nothing behind.

Service → guard → nursery (started before the service has threads) → workers, one per step at a time, kept for the next.
The service talks to each worker directly and reads the program's pipes itself; the nursery is asked only for a
new worker, or when one died. Each worker is the subreaper of its step, so two steps at once never mix up what they left
behind, and no mark in the environment nor cgroup is needed to tell.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Sequence
from contextlib import suppress
from datetime import datetime
from typing import Self

from opsuite_kernel.clock import Clock, SystemClock
from opsuite_kernel.errors import Unavailable
from opsuite_platforms.port import CommandSpec, Exit, ExitKind, OnOutput, OutputLine, Stream
from opsuite_platforms.spawner.idle import IdleWorkers
from opsuite_platforms.spawner.link import Answer, Nursery, Worker
from opsuite_platforms.spawner.output import Output
from opsuite_platforms.spawner.wire import Disconnected, Message

READ_BYTES = 65_536
WATCH_AFTER_SECONDS = 0.01
"""Most programs that write little have ended before; their pipes hold it until then, and are read just once."""
MAX_LAST_READS = 32
"""Pipes hold 1 MiB at most by default limits; a foreign process that was handed one could write for ever."""


class Spawner:
    """Fits `opsuite_platforms.port.CommandRunner`. Build it with `start`."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._nursery: Nursery | None = None
        self._idle = IdleWorkers()
        self._busy = set[Worker]()
        self._is_closed = False

    @classmethod
    async def start(cls, clock: Clock | None = None) -> Self:
        """A spawner that is ready. Call it before the process has other threads. Raises: Unavailable."""
        spawner = cls(clock or SystemClock())
        spawner._release(await spawner._acquire())
        return spawner

    async def close(self) -> None:
        """Kill what still runs; returns when all of it is dead. What `run` is waiting for ends as LOST."""
        self._is_closed = True
        self._idle.close()
        for worker in list(self._busy):
            worker.close()
        if self._nursery is not None:
            self._nursery.close()
            await self._nursery.wait()

    async def run(self, spec: CommandSpec, on_output: OnOutput) -> Exit:
        """Run one program to its end; the port tells the rest."""
        worker = await self._acquire()
        self._busy.add(worker)
        try:
            return await self._run_on(worker, spec, on_output)
        finally:
            self._busy.discard(worker)
            self._release(worker)

    async def _acquire(self) -> Worker:
        """An idle worker, or a new one; a dead nursery is replaced. Raises: Unavailable."""
        if self._is_closed:
            raise Unavailable("the spawner is closed")
        try:
            nursery = await self._need_nursery()
            return self._idle.take() or await nursery.make_worker()
        except (Disconnected, OSError) as error:
            raise Unavailable("the spawner cannot make a worker") from error

    async def _need_nursery(self) -> Nursery:
        """The nursery; a dead one is replaced, and its workers are dying with it."""
        if self._nursery is None or self._nursery.is_closed:
            dead, self._nursery = self._nursery, Nursery()
            self._idle.close()
            if dead is not None:
                await dead.wait()
        return self._nursery

    def _release(self, worker: Worker) -> None:
        if worker.is_closed:
            return
        if self._is_closed:
            worker.close()
        else:
            self._idle.keep(worker)

    async def _run_on(self, worker: Worker, spec: CommandSpec, on_output: OnOutput) -> Exit:
        reader = Reader(Output(spec.output_bytes, spec.secrets), self._clock, on_output)
        try:
            answer = await worker.ask(request_of(spec), reader.writing_ends)
            reader.listen()
            message = await self._outcome(worker, answer)
        except Disconnected:
            message = await self._lost(worker)
        finally:
            reader.close()
        if message["kind"] == ExitKind.LOST.value:
            worker.close()  # it ends with the nursery
        if message["left"]:
            note = f"killed what the program left running: {', '.join(message['left'])}"
            on_output([OutputLine(self._clock.now(), Stream.SYSTEM, note)])
        return Exit(ExitKind(message["kind"]), message["code"], message["message"])

    async def _outcome(self, worker: Worker, answer: Answer) -> Message:
        """The answer. When cancelled, tells the worker and still waits: nothing may be alive after that."""
        cancelled: asyncio.CancelledError | None = None
        while True:
            try:
                message, _ = await answer.wait()
                break
            except asyncio.CancelledError as error:
                if cancelled is None:
                    with suppress(Disconnected):  # the answer will say the same
                        await worker.send({"cancel": True})
                cancelled = error
            except Disconnected:
                if cancelled is None:
                    raise
                message = await self._lost(worker)
                break
        if cancelled is not None:
            raise cancelled
        return message

    async def _lost(self, worker: Worker) -> Message:
        """The worker died: what it minded goes to its nursery, or to the guard if that is gone as well."""
        worker.close()
        message = "the worker that minded the program died"
        try:
            await worker.nursery.sweep(worker.pid)
        except Disconnected:
            message = "the spawner died"
            await worker.nursery.wait()
        return {"kind": "lost", "code": None, "message": message, "left": []}


def request_of(spec: CommandSpec) -> Message:
    """The spec as workers read it."""
    limits = {"memory": spec.memory_bytes, "cpu": spec.cpu_seconds, "file_size": spec.file_size_bytes}
    return {
        "argv": spec.argv,
        "directory": spec.directory,
        "env": dict(spec.env),
        "timeout": spec.timeout.total_seconds(),
        "grace": spec.grace.total_seconds(),
        "limits": {name: value for name, value in limits.items() if value is not None},
    }


class Reader:
    """Reads the two pipes of one program as fast as it writes, whatever becomes of the bytes."""

    def __init__(self, output: Output, clock: Clock, on_output: OnOutput) -> None:
        self._output = output
        self._clock = clock
        self._on_output = on_output
        self._loop = asyncio.get_running_loop()
        stdout, out = os.pipe()
        stderr, err = os.pipe()
        self.writing_ends = [out, err]
        self._pipes = {stdout: Stream.STDOUT, stderr: Stream.STDERR}
        for pipe in self._pipes:
            os.set_blocking(pipe, False)
        self._watched: set[int] = set()
        self._timer: asyncio.TimerHandle | None = None

    def listen(self) -> None:
        """Start reading; the program has its ends of the pipes by now."""
        self._close_writing_ends()
        self._timer = self._loop.call_later(WATCH_AFTER_SECONDS, self._watch)

    def close(self) -> None:
        """Every writer is dead: read what is still in the pipes, and deliver the end of the output."""
        self._close_writing_ends()
        if self._timer is not None:
            self._timer.cancel()
        for pipe, stream in self._pipes.items():
            self._unwatch(pipe)
            for _ in range(MAX_LAST_READS):
                if not self._read(pipe, stream):
                    break
            os.close(pipe)
        self._pipes.clear()
        self._deliver(self._output.finish)

    def _read(self, pipe: int, stream: Stream) -> bool:
        """Read once; whether there was something."""
        try:
            data = os.read(pipe, READ_BYTES)
        except BlockingIOError:
            return False
        if data:
            self._deliver(lambda now: self._output.feed(stream, data, now))
        else:
            self._unwatch(pipe)
        return bool(data)

    def _watch(self) -> None:
        for pipe, stream in self._pipes.items():
            self._loop.add_reader(pipe, self._read, pipe, stream)
            self._watched.add(pipe)

    def _unwatch(self, pipe: int) -> None:
        if pipe in self._watched:
            self._watched.discard(pipe)
            self._loop.remove_reader(pipe)

    def _deliver(self, lines_at: Callable[[datetime], Sequence[OutputLine]]) -> None:
        if lines := lines_at(self._clock.now()):
            self._on_output(lines)

    def _close_writing_ends(self) -> None:
        while self.writing_ends:
            os.close(self.writing_ends.pop())
