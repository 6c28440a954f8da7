"""A replica that gets more requests than it can answer in time gets help: a whole healer has a real scaler add some."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import aiohttp
import pytest
from fakes.healer_failures import AGAIN_SECONDS, PROOF, a_ward, answer_of, check_form, told
from fakes.healer_remediation_stage import step
from healer import HealerProcess
from scaler import ScalerProcess, a_place

from opsuite_platforms.port import PortSpec, WorkloadSpec
from opsuite_platforms.process import ProcessPlatform

FEW, MANY = 2, 48
"""Customers who ask again as soon as they are answered: one replica answers few in time, and many after 2.4 s."""
ENOUGH = 5
"""Replicas that answer many of them within half a second, where a check waits for one."""
SHOP = """#!/usr/bin/env python3
# Two workers, 0.1 s for each request; all others wait in line.
import http.server, sys, threading, time

workers = threading.Semaphore(2)

class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        with workers:
            time.sleep(0.1)
        self.send_response(200)
        self.end_headers()
        self.wfile.write(b"served")

    def log_message(self, *words):
        pass

class Server(http.server.ThreadingHTTPServer):
    request_queue_size = 128

    def handle_error(self, *about):
        pass  # whoever has gone away needs no answer

Server(("127.0.0.1", int(sys.argv[1])), Handler).serve_forever()
"""


@dataclass
class Crowd:
    """Customers, spread evenly over the replicas that run."""

    platform: ProcessPlatform
    tasks: list[asyncio.Task[None]] = field(default_factory=list)

    async def ports(self) -> list[int]:
        return [replica.ports["http"] for replica in (await self.platform.observe("shop")).replicas]

    async def is_served(self) -> bool:
        """Whether each replica answers somebody outside."""
        answers = await asyncio.gather(*(answer_of(port) for port in await self.ports()))
        return bool(answers) and set(answers) == {"served"}

    def grow(self, session: aiohttp.ClientSession, size: int) -> None:
        self.tasks += [asyncio.create_task(self._ask(session, one)) for one in range(len(self.tasks), size)]

    async def _ask(self, session: aiohttp.ClientSession, number: int) -> None:
        while True:
            ports = await self.ports()
            try:
                async with session.get(f"http://127.0.0.1:{ports[number % len(ports)]}/") as answer:
                    await answer.read()
            except aiohttp.ClientError:
                await asyncio.sleep(AGAIN_SECONDS)  # a replica that has not begun to listen


@asynccontextmanager
async def a_shop(place: Path, ports: str) -> AsyncIterator[Crowd]:
    """One replica that serves."""
    script = place / "shop"
    script.write_text(SHOP)
    script.chmod(0o755)
    first, _, last = ports.partition("-")
    platform = ProcessPlatform(place / "suite", ports=range(int(first), int(last) + 1))
    path = {"PATH": os.environ["PATH"]}
    crowd = Crowd(platform)
    try:
        await platform.start()
        await platform.apply(
            WorkloadSpec("shop", "1", (str(script), "${port}"), "/", env=path, ports=(PortSpec("http"),)), epoch=1
        )
        while not await crowd.is_served():  # noqa: ASYNC110 - who is outside has to ask
            await asyncio.sleep(AGAIN_SECONDS)
        yield crowd
    finally:
        for task in crowd.tasks:
            task.cancel()
        await asyncio.gather(*crowd.tasks, return_exceptions=True)
        await platform.remove("shop")
        platform.close()


@pytest.mark.long  # a crowd leaves little of two cores to the tests beside it
async def test_an_overloaded_replica_gets_help_and_everybody_is_served_again() -> None:
    with a_place() as place:
        scaler = ScalerProcess(place / "scaler", place / "suite")
        settings = {
            "HEALER_SCALER_ADDRESS": scaler.address,
            "HEALER_SCALER_TOKEN_FILE": str(scaler.data_dir / "token"),
        }
        try:
            await asyncio.to_thread(scaler.start)
            async with (
                aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as session,
                a_shop(place, scaler.workload_ports) as crowd,
                a_ward(HealerProcess(place / "healer", place / "suite", settings)) as ward,
            ):
                http = {"url": "http://127.0.0.1:${port}/"}
                target = {"platform": "process", "workload": "shop"}
                await ward.watch(
                    check_form("shop", target, http=http, issue="OVERLOADED", startupGrace="5s"),
                    step("SCALE_UP", params={"max": str(ENOUGH), "by": "9"}, verification=PROOF),
                    match={"issues": ["OVERLOADED"]},
                )
                crowd.grow(session, FEW)
                assert await crowd.is_served()
                began = time.time()
                crowd.grow(session, MANY)
                while await crowd.is_served():
                    pass  # the line grows until nobody is answered in time
                ended = await ward.mended("an overloaded replica", began, crowd.is_served)
                replicas = (await crowd.platform.observe("shop")).replicas
        finally:
            scaler.close()

    assert told(ended) == [("SCALE_UP", "PROVED")]
    assert (ended.issue, ended.target.workload) == ("OVERLOADED", "shop")
    assert dict(ended.attempts[0].facts) == {"from": "1", "to": str(ENOUGH)}
    assert len(replicas) == ENOUGH
