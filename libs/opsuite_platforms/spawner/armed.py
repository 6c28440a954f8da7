"""One command on a worker of its own, with everything done but the one message that starts it."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from contextlib import suppress

from opsuite_kernel.clock import Clock
from opsuite_platforms.port import CommandSpec, Exit, ExitKind, OnOutput, OutputLine, Stream
from opsuite_platforms.spawner.link import Worker
from opsuite_platforms.spawner.output import Output
from opsuite_platforms.spawner.reader import Reader
from opsuite_platforms.spawner.wire import Disconnected, Message, encode


class Armed:
    """Begin it from any thread, then `run` it on the event loop; or `drop` it."""

    def __init__(self, worker: Worker, spec: CommandSpec, clock: Clock, release: Callable[[Worker], None]) -> None:
        """`release` gets the worker back, once, when nothing of the command is alive."""
        self._worker = worker
        self._clock = clock
        self._release = release
        self._request = encode(request_of(spec))
        self._reader = Reader(Output(spec.output_bytes, spec.secrets), clock)
        self._answer = worker.expect()
        self._deciding = threading.Lock()
        self._has_begun = False
        self._is_dropped = False
        self._unsent: bytes | None = None
        """What of the request is not sent; None: none of it could be."""

    def begin(self) -> None:
        """Start the program, unless that was done or it was dropped. Waits for nothing; `run` tells what went wrong."""
        with self._deciding:
            if self._has_begun or self._is_dropped:
                return
            self._has_begun = True
            with suppress(Disconnected):
                sent = self._worker.send_now(self._request, self._reader.writing_ends)
                self._unsent = self._request[sent:]

    async def run(self, on_output: OnOutput) -> Exit:
        """Begin if need be, and go on to the end; `CommandRunner.run` tells the rest."""
        try:
            return await self._run(on_output)
        finally:
            self._release(self._worker)

    async def drop(self) -> None:
        """Take it back, in place of running it; what has begun is killed, and dead when this returns."""
        with self._deciding:
            self._is_dropped = True
        self._reader.close()
        try:
            if self._has_begun:
                await self._lost()
            else:
                self._worker.expect_nothing()
        finally:
            self._release(self._worker)

    async def _run(self, on_output: OnOutput) -> Exit:
        try:
            self.begin()
            await self._finish_sending()
            self._reader.listen(on_output)
            message = await self._outcome()
        except Disconnected:
            message = await self._lost()
        finally:
            self._reader.close()
        if message["kind"] == ExitKind.LOST.value:
            self._worker.close()  # it ends with the nursery
        if message["left"]:
            note = f"killed what the program left running: {', '.join(message['left'])}"
            on_output([OutputLine(self._clock.now(), Stream.SYSTEM, note)])
        return Exit(ExitKind(message["kind"]), message["code"], message["message"])

    async def _finish_sending(self) -> None:
        if self._unsent is None:
            raise Disconnected
        if self._unsent:
            await self._worker.send_rest(self._unsent)

    async def _outcome(self) -> Message:
        """The answer. When cancelled, tells the worker and still waits: nothing may be alive after that."""
        cancelled: asyncio.CancelledError | None = None
        while True:
            try:
                message, _ = await self._answer.wait()
                break
            except asyncio.CancelledError as error:
                if cancelled is None:
                    with suppress(Disconnected):  # the answer will say the same
                        await self._worker.send({"cancel": True})
                cancelled = error
            except Disconnected:
                if cancelled is None:
                    raise
                message = await self._lost()
                break
        if cancelled is not None:
            raise cancelled
        return message

    async def _lost(self) -> Message:
        """The worker died, or shall: what it minded goes to its nursery, or to the guard if that is gone as well."""
        worker = self._worker
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
