"""Streams as server-sent events: resumed without loss, one upstream for all, ended when the service ends them."""

from __future__ import annotations

import asyncio
from contextlib import aclosing
from pathlib import Path

import aiohttp
from deployer import Client, DeployerProcess, a_command, a_pipeline, deploy, deployer, register
from http_gateway import Event, a_gateway, bearer, gateway_process, revisions, sent_events
from ports import free_port

from opsuite.deployer.v1 import deployment_service_pb2 as pb

__all__ = ["deployer"]

STREAM = {"Accept": "text/event-stream"}


async def waiting_deployment(client: Client, name: str, steps: int = 1) -> str:
    """A deployment that first waits for an hour, then takes steps."""
    wait = {"name": "hold", "wait": {"duration": "3600s"}}
    await register(client, a_pipeline(name, wait, *(a_command(f"step-{n}") for n in range(steps))))
    return (await deploy(client, name)).name


async def cancel(client: Client, name: str) -> None:
    await client.deployments.CancelDeployment(pb.CancelDeploymentRequest(name=name))


async def test_a_watch_begins_with_a_snapshot_and_ends_with_the_deployment(
    tmp_path: Path, deployer: DeployerProcess
) -> None:
    async with (
        deployer.client() as client,
        a_gateway(tmp_path, deployer) as url,
        aiohttp.ClientSession(url, headers=bearer(deployer.token) | STREAM) as session,
    ):
        name = await waiting_deployment(client, "watched")
        async with session.get(f"/v1/{name}:watch") as answer:
            events: list[Event] = []
            async for event in sent_events(answer):
                events.append(event)
                if len(events) == 1:
                    await cancel(client, name)

    assert answer.headers["Content-Type"] == "text/event-stream"
    assert events[0].data["snapshot"]["name"] == name
    assert all(event.id for event in events)
    told = [one for event in events for one in revisions(event)]
    assert told == list(range(told[0], told[-1] + 1))
    assert events[-1].data["events"][-1]["status"] == "DEPLOYMENT_STATUS_CANCELLED"


async def test_a_stream_goes_on_where_a_killed_gateway_left_it(tmp_path: Path, deployer: DeployerProcess) -> None:
    port, seen = free_port(), []
    async with deployer.client() as client:
        name = await waiting_deployment(client, "resumed")
        with gateway_process(tmp_path, deployer, port=port) as (process, url):
            async with (
                aiohttp.ClientSession(url, headers=bearer(deployer.token) | STREAM) as session,
                session.get(f"/v1/{name}:watch") as answer,
                aclosing(sent_events(answer)) as events,
            ):
                first = await anext(events)
                process.kill()
                seen += [one async for one in events]
        last = (seen or [first])[-1]
        await cancel(client, name)
        with gateway_process(tmp_path, deployer, port=port) as (process, url):
            headers = bearer(deployer.token) | STREAM | {"Last-Event-ID": last.id}
            async with (
                aiohttp.ClientSession(url, headers=headers) as session,
                session.get(f"/v1/{name}:watch") as answer,
            ):
                later = [one async for one in sent_events(answer)]

    told = [one for event in [*seen, *later] for one in revisions(event)]
    begin = int(first.data["snapshot"]["revision"]) + 1
    assert told == list(range(begin, told[-1] + 1))
    assert later[-1].data["events"][-1]["status"] == "DEPLOYMENT_STATUS_CANCELLED"


async def test_many_who_watch_the_same_cost_one_stream(tmp_path: Path, deployer: DeployerProcess) -> None:
    async def follow(session: aiohttp.ClientSession, name: str, begun: asyncio.Semaphore) -> list[int]:
        told: list[int] = []
        async with session.get(f"/v1/{name}:watch") as answer, aclosing(sent_events(answer)) as events:
            async for event in events:
                begun.release()
                told += revisions(event)
        return told

    async with (
        deployer.client() as client,
        a_gateway(tmp_path, deployer) as url,
        aiohttp.ClientSession(
            url, headers=bearer(deployer.token) | STREAM, connector=aiohttp.TCPConnector(limit=0)
        ) as session,
    ):
        name = await waiting_deployment(client, "shared")
        begun = asyncio.Semaphore(0)
        viewers = [asyncio.create_task(follow(session, name, begun)) for _ in range(100)]
        for _ in viewers:
            await begun.acquire()
        await at_most_watchers(deployer, 2)
        await cancel(client, name)
        told = await asyncio.gather(*viewers)

    assert all(one[-1] == told[0][-1] for one in told)
    assert all(one == list(range(one[0], one[-1] + 1)) for one in told)


async def at_most_watchers(deployer: DeployerProcess, most: int) -> None:
    """Return once the deployer says that so few streams are open."""
    async with aiohttp.ClientSession() as session:
        while True:
            async with session.get(f"http://127.0.0.1:{deployer.side_port}/metrics") as answer:
                text = await answer.text()
            if open_streams(text) <= most:
                return
            await asyncio.sleep(0.05)


def open_streams(metrics: str) -> float:
    lines = [one for one in metrics.splitlines() if "in_flight" in one and "WatchDeployment" in one]
    assert lines, metrics
    return sum(float(one.rsplit(" ", 1)[-1]) for one in lines)


async def test_lines_are_sent_to_whoever_asks_for_no_events(tmp_path: Path, deployer: DeployerProcess) -> None:
    async with (
        deployer.client() as client,
        a_gateway(tmp_path, deployer) as url,
        aiohttp.ClientSession(url, headers=bearer(deployer.token)) as session,
    ):
        name = await waiting_deployment(client, "lines")
        async with session.get(f"/v1/{name}:watch") as answer:
            first = await answer.content.readline()
            await cancel(client, name)

    assert answer.headers["Content-Type"] == "application/x-ndjson"
    assert name.encode() in first


async def test_a_watch_that_is_refused_is_a_problem_and_no_stream(tmp_path: Path, deployer: DeployerProcess) -> None:
    async with a_gateway(tmp_path, deployer) as url, aiohttp.ClientSession(url, headers=STREAM) as session:
        path = "/v1/pipelines/shop/environments/staging/deployments/nothing:watch"
        async with session.get(path, headers=bearer(deployer.token)) as answer:
            assert answer.status == 404
        async with session.get(path) as answer:
            assert answer.status == 401
        async with session.get(path, headers=bearer(deployer.token) | {"Last-Event-ID": "nonsense"}) as answer:
            assert answer.status in {400, 404}
