"""A real Prometheus as a metric source: killed and started again, asked in vain, asked for what is old or not one."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta

import pytest
from aiohttp import web
from metric_servers import prometheus_server
from server_processes import ServerProcess, free_port

from opsuite_notify.secrets import Secret
from opsuite_scaler.adapters.sources.prometheus import PrometheusSource
from opsuite_scaler.adapters.sources.registry import ConfiguredSources, NamedSource
from opsuite_scaler.domain.policy import MetricKind, MetricSpec, TargetKind, TargetRef, TargetType
from opsuite_scaler.domain.snapshot import Member, Reading, SampleKind

__all__ = ["prometheus_server"]

WEB = TargetRef(TargetKind.WORKLOAD, "web")
REQUESTS = MetricSpec("requests", MetricKind.EXTERNAL, TargetType.AVERAGE_VALUE, 5.0, source="prometheus")

SERIAL = itertools.count(1)


async def read_from(
    sources: ConfiguredSources, query: str, kind: MetricKind = MetricKind.EXTERNAL, stale_after: float = 120
) -> Reading:
    metric = replace(REQUESTS, query=query, kind=kind, stale_after=timedelta(seconds=stale_after))
    members = [Member("web-0"), Member("web-1")]
    return (await sources.read(WEB, [metric], members, datetime.now(UTC)))["requests"]


@dataclass
class Watched:
    """A Prometheus, what it scrapes, and who asks it."""

    server: ServerProcess
    sources: ConfiguredSources
    text: str = ""
    """What is there to scrape; empty: nobody answers."""

    async def read(self, query: str, kind: MetricKind = MetricKind.EXTERNAL, stale_after: float = 120) -> Reading:
        return await read_from(self.sources, query, kind, stale_after)

    async def until(self, query: str, holds: Callable[[Reading], bool], stale_after: float = 120) -> Reading:
        """The reading when it holds; the test's own time limit is the limit."""
        while not holds(reading := await self.read(query, stale_after=stale_after)):  # noqa: ASYNC110  # it is asked
            await asyncio.sleep(0.02)
        return reading

    async def scrape(self, *lines: str) -> None:
        """Have these lines scraped."""
        serial = next(SERIAL)
        self.text = "\n".join([*lines, f"serial {serial}", ""])
        await self.until("serial", lambda reading: reading.total == serial)


@asynccontextmanager
async def watched_by(server: ServerProcess, scraped: int) -> AsyncIterator[Watched]:
    source = PrometheusSource(f"http://127.0.0.1:{server.port}", member_label="pod")
    sources = ConfiguredSources({"prometheus": NamedSource(source, timedelta(seconds=60))})
    watched = Watched(server, sources)

    async def tell(_: web.Request) -> web.Response:
        return web.Response(text=watched.text) if watched.text else web.Response(status=503)

    application = web.Application()
    application.router.add_get("/metrics", tell)
    runner = web.AppRunner(application, access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", scraped).start()
    yield watched
    await sources.close()
    await runner.cleanup()


@pytest.fixture
async def watched(prometheus_server: tuple[ServerProcess, int]) -> AsyncIterator[Watched]:
    async with watched_by(*prometheus_server) as watched:
        yield watched


async def test_every_form_of_answer_is_told_apart(watched: Watched) -> None:
    await watched.scrape('requests{pod="web-0"} 3', 'requests{pod="web-1"} 4.5', "broken NaN", "endless +Inf", "idle 0")

    told = {
        query: await watched.read(query)
        for query in (
            "sum(requests)",
            "scalar(idle)",
            "idle",
            "requests",
            "nothing",
            "broken",
            "endless",
            "requests[1m]",
        )
    }

    kinds = {query: reading.kind for query, reading in told.items()}
    assert kinds == {
        "sum(requests)": SampleKind.VALUE,
        "scalar(idle)": SampleKind.VALUE,
        "idle": SampleKind.VALUE,
        "requests": SampleKind.ERROR,  # two series, and nobody knows which is meant
        "nothing": SampleKind.MISSING,
        "broken": SampleKind.MISSING,
        "endless": SampleKind.ERROR,
        "requests[1m]": SampleKind.ERROR,
    }
    assert told["sum(requests)"].total == 7.5
    assert (told["idle"].total, told["scalar(idle)"].total) == (0.0, 0.0)


async def test_a_series_for_each_member_is_a_sample_of_it(watched: Watched) -> None:
    await watched.scrape('requests{pod="web-0"} 3', 'requests{pod="web-1"} 4.5', 'requests{pod="stranger"} 9')

    reading = await watched.read("requests", MetricKind.PODS)

    assert (reading.kind, dict(reading.by_member)) == (SampleKind.VALUE, {"web-0": 3.0, "web-1": 4.5})
    assert (await watched.read("sum(requests)", MetricKind.PODS)).kind is SampleKind.ERROR  # which names no member
    assert (await watched.read("scalar(1)", MetricKind.PODS)).kind is SampleKind.ERROR


async def test_an_expression_that_is_none_is_refused_in_the_words_of_prometheus(watched: Watched) -> None:
    reading = await watched.read("sum(")

    assert reading.kind is SampleKind.ERROR
    assert "Prometheus answers 400" in reading.message
    assert "parse error" in reading.message


async def test_what_is_scraped_no_longer_is_missing_and_not_its_last_value(watched: Watched) -> None:
    await watched.scrape("requests 3")
    watched.text = ""

    reading = await watched.until("requests", lambda reading: reading.kind is not SampleKind.VALUE, stale_after=300)

    assert reading.kind is SampleKind.MISSING


async def test_a_prometheus_that_dies_is_an_error_and_tells_no_zero_on_its_way_back(watched: Watched) -> None:
    await watched.scrape("requests 3")
    watched.server.kill()
    told = [await watched.read("requests")]
    watched.text = "requests 4\n"
    watched.server.start()

    while told[-1].total != 4:
        told.append(await watched.read("requests"))
        await asyncio.sleep(0.05)

    assert told[0].kind is SampleKind.ERROR
    assert "does not answer" in told[0].message
    assert {reading.total for reading in told if reading.kind is SampleKind.VALUE} <= {3.0, 4.0}


Answer = Callable[[web.Request], Awaitable[web.StreamResponse]]


@asynccontextmanager
async def a_proxy(answer: Answer) -> AsyncIterator[str]:
    """What could stand in front of Prometheus."""
    application, port = web.Application(), free_port()
    application.router.add_post("/prometheus/api/v1/query", answer)
    runner = web.AppRunner(application, access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", port).start()
    yield f"http://127.0.0.1:{port}/prometheus/"
    await runner.cleanup()


@pytest.mark.parametrize(("stale_after", "look_back"), [(20.5, "20.5s"), (120, "120s"), (3600, "300s")])
async def test_it_is_told_how_far_back_it_may_look_and_never_further_than_it_would(
    stale_after: float, look_back: str
) -> None:
    asked = list[tuple[str, str]]()

    async def answer(request: web.Request) -> web.Response:
        form = await request.post()
        asked.append((str(form["query"]), str(form["lookback_delta"])))
        data = {"resultType": "scalar", "result": [datetime.now(UTC).timestamp(), "3"]}
        return web.json_response({"status": "success", "data": data})

    async with a_proxy(answer) as url:
        sources = ConfiguredSources({"prometheus": NamedSource(PrometheusSource(url))})
        assert (await read_from(sources, "requests", stale_after=stale_after)).total == 3.0
        await sources.close()

    assert asked == [("requests", look_back)]


async def test_a_long_answer_is_read_whole() -> None:
    async def answer(_: web.Request) -> web.Response:
        vector = [{"metric": {"pod": "p" * 600_000}, "value": [datetime.now(UTC).timestamp(), "3"]}]
        return web.json_response({"status": "success", "data": {"resultType": "vector", "result": vector}})

    async with a_proxy(answer) as url:
        sources = ConfiguredSources({"prometheus": NamedSource(PrometheusSource(url))})
        reading = await read_from(sources, "requests")
        await sources.close()

    assert (reading.kind, reading.total) == (SampleKind.VALUE, 3.0), reading.message


async def test_a_token_is_shown_as_it_is_now_and_never_told() -> None:
    tokens, shown = iter(["first", "second"]), list[str]()

    async def refuse(request: web.Request) -> web.Response:
        shown.append(request.headers["Authorization"])
        return web.Response(status=401, text="who are you?")

    async with a_proxy(refuse) as url:
        source = PrometheusSource(url, token=lambda: Secret(next(tokens)))
        sources = ConfiguredSources({"prometheus": NamedSource(source)})
        readings = [await read_from(sources, "requests") for _ in range(2)]
        await sources.close()

    assert shown == ["Bearer first", "Bearer second"]
    assert [reading.kind for reading in readings] == [SampleKind.ERROR] * 2
    assert not any(token in reading.message for reading in readings for token in ("first", "second"))
