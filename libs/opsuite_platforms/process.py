"""`ProcessPlatform`: workloads as processes of this machine, kept by supervisord."""

from __future__ import annotations

import asyncio
import shutil
import xmlrpc.client
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Final, TypeVar

from opsuite_kernel.errors import Unavailable
from opsuite_platforms.machine import LocalMachine
from opsuite_platforms.port import WorkloadSpec, WorkloadStatus
from opsuite_platforms.programs import Keeping, Tools
from opsuite_platforms.spawns import Spawns
from opsuite_platforms.supervised import Settings, SupervisedWorkloads
from opsuite_platforms.supervisord import Supervisord

PORTS: Final = range(20_000, 21_000)
CHANGES_AT_ONCE: Final = 64
"""Each has a thread, which hardly does anything but wait: for others, for programs to end."""

T = TypeVar("T")


class ProcessPlatform:
    """Fits `opsuite_platforms.port.Platform`. One data directory has one supervisord and any number of callers."""

    def __init__(self, data: Path, *, ports: range = PORTS, keeping: Keeping | None = None) -> None:
        self.supervisord = Supervisord(data / "supervisor")
        self._spawns = Spawns(self.supervisord.log)
        tools = Tools(shutil.which("env") or "/usr/bin/env", shutil.which("setpriv"))
        settings = Settings(ports, tools, keeping or Keeping())
        self._workloads = SupervisedWorkloads(LocalMachine(self.supervisord), data, self._spawns, settings)
        self._changes = ThreadPoolExecutor(CHANGES_AT_ONCE, "changes")

    async def start(self) -> None:
        """Start supervisord unless it runs. Raises: Unavailable."""
        await asyncio.to_thread(self.supervisord.start)

    async def stop(self) -> None:
        """Stop supervisord and every workload; they start again with `start`."""
        await asyncio.to_thread(self.supervisord.stop)

    def close(self) -> None:
        """Let go of files and threads; workloads stay."""
        self._changes.shutdown(wait=False)
        self._workloads.close()
        self._spawns.close()

    # The verbs of the port.

    async def apply(self, spec: WorkloadSpec, *, epoch: int) -> None:
        """Ask for `spec`; the port tells the rest."""
        await self._change(partial(self._workloads.apply, spec, epoch))

    async def observe(self, name: str) -> WorkloadStatus:
        """The workload as it is now. Raises: NotFound, Unavailable."""
        return await asyncio.wrap_future(self._workloads.observe(name))

    async def list_workloads(self, part_of: str | None = None) -> Sequence[str]:
        """Names of all workloads, or of the revisions of one, sorted."""
        return await asyncio.to_thread(self._workloads.files.names, part_of)

    async def scale(self, name: str, replicas: int, *, expected: int | None = None, epoch: int | None = None) -> None:
        """Ask for a number of replicas; the port tells the rest."""
        await self._change(partial(self._workloads.scale, name, replicas, expected, epoch))

    async def restart(self, name: str, replica: str | None = None) -> None:
        """Stop and start one replica, or all one after the other. Raises: NotFound, Unavailable."""
        await self._change(partial(self._workloads.restart, name, replica))

    async def remove(self, name: str) -> None:
        """Stop a workload and forget it; one that does not exist is fine."""
        await self._change(partial(self._workloads.remove, name))

    async def logs(self, name: str, replica: str, *, lines: int = 100) -> Sequence[str]:
        """Last lines the replica wrote, oldest first. Raises: NotFound."""
        return await asyncio.to_thread(self._workloads.tail, name, replica, lines)

    async def check(self) -> None:
        """Return if workloads can be run now. Raises: Unavailable, saying what to do."""
        if not await asyncio.to_thread(self.supervisord.answers):
            message = f"supervisord does not answer in {self.supervisord.directory}: start it with `opsuite up`"
            raise Unavailable(message, reason="PLATFORM_NOT_RUNNING")

    async def _change(self, verb: Callable[[], T]) -> T:
        """Do something to workloads. It goes on to its end though the caller is cancelled."""
        try:
            return await asyncio.get_running_loop().run_in_executor(self._changes, verb)
        except xmlrpc.client.Fault as fault:
            raise Unavailable(f"supervisord refuses: {fault.faultString}", reason="PLATFORM_NOT_RUNNING") from fault
