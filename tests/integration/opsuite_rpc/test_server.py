"""A real server on loopback: what its callers see of answers, errors, limits and its own services."""

from __future__ import annotations

import asyncio
import json
import shutil
import sys
from datetime import timedelta
from pathlib import Path
from typing import Any

import aiohttp
import grpc
import pytest
from components import program
from fakes.rpc_service import (
    METHODS,
    SERVICE,
    VIEWER,
    Response,
    ThingServicer,
    a_file,
    a_server,
    add_file,
    call,
    chat,
    detail,
    metadata,
    register,
    serving,
    watch,
)
from google.protobuf import descriptor_pool
from google.rpc import error_details_pb2
from grpc_channelz.v1 import channelz_pb2, channelz_pb2_grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from structlog.testing import capture_logs

from opsuite.common.v1 import options_pb2
from opsuite_kernel.errors import Conflict
from opsuite_rpc.access import AccessControl, current_principal
from opsuite_rpc.calls import time_remaining
from opsuite_rpc.limits import CallClass, Limits, Rate
from opsuite_rpc.server import Service
from opsuite_rpc.settings import CannotServe, ServerSettings, SideSettings


def settings(**changes: Any) -> ServerSettings:
    return ServerSettings(**{"listen": ("127.0.0.1:0",), "side": SideSettings(port=0), **changes})


# ---- answers and errors ---------------------------------------------------------------------------------------------


async def test_a_handler_answers_and_knows_its_caller_and_the_time_it_has(tmp_path: Path) -> None:
    seen: list[Any] = []

    async def handler(request: Any, _context: Any) -> Any:
        seen.extend((current_principal().name, time_remaining()))
        return Response(text=request.text.upper())

    async with serving(tmp_path) as running, running.channel() as channel:
        running.servicer.on["Get"] = handler
        answer = await call(channel, "Get", VIEWER, name="things/1", text="hello", timeout=3600)

    assert answer.text == "HELLO"
    assert seen[0] == "vera"
    assert seen[1] == pytest.approx(3600, abs=60)


async def test_a_stream_may_hold_messages_and_bytes_serialised_before(tmp_path: Path) -> None:
    async with serving(tmp_path) as running, running.channel() as channel:
        stream = watch(channel, "Watch", VIEWER, name="things/1")
        texts = [(await stream.read()).text, (await stream.read()).text]
        stream.cancel()

    assert texts == ["first", "second"]


async def test_an_error_of_a_kind_arrives_with_its_code_reason_and_metadata(tmp_path: Path) -> None:
    async def handler(_request: Any, _context: Any) -> Any:
        raise Conflict("it is locked", reason="LOCKED", metadata={"owner": "otto"})

    async with serving(tmp_path) as running, running.channel() as channel:
        running.servicer.on["Get"] = handler
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await call(channel, "Get", VIEWER, name="things/1")

    info = detail(caught.value, error_details_pb2.ErrorInfo)
    assert caught.value.code() is grpc.StatusCode.FAILED_PRECONDITION
    assert (info.reason, dict(info.metadata)) == ("LOCKED", {"owner": "otto"})


async def test_an_unknown_exception_is_an_incident_id_to_the_caller_and_told_in_full_in_the_log(tmp_path: Path) -> None:
    async def handler(_request: Any, _context: Any) -> Any:
        raise RuntimeError("password is hunter2")

    async with serving(tmp_path) as running, running.channel() as channel:
        running.servicer.on["Get"] = handler
        with capture_logs() as logs, pytest.raises(grpc.aio.AioRpcError) as caught:
            await call(channel, "Get", VIEWER, name="things/1")

    incident = detail(caught.value, error_details_pb2.ErrorInfo).metadata["incident"]
    fault = next(entry for entry in logs if entry["event"] == "rpc_fault")
    assert caught.value.code() is grpc.StatusCode.INTERNAL
    assert "hunter2" not in repr(caught.value)
    assert fault["incident"] == incident
    assert "hunter2" in repr(fault["exc_info"])


async def test_a_status_that_a_handler_sends_itself_passes_unchanged(tmp_path: Path) -> None:
    async def handler(_request: Any, context: Any) -> Any:
        await context.abort(grpc.StatusCode.DATA_LOSS, "as I said")

    async with serving(tmp_path) as running, running.channel() as channel:
        running.servicer.on["Get"] = handler
        with capture_logs() as logs:
            with pytest.raises(grpc.aio.AioRpcError) as caught:
                await call(channel, "Get", VIEWER, name="things/1")
            await running.server.wait_until_idle()

    assert (caught.value.code(), caught.value.details()) == (grpc.StatusCode.DATA_LOSS, "as I said")
    assert [entry["code"] for entry in logs if entry["event"] == "rpc"] == ["DATA_LOSS"]


async def test_a_call_without_deadline_ends_at_the_cap_of_the_server(tmp_path: Path) -> None:
    async def handler(_request: Any, _context: Any) -> Any:
        await asyncio.Event().wait()

    async with serving(tmp_path, settings=settings(deadline_cap=timedelta(milliseconds=20))) as running:
        running.servicer.on["Get"] = handler
        async with running.channel() as channel:
            with pytest.raises(grpc.aio.AioRpcError) as caught:
                await call(channel, "Get", VIEWER, name="things/1", timeout=None)

    assert caught.value.code() is grpc.StatusCode.DEADLINE_EXCEEDED
    assert detail(caught.value, error_details_pb2.ErrorInfo).reason == "DEADLINE_CAP"


async def test_a_caller_who_gives_up_cancels_the_handler(tmp_path: Path) -> None:
    started, cancelled = asyncio.Event(), asyncio.Event()

    async def handler(_request: Any, _context: Any) -> Any:
        started.set()
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            cancelled.set()
            raise

    async with serving(tmp_path) as running, running.channel() as channel:
        running.servicer.on["Change"] = handler
        calling = asyncio.create_task(call(channel, "Change", running.local, environment="staging"))
        await started.wait()
        calling.cancel()
        await cancelled.wait()
        await running.server.drain()

    assert running.audit.told == [("local", "Change", "staging", "CANCELLED")]


async def test_a_call_that_its_caller_timed_out_is_counted_as_that(tmp_path: Path) -> None:
    async def handler(_request: Any, _context: Any) -> Any:
        await asyncio.Event().wait()

    async with serving(tmp_path) as running, running.channel() as channel:
        running.servicer.on["Get"] = handler
        with capture_logs() as logs:
            with pytest.raises(grpc.aio.AioRpcError):
                await call(channel, "Get", VIEWER, name="things/1", timeout=0.02)
            await running.server.wait_until_idle()

    assert [entry["code"] for entry in logs if entry["event"] == "rpc"] == ["DEADLINE_EXCEEDED"]


async def test_every_violation_of_a_request_is_told_by_its_path_before_the_handler_runs(tmp_path: Path) -> None:
    async with serving(tmp_path) as running, running.channel() as channel:
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await call(channel, "Get", VIEWER, name="things/1", text="x" * 101)

    violations = detail(caught.value, error_details_pb2.BadRequest).field_violations
    assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert [violation.field for violation in violations] == ["text"]
    assert running.servicer.calls == []


async def test_a_method_that_judges_shapes_itself_is_handed_the_violations(tmp_path: Path) -> None:
    async with serving(tmp_path) as running, running.channel() as channel:
        wrong = await call(channel, "Judge", VIEWER, text="x" * 101)
        right = await call(channel, "Judge", VIEWER, text="x" * 100)
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await call(channel, "Judge", None, text="x" * 101)

    assert (wrong.text, right.text) == ("text", "")
    assert refused.value.code() is grpc.StatusCode.UNAUTHENTICATED


async def test_a_stream_of_requests_is_examined_message_by_message(tmp_path: Path) -> None:
    async with serving(tmp_path) as running, running.channel() as channel:
        stream = chat(channel, VIEWER, "good", "x" * 101, "never heard")
        heard = (await stream.read()).text
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await stream.read()
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await chat(channel, None, "good").read()

    assert heard == "good"
    assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert [each.field for each in detail(caught.value, error_details_pb2.BadRequest).field_violations] == ["text"]
    assert refused.value.code() is grpc.StatusCode.UNAUTHENTICATED


# ---- limits ---------------------------------------------------------------------------------------------------------


async def test_a_principal_beyond_its_rate_is_told_when_to_come_back_and_others_are_not_hurt(tmp_path: Path) -> None:
    limits = Limits(rates={CallClass.READ: Rate(per_second=0.01, burst=2)})
    async with serving(tmp_path, settings=settings(limits=limits)) as running, running.channel() as channel:
        for _ in range(2):
            await call(channel, "Get", VIEWER, name="things/1")
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await call(channel, "Get", VIEWER, name="things/1")
        await call(channel, "Get", running.local, name="things/1")

    assert caught.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
    assert detail(caught.value, error_details_pb2.ErrorInfo).reason == "RATE_LIMITED"
    assert "grpc-retry-pushback-ms" in dict(caught.value.trailing_metadata() or ())
    assert 0 < detail(caught.value, error_details_pb2.RetryInfo).retry_delay.ToTimedelta().total_seconds() <= 100


async def test_watches_beyond_their_limit_are_refused_and_reads_go_on(tmp_path: Path) -> None:
    limits = Limits(concurrency={**Limits().concurrency, CallClass.WATCH: 1})
    async with serving(tmp_path, settings=settings(limits=limits)) as running, running.channel() as channel:
        first = watch(channel, "Watch", VIEWER, name="things/1")
        await first.read()
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await watch(channel, "Watch", VIEWER, name="things/1").read()
        await call(channel, "Get", VIEWER, name="things/1")
        first.cancel()

    assert caught.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
    assert detail(caught.value, error_details_pb2.ErrorInfo).reason == "TOO_MANY_CALLS"


async def test_short_calls_beyond_their_limit_wait_for_a_slot(tmp_path: Path) -> None:
    inside, most, two_inside = 0, 0, asyncio.Event()

    async def handler(_request: Any, _context: Any) -> Any:
        nonlocal inside, most
        inside += 1
        most = max(most, inside)
        if inside == 2:
            two_inside.set()
        await two_inside.wait()
        await asyncio.sleep(0)
        inside -= 1
        return Response()

    limits = Limits(concurrency={**Limits().concurrency, CallClass.READ: 2})
    async with serving(tmp_path, settings=settings(limits=limits)) as running, running.channel() as channel:
        running.servicer.on["Get"] = handler
        await asyncio.gather(*(call(channel, "Get", VIEWER, name="things/1") for _ in range(8)))

    assert most == 2


# ---- what it refuses to start with ----------------------------------------------------------------------------------


def service_of(package: str, without_access: tuple[str, ...] = ()) -> Service:
    add_file(a_file(package, METHODS, without_access))
    descriptor = descriptor_pool.Default().FindServiceByName(f"{package}.ThingService")
    return Service(ThingServicer(asyncio.Event()), register, descriptor.full_name)


async def test_a_method_without_access_option_stops_the_start(tmp_path: Path) -> None:
    service = service_of("opsuite.rpctest.open.v1", without_access=("Get", "Watch"))

    with pytest.raises(CannotServe) as caught:
        a_server(tmp_path, services=[service])

    assert [violation.field for violation in caught.value.violations] == [
        "opsuite.rpctest.open.v1.ThingService/Get",
        "opsuite.rpctest.open.v1.ThingService/Watch",
    ]


async def test_a_rule_that_does_not_compile_stops_the_start(tmp_path: Path) -> None:
    file = a_file("opsuite.rpctest.badrule.v1", METHODS)
    file.message_type[0].field[0].options.Extensions[options_pb2.rule].pattern = "("
    add_file(file)

    with pytest.raises(CannotServe, match="does not compile"):
        a_server(tmp_path, services=[Service(ThingServicer(asyncio.Event()), register, f"{file.package}.ThingService")])


async def test_a_service_without_contract_stops_the_start(tmp_path: Path) -> None:
    with pytest.raises(CannotServe, match="in no contract"):
        a_server(tmp_path, services=[Service(ThingServicer(asyncio.Event()), register, "opsuite.nowhere.v1.Service")])


@pytest.mark.parametrize("address", ["0.0.0.0:0", "[::]:0", "192.0.2.1:7401", "example.org:7401"])
async def test_an_address_that_others_reach_stops_the_start_without_tls(tmp_path: Path, address: str) -> None:
    with pytest.raises(CannotServe, match="needs TLS"):
        a_server(tmp_path, settings=settings(listen=(address,)))


async def test_a_tcp_port_that_asks_nobody_who_they_are_stops_the_start(tmp_path: Path) -> None:
    (tmp_path / "token").write_text("unused")

    with pytest.raises(CannotServe, match="open to everybody"):
        a_server(tmp_path, access=AccessControl())


async def test_a_second_server_on_the_same_port_is_refused(tmp_path: Path) -> None:
    async with serving(tmp_path) as running:
        second = a_server(tmp_path, settings=settings(listen=running.server.addresses))
        with pytest.raises(CannotServe, match="cannot be bound"):
            await second.server.start()
        async with running.channel() as channel:
            await call(channel, "Get", VIEWER, name="things/1")


# ---- health, reflection, side port ----------------------------------------------------------------------------------


async def test_health_is_told_to_anybody_for_the_whole_and_for_each_service(tmp_path: Path) -> None:
    async with serving(tmp_path) as running, running.channel() as channel:
        stub: Any = health_pb2_grpc.HealthStub(channel)
        await running.server.set_serving(SERVICE, serving=False)
        whole = await stub.Check(health_pb2.HealthCheckRequest())
        one = await stub.Check(health_pb2.HealthCheckRequest(service=SERVICE))

    assert (whole.status, one.status) == (whole.SERVING, whole.NOT_SERVING)


async def curl(*arguments: str) -> tuple[int, str]:
    """The foreign client: exit code (8 times the status code) and all it printed."""
    process = await asyncio.create_subprocess_exec(
        shutil.which("buf", path=Path(sys.executable).parent) or program("buf", "in the dev extra"),
        "curl",
        "--http2-prior-knowledge",
        "--protocol",
        "grpc",
        *arguments,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    printed, _ = await process.communicate()
    return process.returncode or 0, printed.decode()


def with_token(token: str) -> tuple[str, ...]:
    return "-H", f"authorization: Bearer {token}", "--reflect-header", "*"


async def test_a_foreign_client_finds_services_by_reflection_only_with_a_token(tmp_path: Path) -> None:
    async with serving(tmp_path) as running:
        url = f"http://{running.server.addresses[0]}"
        refused, _ = await curl("--list-services", url)
        code, printed = await curl(*with_token(VIEWER), "--list-services", url)

    assert refused != 0
    assert code == 0
    assert SERVICE in printed.splitlines()


@pytest.mark.parametrize(("debug", "code"), [(False, "UNIMPLEMENTED"), (True, "PERMISSION_DENIED")])
async def test_channelz_is_there_in_debug_only_and_for_administrators(tmp_path: Path, debug: bool, code: str) -> None:
    async with serving(tmp_path, settings=settings(debug=debug)) as running, running.channel() as channel:
        stub: Any = channelz_pb2_grpc.ChannelzStub(channel)  # type: ignore[arg-type]  # the stubs know no aio
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await stub.GetServers(channelz_pb2.GetServersRequest(), metadata=metadata(VIEWER))
        if debug:
            await stub.GetServers(channelz_pb2.GetServersRequest(), metadata=metadata(running.local))

    assert caught.value.code().name == code


async def test_a_foreign_client_gets_rich_errors(tmp_path: Path) -> None:
    async with serving(tmp_path) as running:
        url = f"http://{running.server.addresses[0]}/{SERVICE}/Get"
        code, printed = await curl(*with_token(VIEWER), "-d", json.dumps({"name": "things/1", "text": "x" * 101}), url)

    assert code == 8 * grpc.StatusCode.INVALID_ARGUMENT.value[0]
    assert {each["type"] for each in json.loads(printed)["details"]} >= {
        "google.rpc.BadRequest",
        "google.rpc.ErrorInfo",
    }


async def test_the_side_port_tells_health_and_the_metrics_of_every_method(tmp_path: Path) -> None:
    async with serving(tmp_path) as running, running.channel() as channel, aiohttp.ClientSession() as http:
        await call(channel, "Get", VIEWER, name="things/1")
        with pytest.raises(grpc.aio.AioRpcError):
            await call(channel, "Get", "wrong", name="things/1")
        await running.server.wait_until_idle()
        base = f"http://{running.server.side_address}"
        async with http.get(f"{base}/health") as answer:
            well = (answer.status, (await answer.json())["services"][SERVICE])
        async with http.get(f"{base}/metrics") as answer:
            metrics = await answer.text()
        await running.server.set_serving("", serving=False)
        async with http.get(f"{base}/health") as answer:
            ill = (answer.status, (await answer.json())["status"])

    labels = f'method="Get",service="{SERVICE}"'
    assert (well, ill) == ((200, "SERVING"), (503, "NOT_SERVING"))
    assert f'bitcraps_rpc_requests_total{{code="OK",{labels}}} 1.0' in metrics
    assert f'bitcraps_rpc_requests_total{{code="UNAUTHENTICATED",{labels}}} 1.0' in metrics
    assert f"bitcraps_rpc_duration_seconds_count{{{labels}}} 2.0" in metrics
    assert f"bitcraps_rpc_in_flight{{{labels}}} 0.0" in metrics


# ---- traces ---------------------------------------------------------------------------------------------------------


async def test_a_call_is_a_server_span_in_the_trace_of_its_caller(tmp_path: Path) -> None:
    kept = InMemorySpanExporter()
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(kept))
    trace_id, parent = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
    traceparent = ("traceparent", f"00-{trace_id}-{parent}-01")

    async with serving(tmp_path, tracer=provider.get_tracer("test")) as running, running.channel() as channel:
        await call(channel, "Change", running.local, environment="staging", more=(traceparent,))
        await running.server.wait_until_idle()

    span = kept.get_finished_spans()[0]
    attributes = dict(span.attributes or {})
    assert span.parent is not None
    assert (format(span.context.trace_id, "032x"), format(span.parent.span_id, "016x")) == (trace_id, parent)
    assert attributes["rpc.system.name"] == "grpc"
    assert attributes["rpc.method"] == f"{SERVICE}/Change"
    assert attributes["rpc.response.status_code"] == "OK"
    assert running.audit.entries[0].trace_id == trace_id
    assert running.local not in repr(attributes)


async def test_no_token_stands_in_any_log_line(tmp_path: Path) -> None:
    with capture_logs() as logs:
        async with serving(tmp_path, settings=settings(logged_share=1.0)) as running, running.channel() as channel:
            await call(channel, "Get", running.local, name="things/1")
            with pytest.raises(grpc.aio.AioRpcError):
                await call(channel, "Get", "a-wrong-token", name="things/1")
            await running.server.wait_until_idle()

    assert [entry["code"] for entry in logs if entry["event"] == "rpc"] == ["OK", "UNAUTHENTICATED"]
    assert running.local not in repr(logs)
    assert "a-wrong-token" not in repr(logs)
