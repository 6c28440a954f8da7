"""A real gateway: in this process, or in one of its own that can be killed."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
import time
from collections.abc import AsyncGenerator, AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp
from deployer import DeployerProcess
from ports import free_port

from opsuite_gateway.composition import start
from opsuite_gateway.settings import Settings

START_SECONDS = 60.0


@dataclass(frozen=True, slots=True)
class Event:
    """A server-sent event."""

    id: str
    kind: str
    data: Any


@asynccontextmanager
async def a_gateway(directory: Path, deployer: DeployerProcess, **settings: object) -> AsyncIterator[str]:
    """The URL of a gateway in front of a deployer."""
    given = {
        "data_dir": directory,
        "listen": ("127.0.0.1:0",),
        "OPSUITE_DEPLOYER_ADDRESS": deployer.address,
        **settings,
    }
    async with AsyncExitStack() as stack:
        addresses = await start(Settings.model_validate(given), stack)
        yield f"http://{addresses[0]}"


@contextmanager
def gateway_process(
    directory: Path, deployer: DeployerProcess, *, port: int | None = None, **settings: str
) -> Iterator[tuple[subprocess.Popen[bytes], str]]:
    """A gateway in a process of its own, and its URL, once it listens."""
    port = port or free_port()
    environment = {
        "PATH": os.environ["PATH"],
        "GATEWAY_DATA_DIR": str(directory),
        "GATEWAY_LISTEN": f"127.0.0.1:{port}",
        "OPSUITE_DATA_DIR": str(deployer.data_dir),
        "OPSUITE_DEPLOYER_ADDRESS": deployer.address,
        **settings,
    }
    process = subprocess.Popen([sys.executable, "-m", "opsuite_gateway"], env=environment, stderr=subprocess.PIPE)
    try:
        assert process.stderr is not None
        give_up_at = time.monotonic() + START_SECONDS
        while b"gateway_started" not in process.stderr.readline():
            assert process.poll() is None, "the gateway did not start"
            assert time.monotonic() < give_up_at, "the gateway did not start"
        yield process, f"http://127.0.0.1:{port}"
    finally:
        process.terminate()
        process.communicate(timeout=START_SECONDS)


def bearer(token: str) -> dict[str, str]:
    """The header that a token stands in."""
    return {"Authorization": f"Bearer {token}"}


async def sent_events(answer: aiohttp.ClientResponse) -> AsyncGenerator[Event, None]:
    """The events of a stream as a browser reads them, until it ends or breaks."""
    fields: dict[str, str] = {}
    last_id = ""
    try:
        async for raw in answer.content:
            line = raw.decode().rstrip("\n")
            if line:
                name, _, value = line.partition(":")
                fields[name] = value.strip()
                continue
            last_id = fields.get("id", last_id)
            if "data" in fields:
                yield Event(last_id, fields.get("event", "message"), json.loads(fields["data"]))
            fields = {}
    except (aiohttp.ClientError, asyncio.IncompleteReadError):
        return


def revisions(event: Event) -> list[int]:
    """Numbers of the deployment's events in one answer of a watch."""
    return [int(one["revision"]) for one in event.data.get("events", ())]
