"""The small service in a process of its own: says `ready` on standard output, serves until a signal, says `ended`."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import structlog
from fakes.rpc_service import a_server

from opsuite_rpc.loop import run
from opsuite_rpc.settings import ServerSettings, SideSettings


async def _serve(directory: Path, address: str) -> None:
    running = a_server(directory, settings=ServerSettings(listen=(address,), side=SideSettings(port=0)))
    serving = asyncio.create_task(running.server.serve_until_signal())
    await running.server.started.wait()
    sys.stdout.write("ready " + " ".join(running.server.addresses) + "\n")
    sys.stdout.flush()
    await serving
    sys.stdout.write("ended\n")


def main(arguments: list[str]) -> None:
    """`arguments`: the data directory and the address."""
    directory, address = arguments
    structlog.configure(logger_factory=structlog.PrintLoggerFactory(sys.stderr))  # standard output is for the test
    run(_serve(Path(directory), address))


@asynccontextmanager
async def serving_process(directory: Path, address: str) -> AsyncIterator[tuple[asyncio.subprocess.Process, str]]:
    """Such a process and the address it listens on; killed at the end if it still runs."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-c",
        "import sys; from fakes.rpc_process import main; main(sys.argv[1:])",
        str(directory),
        address,
        cwd=Path(__file__).parents[1],
        stdout=asyncio.subprocess.PIPE,
    )
    try:
        assert process.stdout is not None
        ready, bound = (await process.stdout.readline()).decode().split()
        assert ready == "ready"
        yield process, bound
    finally:
        if process.returncode is None:
            process.kill()
        await process.communicate()
