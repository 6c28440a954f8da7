"""`Spawner`: runs commands through a resident process, so that a step costs a `posix_spawn` and leaves nothing behind.

Service → guard → nursery (started before the service has threads) → workers, one per step at a time, kept for the next.
The service talks to each worker directly and reads the program's pipes itself; the nursery is asked only for a
new worker, or when one died. Each worker is the subreaper of its step, so two steps at once never mix up what they left
behind, and no mark in the environment nor cgroup is needed to tell.

A command may be armed before it may start: then the thread that commits its intent starts it, and no event loop has to
be woken for that (docs/adr/0028).
"""

from __future__ import annotations

from typing import Self

from opsuite_kernel.clock import Clock, SystemClock
from opsuite_kernel.errors import Unavailable
from opsuite_platforms.port import CommandSpec, Exit, OnOutput
from opsuite_platforms.spawner.armed import Armed
from opsuite_platforms.spawner.idle import IdleWorkers
from opsuite_platforms.spawner.link import Nursery, Worker
from opsuite_platforms.spawner.wire import Disconnected


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
        return await self._arm(await self._acquire(), spec).run(on_output)

    def arm(self, spec: CommandSpec) -> Armed | None:
        """Get ready to run a program, so that any thread can start it at once; None if that would take waiting.

        What is armed has to be run or dropped.
        """
        if self._is_closed or self._nursery is None or self._nursery.is_closed:
            return None
        worker = self._idle.take()
        return None if worker is None else self._arm(worker, spec)

    def _arm(self, worker: Worker, spec: CommandSpec) -> Armed:
        self._busy.add(worker)
        try:
            return Armed(worker, spec, self._clock, self._release)
        except BaseException:
            self._release(worker)
            raise

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
        self._busy.discard(worker)
        if worker.is_closed:
            return
        if self._is_closed:
            worker.close()
        else:
            self._idle.keep(worker)
