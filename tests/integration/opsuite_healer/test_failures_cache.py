"""A full cache that refuses what a shop wants to write is cleared within its scope by a whole healer."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from uuid import uuid4

from aiohttp import web
from components import program
from fakes.healer_failures import PROOF, a_ward, answer_of, check_form, told
from fakes.healer_remediation_stage import step
from healer import HealerProcess
from metric_servers import running
from redis.asyncio import Redis
from redis.exceptions import OutOfMemoryError
from scaler import a_place
from server_processes import ServerProcess, free_port

PAGE = "x" * 20_000
ROOM = "8mb"


@asynccontextmanager
async def a_full_cache(place: Path) -> AsyncIterator[Redis]:
    """A Redis that refuses writes when it is full, instead of forgetting something."""
    limits = ["--maxmemory", ROOM, "--maxmemory-policy", "noeviction", "--save", "", "--appendonly", "no"]
    command = [str(program("redis-server", "apt-get install redis-server")), "--bind", "127.0.0.1", "--port"]
    port = free_port()
    with running(ServerProcess([*command, str(port), "--dir", str(place), *limits], port, place / "redis.log")):
        async with Redis(port=port, decode_responses=True) as redis:
            yield redis


@asynccontextmanager
async def a_shop(redis: Redis) -> AsyncIterator[int]:
    """The port of a shop that keeps what each customer asks for; 503 when the cache takes nothing."""

    async def serve(request: web.Request) -> web.Response:
        try:
            await redis.set(f"page:{uuid4().hex}", PAGE)
        except OutOfMemoryError as refusal:
            raise web.HTTPServiceUnavailable(text=str(refusal)) from refusal
        return web.Response(text="kept")

    shop = web.Application()
    shop.router.add_get("/", serve)
    runner = web.AppRunner(shop, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    yield runner.addresses[0][1]
    await runner.cleanup()


async def _fill(redis: Redis) -> int:
    """Write pages until the cache takes no more; how many."""
    number = 0
    with suppress(OutOfMemoryError):
        while await redis.set(f"page:{number}", PAGE):
            number += 1
    return number


async def test_a_full_cache_is_cleared_of_its_pages_and_keeps_its_sessions() -> None:
    with a_place() as place:
        async with (
            a_full_cache(place) as redis,
            a_shop(redis) as port,
            a_ward(HealerProcess(place / "healer", place / "suite")) as ward,
        ):
            await redis.set("session:1", "keep")
            url = f"redis://127.0.0.1:{redis.connection_pool.connection_kwargs['port']}/0"
            http = {"url": f"http://127.0.0.1:{port}/"}
            await ward.watch(
                check_form("pages", {"platform": "process", "workload": "shop"}, http=http, issue="CACHE_FULL"),
                step("CLEAR_CACHE", params={"cache": "redis", "url": url, "pattern": "page:*"}, verification=PROOF),
                match={"issues": ["CACHE_FULL"]},
            )

            async def takes_pages() -> bool:
                return await answer_of(port) == "kept"

            assert await takes_pages()
            began = time.time()
            written = await _fill(redis)
            while await takes_pages():
                pass  # what buffers have given back is filled as well
            ended = await ward.mended("a full cache", began, takes_pages)
            left = await redis.keys("*")

    assert told(ended) == [("CLEAR_CACHE", "PROVED")]
    assert int(ended.attempts[0].facts["cleared"]) >= written
    assert "session:1" in left
    assert "page:0" not in left
