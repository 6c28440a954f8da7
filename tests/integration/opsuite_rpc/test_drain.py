"""The end of a server: watches are told, calls finish, nothing waits for what never ends."""

from __future__ import annotations

import asyncio
import signal
from datetime import timedelta
from pathlib import Path
from typing import Any

import aiohttp
import grpc
import pytest
from fakes.rpc_process import serving_process
from fakes.rpc_service import VIEWER, Response, call, detail, serving, watch
from google.rpc import error_details_pb2
from grpc_health.v1 import health_pb2, health_pb2_grpc

from opsuite_rpc.settings import ServerSettings, SideSettings

LONG = timedelta(hours=1)


def patient(**changes: Any) -> ServerSettings:
    """Would wait for an hour where it waits for the wrong thing: the test then runs into its own limit."""
    return ServerSettings(
        **{
            "listen": ("127.0.0.1:0",),
            "side": SideSettings(port=0),
            "drain_grace": LONG,
            "watch_grace": LONG,
            **changes,
        }
    )


async def ending_of(stream: Any) -> grpc.aio.AioRpcError:
    """What the next read of a stream with nothing more to say ends with."""
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await stream.read()
    return caught.value


async def test_watches_end_themselves_with_unavailable_and_the_server_does_not_wait_for_health_watches(
    tmp_path: Path,
) -> None:
    async with serving(tmp_path, settings=patient()) as running, running.channel() as channel:
        watches = [watch(channel, "Watch", VIEWER, name="things/1") for _ in range(20)]
        for each in watches:
            await each.read()
            await each.read()
        stub: Any = health_pb2_grpc.HealthStub(channel)
        health = stub.Watch(health_pb2.HealthCheckRequest())
        states = [(await health.read()).status]
        await running.server.drain()
        states.append((await health.read()).status)
        endings = [await ending_of(each) for each in watches]

    assert {ending.code() for ending in endings} == {grpc.StatusCode.UNAVAILABLE}
    assert {detail(ending, error_details_pb2.ErrorInfo).reason for ending in endings} == {"SERVER_DRAINING"}
    assert states == [health_pb2.HealthCheckResponse.SERVING, health_pb2.HealthCheckResponse.NOT_SERVING]


async def test_a_stream_that_does_not_listen_is_ended_by_the_server_with_unavailable(tmp_path: Path) -> None:
    settings = patient(watch_grace=timedelta(0))
    async with serving(tmp_path, settings=settings) as running, running.channel() as channel:
        stream = watch(channel, "Tail", VIEWER, name="things/1")
        await stream.read()
        await running.server.drain()
        ending = await ending_of(stream)

    assert ending.code() is grpc.StatusCode.UNAVAILABLE
    assert detail(ending, error_details_pb2.ErrorInfo).reason == "SERVER_DRAINING"


async def test_a_call_in_work_finishes_and_new_ones_are_refused(tmp_path: Path) -> None:
    started, release = asyncio.Event(), asyncio.Event()

    async def handler(request: Any, _context: Any) -> Any:
        started.set()
        await release.wait()
        return Response(text=request.text)

    async with serving(tmp_path, settings=patient()) as running, running.channel() as channel:
        running.servicer.on["Get"] = handler
        calling = asyncio.create_task(call(channel, "Get", VIEWER, name="things/1", text="kept"))
        await started.wait()
        drain = asyncio.create_task(running.server.drain())
        await running.server.draining.wait()
        async with running.channel() as late:
            with pytest.raises(grpc.aio.AioRpcError) as refused:
                await call(late, "Get", VIEWER, name="things/1")
        release.set()
        answer = await calling
        await drain

    assert answer.text == "kept"
    assert running.servicer.calls == ["Get"]
    # CANCELLED is what grpc sends on a connection that it is closing at this very moment.
    assert refused.value.code() in (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.CANCELLED)


async def test_a_call_that_outlasts_the_grace_is_cancelled(tmp_path: Path) -> None:
    started = asyncio.Event()

    async def handler(_request: Any, _context: Any) -> Any:
        started.set()
        await asyncio.Event().wait()

    settings = patient(drain_grace=timedelta(milliseconds=50))
    async with serving(tmp_path, settings=settings) as running, running.channel() as channel:
        running.servicer.on["Get"] = handler
        calling = asyncio.create_task(call(channel, "Get", VIEWER, name="things/1"))
        await started.wait()
        await running.server.drain()
        with pytest.raises(grpc.aio.AioRpcError):
            await calling


async def test_not_serving_is_told_before_calls_are_refused(tmp_path: Path) -> None:
    async with serving(tmp_path, settings=patient(drain_delay=LONG)) as running, running.channel() as channel:
        stub: Any = health_pb2_grpc.HealthStub(channel)
        health = stub.Watch(health_pb2.HealthCheckRequest())
        await health.read()
        drain = asyncio.create_task(running.server.drain())
        state = (await health.read()).status
        await call(channel, "Get", VIEWER, name="things/1")
        async with (
            aiohttp.ClientSession() as http,
            http.get(f"http://{running.server.side_address}/health") as answer,
        ):
            told = answer.status
        drain.cancel()

    assert state == health_pb2.HealthCheckResponse.NOT_SERVING
    assert told == 503


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_a_signal_drains_the_process_and_it_ends_well(tmp_path: Path, number: signal.Signals) -> None:
    async with (
        serving_process(tmp_path, "127.0.0.1:0") as (process, address),
        grpc.aio.insecure_channel(address) as channel,
    ):
        stream = watch(channel, "Watch", VIEWER, name="things/1")
        await stream.read()
        await stream.read()
        process.send_signal(number)
        ending = await ending_of(stream)
        rest, _ = await process.communicate()

    assert ending.code() is grpc.StatusCode.UNAVAILABLE
    assert (process.returncode, rest.split()[-1]) == (0, b"ended")
