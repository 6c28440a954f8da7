"""What every metric source promises, asked through the registry as the scaler asks it, of the real thing each time."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import aio_pika
import aiohttp
import pytest
from aiohttp import web
from keda_server import a_keda_server
from metric_servers import PASSWORD, prometheus_server, rabbitmq_server, redis_server
from postgres import Cluster
from redis.asyncio import Redis
from server_processes import ServerProcess
from wire import Wire, a_wire

from opsuite_notify.secrets import Secret
from opsuite_scaler.adapters.keda.client import KedaClient, KedaSource
from opsuite_scaler.adapters.sources.postgresql import PostgresqlSource
from opsuite_scaler.adapters.sources.prometheus import PrometheusSource
from opsuite_scaler.adapters.sources.pushed import Point, PushedSource
from opsuite_scaler.adapters.sources.rabbitmq import RabbitmqSource
from opsuite_scaler.adapters.sources.redis import RedisSource
from opsuite_scaler.adapters.sources.registry import ConfiguredSources, NamedSource
from opsuite_scaler.adapters.sources.source import MetricSource
from opsuite_scaler.application.keda_query import KedaQuery
from opsuite_scaler.domain.policy import MetricKind, MetricSpec, TargetKind, TargetRef, TargetType
from opsuite_scaler.domain.snapshot import Reading, SampleKind

__all__ = ["prometheus_server", "rabbitmq_server", "redis_server"]

CHECKOUT = TargetRef(TargetKind.WORKLOAD, "checkout")
GENEROUS, SHORT = timedelta(seconds=60), timedelta(seconds=1)


@dataclass
class Rig:
    """A source, and the thing that it asks."""

    make: Callable[[], MetricSource]
    query: str
    put: Callable[[int], Awaitable[None]]
    """Let the number behind `query` be this."""
    absent: str
    """A query for something that is not there."""
    malformed: str
    """One that is seen to be wrong without asking."""
    wire: Wire | None = None
    """What leads to the thing, if there is something in between."""
    registries: dict[timedelta, ConfiguredSources] = field(default_factory=dict)

    async def read(self, query: str = "", timeout: timedelta = GENEROUS) -> Reading:
        metric = a_metric(query or self.query)
        return (await self.registry(timeout).read(CHECKOUT, [metric], [], datetime.now(UTC)))[metric.name]

    async def settled(self, query: str, timeout: timedelta = GENEROUS) -> Reading:
        """The first reading that is no error: connections come back in their own time."""
        while (reading := await self.read(query, timeout)).kind is SampleKind.ERROR:  # noqa: ASYNC110
            await asyncio.sleep(0.02)
        return reading

    def registry(self, timeout: timedelta = GENEROUS) -> ConfiguredSources:
        """One for each limit, so that connections are used again."""
        if timeout not in self.registries:
            self.registries[timeout] = ConfiguredSources({"it": NamedSource(self.make(), timeout)})
        return self.registries[timeout]

    async def close(self) -> None:
        for registry in self.registries.values():
            await registry.close()


def a_metric(query: str, kind: MetricKind = MetricKind.EXTERNAL, **changes: Any) -> MetricSpec:
    return MetricSpec("queue", kind, TargetType.AVERAGE_VALUE, 5.0, source="it", query=query, **changes)


@asynccontextmanager
async def a_prometheus(request: pytest.FixtureRequest) -> AsyncIterator[Rig]:
    server, scraped = request.getfixturevalue("prometheus_server")
    async with a_gauge(scraped) as put, a_wire(server.port) as wire, aiohttp.ClientSession() as session:

        async def put_and_scrape(number: int) -> None:
            put(number)
            url = f"http://127.0.0.1:{server.port}/api/v1/query"
            while True:
                async with session.get(url, params={"query": f"waiting == {number}"}) as answer:
                    if (await answer.json())["data"]["result"]:
                        return
                await asyncio.sleep(0.02)

        source = lambda: PrometheusSource(f"http://127.0.0.1:{wire.port}/")  # noqa: E731  # one word for one thing
        yield Rig(source, "sum(waiting)", put_and_scrape, "nobody_tells_this", " ", wire)


@asynccontextmanager
async def a_gauge(port: int) -> AsyncIterator[Callable[[int], None]]:
    """Something for Prometheus to scrape, and how its number is set."""
    numbers = [0]

    async def tell(_: web.Request) -> web.Response:
        return web.Response(text=f"# TYPE waiting gauge\nwaiting {numbers[0]}\n")

    application = web.Application()
    application.router.add_get("/metrics", tell)
    runner = web.AppRunner(application, access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", port).start()
    try:
        yield lambda number: numbers.__setitem__(0, number)
    finally:
        await runner.cleanup()


@asynccontextmanager
async def a_redis(request: pytest.FixtureRequest, query: str, absent: str) -> AsyncIterator[Rig]:
    server: ServerProcess = request.getfixturevalue("redis_server")
    client: Any = Redis(port=server.port, password=PASSWORD)
    async with a_wire(server.port) as wire:

        async def put(number: int) -> None:
            await client.flushall()
            if query.startswith("LLEN"):
                await asyncio.gather(*(client.lpush("jobs", "work") for _ in range(number)))
                return
            await client.xgroup_create("events", "workers", mkstream=True)
            await asyncio.gather(*(client.xadd("events", {"what": "work"}) for _ in range(number)))
            if query.startswith("XPENDING") and number:
                await client.xreadgroup("workers", "one", {"events": ">"})

        url = f"redis://127.0.0.1:{wire.port}/0"
        yield Rig(lambda: RedisSource(url, password=lambda: Secret(PASSWORD)), query, put, absent, "FLUSHALL", wire)
    await client.aclose()


@asynccontextmanager
async def a_rabbitmq(request: pytest.FixtureRequest) -> AsyncIterator[Rig]:
    server: ServerProcess = request.getfixturevalue("rabbitmq_server")
    connection = await aio_pika.connect(f"amqp://tests:{PASSWORD}@127.0.0.1:{server.port}/")
    async with a_wire(server.port) as wire, connection:
        channel = await connection.channel()  # which tells when a message is in its queue
        queue = await channel.declare_queue("jobs", exclusive=False, auto_delete=False)

        async def put(number: int) -> None:
            await queue.purge()
            for _ in range(number):
                await channel.default_exchange.publish(aio_pika.Message(b"work"), "jobs")

        url = f"amqp://127.0.0.1:{wire.port}/"
        password = lambda: Secret(PASSWORD)  # noqa: E731  # one word for one thing
        yield Rig(lambda: RabbitmqSource(url, username="tests", password=password), "jobs", put, "nothing", " ", wire)


@asynccontextmanager
async def a_postgresql(request: pytest.FixtureRequest) -> AsyncIterator[Rig]:
    cluster: Cluster = request.getfixturevalue("postgres_cluster")
    database = cluster.take_database()
    cluster.execute("CREATE TABLE jobs (number integer)", database)
    async with a_wire(cluster.port) as wire:

        async def put(number: int) -> None:
            cluster.execute("DELETE FROM jobs", database)
            cluster.execute(f"INSERT INTO jobs SELECT generate_series(1, {number})", database)

        url = f"postgresql://{owner_of(cluster)}@127.0.0.1:{wire.port}/{database}"
        query, absent = "SELECT count(*) FROM jobs", "SELECT number FROM jobs WHERE false"
        yield Rig(lambda: PostgresqlSource(url), query, put, absent, " ", wire)
    cluster.give_back_database(database)


def owner_of(cluster: Cluster) -> str:
    return cluster.url().partition("//")[2].partition("@")[0]


@asynccontextmanager
async def a_keda_scaler(request: pytest.FixtureRequest) -> AsyncIterator[Rig]:
    async with a_keda_server() as server, a_wire(server.port) as wire:

        async def put(number: int) -> None:
            server.values = [{"metricName": "queue", "metricValue": number, "metricValueFloat": number}]

        address = f"127.0.0.1:{wire.port}"
        query, absent = (KedaQuery(address, metric).as_text() for metric in ("", "nothing"))
        malformed = json.dumps({"address": "nowhere"})
        yield Rig(lambda: KedaSource(KedaClient()), query, put, absent, malformed, wire)


class Pushed:
    """What was handed in, in memory."""

    def __init__(self) -> None:
        self.points: dict[str, list[Point]] = {}

    async def latest(self, metric: str) -> Sequence[Point]:
        return self.points.get(metric, [])


@asynccontextmanager
async def a_push(request: pytest.FixtureRequest) -> AsyncIterator[Rig]:
    pushed = Pushed()

    async def put(number: int) -> None:
        pushed.points["jobs"] = [Point("", float(number), datetime.now(UTC))]

    yield Rig(lambda: PushedSource(pushed), "jobs", put, "nothing", "")


RIGS: dict[str, Callable[[pytest.FixtureRequest], AbstractAsyncContextManager[Rig]]] = {
    "prometheus": a_prometheus,
    "redis list": lambda request: a_redis(request, "LLEN jobs", "XPENDING nothing workers"),
    "redis stream": lambda request: a_redis(request, "XLEN events", "XPENDING events nobody"),
    "redis pending": lambda request: a_redis(request, "XPENDING events workers", "XLAG nothing nobody"),
    "redis lag": lambda request: a_redis(request, "xlag events workers", "XLAG events nobody"),
    "rabbitmq": a_rabbitmq,
    "postgresql": a_postgresql,
    "keda": a_keda_scaler,
    "push": a_push,
}


OVER_A_WIRE = pytest.mark.parametrize("rig", [name for name in RIGS if name != "push"], indirect=True)


@pytest.fixture(params=RIGS)
async def rig(request: pytest.FixtureRequest) -> AsyncIterator[Rig]:
    async with RIGS[request.param](request) as rig:
        yield rig
        await rig.close()


@pytest.mark.parametrize("number", [7, 0])
async def test_a_number_is_told_as_it_is_and_zero_is_one(rig: Rig, number: int) -> None:
    await rig.put(number)

    reading = await rig.read()

    assert (reading.kind, reading.total, reading.message) == (SampleKind.VALUE, number, "")
    assert reading.at is not None


async def test_what_is_not_there_is_missing_and_no_error(rig: Rig) -> None:
    await rig.put(1)

    reading = await rig.read(rig.absent)

    assert reading.kind is SampleKind.MISSING
    assert reading.message


@OVER_A_WIRE
async def test_a_source_that_cannot_be_reached_is_an_error_and_serves_again_afterwards(rig: Rig) -> None:
    await rig.put(3)
    assert (await rig.read()).total == 3
    assert rig.wire is not None

    async with rig.wire.cut_meanwhile():
        reading = await rig.read()

    assert (reading.kind, reading.total) == (SampleKind.ERROR, 0)
    assert reading.message.startswith("it: ")
    after = await rig.settled(rig.query)
    assert (after.kind, after.total) == (SampleKind.VALUE, 3)


@OVER_A_WIRE
async def test_a_source_that_falls_silent_is_an_error_within_its_time_and_its_late_answer_is_nobodys(rig: Rig) -> None:
    await rig.put(3)
    assert rig.wire is not None
    await rig.settled(rig.query, SHORT)

    async with rig.wire.silent():
        reading = await rig.read(timeout=SHORT)
        again = await rig.read(timeout=SHORT)

    assert {each.kind for each in (reading, again)} == {SampleKind.ERROR}
    assert reading.message == "it: no answer within 1 s"
    assert (await rig.settled(rig.absent, SHORT)).kind is SampleKind.MISSING
    assert (await rig.settled(rig.query, SHORT)).total == 3


async def test_a_query_that_is_malformed_is_refused_without_asking(rig: Rig) -> None:
    metric = a_metric(rig.malformed)

    assert list(await rig.registry().check([a_metric(rig.query)])) == []
    assert list(await rig.registry().check([metric])) == ["queue"]
    reading = await rig.read(rig.malformed) if rig.malformed else None
    assert reading is None or reading.kind is SampleKind.ERROR


async def test_a_source_tells_what_it_is(rig: Rig) -> None:
    (info,) = rig.registry().known()

    assert info.name == "it"
    assert info.kind in {"prometheus", "redis", "rabbitmq", "postgresql", "keda", "push"}
    assert info.description
