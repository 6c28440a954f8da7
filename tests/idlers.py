"""Many cheap workloads: each replica of them is a program that does nothing, rolled out by a pipeline of its own.

idlers = Idlers(deployer, count=20)
await idlers.register(client)
ended = await idlers.roll_out(client, "1.0")
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path

from deployer import Client, DeployerProcess, a_pipeline, deploy, ended, register

from opsuite.deployer.v1 import deployment_pb2

PROGRAM = "#!/bin/sh\nexec sleep 100000\n"


class Idlers:
    """Workloads of one replica each, and their pipelines."""

    def __init__(self, deployer: DeployerProcess, count: int) -> None:
        self.count = count
        self._work = deployer.work
        self._work.mkdir(parents=True, exist_ok=True)
        program = self._work / "idle"
        program.write_text(PROGRAM)
        program.chmod(0o755)

    async def register(self, client: Client) -> None:
        """Register their pipelines."""
        for number in range(self.count):
            workload = {"workload": f"w-{number}", "command": ["./idle"], "replicas": 1}
            rollout = {"workload": workload, "rolling": {}, "minHealthyTime": "0.1s", "progressDeadline": "500s"}
            step = {"name": "roll", "rollout": {**rollout, "healthyDeadline": "400s"}}
            await register(client, a_pipeline(f"one-{number}", step))

    async def roll_out(self, client: Client, version: str) -> Sequence[deployment_pb2.Deployment]:
        """Deploy a version of all at once; as they ended."""
        started = await asyncio.gather(*(deploy(client, f"one-{number}", version) for number in range(self.count)))
        return await asyncio.gather(*(ended(client, one.name) for one in started))

    def running(self) -> int:
        """How many of the programs run now."""
        return sum(self._is_one(place) for place in Path("/proc").glob("[0-9]*"))

    def _is_one(self, process: Path) -> bool:
        try:
            return (process / "cmdline").read_bytes().startswith(b"sleep") and (
                process / "cwd"
            ).readlink() == self._work
        except OSError:
            return False
