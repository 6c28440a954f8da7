"""KEDA's external scaler contract both ways, over real channels, with a client and a server that are not ours."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import grpc
import grpc.aio
import pytest
from authority import an_authority, served_with
from keda_server import CLASSES, KedaServer, KedaStub, a_keda_server, scaled_object
from wire import a_wire

from opsuite.externalscaler import externalscaler_pb2_grpc as stubs
from opsuite_kernel.errors import NotFound, OpsuiteError
from opsuite_rpc.status import to_status
from opsuite_scaler.adapters.keda.client import KedaClient, KedaSource, TlsFiles
from opsuite_scaler.adapters.keda.external_scaler_api import ExternalScalerServicer
from opsuite_scaler.adapters.keda.push import KedaPush
from opsuite_scaler.adapters.keda.triggers import PolicyNow
from opsuite_scaler.adapters.keda.waking import PushWaking
from opsuite_scaler.adapters.sources.registry import ConfiguredSources, NamedSource
from opsuite_scaler.adapters.sources.source import a_value, missing
from opsuite_scaler.application.keda_query import KedaQuery
from opsuite_scaler.domain.policy import MetricKind, MetricSpec, ScalingPolicy, TargetKind, TargetRef, TargetType
from opsuite_scaler.domain.snapshot import Foreseen, Reading, SampleKind

NOON = datetime(2026, 6, 1, 12, tzinfo=UTC)
CHECKOUT = TargetRef(TargetKind.WORKLOAD, "checkout", namespace="shop")

# --- calling it -------------------------------------------------------------------------------------------------------


def query_to(server: KedaServer, **changes: Any) -> KedaQuery:
    return replace(KedaQuery(f"127.0.0.1:{server.port}", metadata={"queueName": "jobs"}), **changes)


async def read(query: KedaQuery, activation: float = 0.0, tls: TlsFiles | None = None) -> Reading:
    """As the scaler asks."""
    registry = ConfiguredSources({"keda": NamedSource(KedaSource(KedaClient(tls)), timedelta(seconds=60))})
    metric = MetricSpec("queue", MetricKind.EXTERNAL, TargetType.AVERAGE_VALUE, 5.0, source="keda")
    metric = replace(metric, query=query.as_text(), activation=activation)
    try:
        return (await registry.read(CHECKOUT, [metric], [], datetime.now(UTC)))["queue"]
    finally:
        await registry.close()


@pytest.mark.parametrize(
    ("values", "total"),
    [
        ([{"metricValue": 7}], 7.0),
        ([{"metricValueFloat": 7.25}], 7.25),
        ([{"metricValue": 8, "metricValueFloat": 7.25}], 7.25),
        ([{"metricValue": 0, "metricValueFloat": 0.0}], 0.0),
        ([{"metricValue": 3, "metricValueFloat": 0.0}], 3.0),
        ([{"metricValue": 3, "metricValueFloat": -2.0}], 3.0),
        ([{"metricValue": -3}], 0.0),
        ([{"metricValueFloat": -0.5}], 0.0),
        ([{"metricValue": 3}, {"metricValueFloat": 0.5}], 3.5),
    ],
)
async def test_a_value_is_read_as_keda_reads_it(values: list[dict[str, Any]], total: float) -> None:
    async with a_keda_server() as server:
        server.values = [{"metricName": "queue"} | value for value in values]

        reading = await read(query_to(server))

    assert (reading.kind, reading.total) == (SampleKind.VALUE, total)


async def test_the_server_is_asked_in_kedas_order_and_told_what_keda_tells() -> None:
    async with a_keda_server() as server:
        await read(query_to(server))

    assert [method for method, _ in server.asked] == ["GetMetricSpec", "GetMetrics", "IsActive"]
    scaled = scaled_object(queueName="jobs")
    assert [getattr(request, "scaledObjectRef", request) for _, request in server.asked] == [scaled] * 3
    assert server.asked[1][1].metricName == "queue"


@pytest.mark.parametrize("method", ["GetMetricSpec", "GetMetrics", "IsActive"])
async def test_whatever_of_it_fails_is_a_failure_of_the_metric(method: str) -> None:
    async with a_keda_server() as server:
        server.refuses = {method}

        reading = await read(query_to(server))

    assert reading.kind is SampleKind.ERROR
    assert "INTERNAL: it does not work today" in reading.message


@pytest.mark.parametrize(("metric", "values"), [("other", [{"metricValue": 1}]), ("", [])])
async def test_a_metric_that_it_does_not_have_is_missing(metric: str, values: list[dict[str, Any]]) -> None:
    async with a_keda_server() as server:
        server.values = values

        assert (await read(query_to(server, metric=metric))).kind is SampleKind.MISSING


async def test_while_it_says_that_nothing_is_to_be_done_nothing_activates() -> None:
    async with a_keda_server() as server:
        server.is_active = False

        readings = [await read(query_to(server), activation) for activation in (0.0, 4.0, 20.0)]

    assert [reading.total for reading in readings] == [0.0, 4.0, 7.0]  # active is what is above the activation


async def test_servers_are_spoken_to_over_tls_and_shown_who_we_are(tmp_path: Path) -> None:
    authority = an_authority(tmp_path / "ca")
    theirs, ours = authority.issue("server"), authority.issue("scaler")
    files = TlsFiles(Path(ours.ca), Path(ours.certificate), Path(ours.key))
    async with a_keda_server(served_with(theirs, must_show_certificate=True)) as server:
        known = await read(query_to(server, tls=True), tls=files)
        strange = await read(query_to(server, tls=True), tls=TlsFiles(Path(ours.ca)))
        untrusting = await read(query_to(server, tls=True))
        plain = await read(query_to(server))
        unreadable = await read(query_to(server, tls=True), tls=TlsFiles(tmp_path / "nothing.pem"))

    assert (known.kind, known.total) == (SampleKind.VALUE, 7.0)
    assert {each.kind for each in (strange, untrusting, plain, unreadable)} == {SampleKind.ERROR}


class Pauses:
    """Time that is not waited for."""

    def __init__(self) -> None:
        self.seconds: list[float] = []

    async def sleep(self, seconds: float) -> None:
        self.seconds.append(seconds)
        await asyncio.sleep(0.005)  # or nobody else would come to anything while a server is away


async def test_a_push_stream_that_drops_is_asked_for_again_less_and_less_often_until_it_speaks() -> None:
    pauses, client = Pauses(), KedaClient()
    push = KedaPush(client, sleep=pauses.sleep)
    async with a_keda_server() as server, a_wire(server.port) as wire:
        following = push.follow(CHECKOUT, query_to(server, address=f"127.0.0.1:{wire.port}"))
        server.pushes.put_nowait(True)
        assert await anext(following) is True

        for _ in range(7):
            server.pushes.put_nowait(None)  # it ends the stream
        server.pushes.put_nowait(False)
        assert await anext(following) is False
        assert pauses.seconds == [2, 4, 8, 16, 32, 60, 60]

        await wire.cut()
        waiting = asyncio.ensure_future(anext(following))
        while len(pauses.seconds) < 9:  # noqa: ASYNC110  # it is the code under test that counts
            await asyncio.sleep(0.01)
        await wire.mend()
        server.pushes.put_nowait(True)
        while not waiting.done():  # a push to a stream that was cut may be lost
            server.pushes.put_nowait(True)
            await asyncio.sleep(0.05)
        assert waiting.result() is True
        assert pauses.seconds[7:9] == [2, 4]
        await following.aclose()
    await client.close()


async def test_a_server_without_push_streams_is_left_alone() -> None:
    pauses, client = Pauses(), KedaClient()
    async with a_keda_server() as server:
        server.lacks = {"StreamIsActive"}

        assert [each async for each in KedaPush(client, sleep=pauses.sleep).follow(CHECKOUT, query_to(server))] == []

    assert pauses.seconds == []
    await client.close()


def asking(*queries: KedaQuery) -> ScalingPolicy:
    """A policy that asks these servers."""
    metric = MetricSpec("queue", MetricKind.EXTERNAL, TargetType.AVERAGE_VALUE, 5.0, source="keda")
    metrics = [replace(metric, name=f"queue_{at}", query=query.as_text()) for at, query in enumerate(queries)]
    return ScalingPolicy(CHECKOUT, (*metrics, replace(metric, name="other", source="push", query="jobs")), 10)


async def test_a_policy_is_looked_at_when_its_server_changes_its_mind() -> None:
    nudges, client = asyncio.Queue[str](), KedaClient()
    waking = PushWaking(KedaPush(client), nudges.put_nowait)
    async with a_keda_server() as server:
        waking.attend("checkout", asking(query_to(server)))
        waking.attend("checkout", asking(query_to(server)))
        for said in (True, True, False, True):
            server.pushes.put_nowait(said)
        assert [await nudges.get() for _ in range(3)] == ["checkout"] * 3

        waking.leave("checkout")
        waking.attend("payment", asking(query_to(server)))
        while len([method for method, _ in server.asked if method == "StreamIsActive"]) < 2:  # noqa: ASYNC110
            await asyncio.sleep(0.005)
        server.pushes.put_nowait(True)
        server.pushes.put_nowait(False)
        told = {await nudges.get()}
        await waking.close()

    assert told == {"payment"}
    assert [method for method, _ in server.asked] == ["StreamIsActive"] * 2
    await client.close()


# --- serving it -------------------------------------------------------------------------------------------------------


QUEUE = MetricSpec("queue", MetricKind.EXTERNAL, TargetType.AVERAGE_VALUE, 5.5, activation=2.0)
CPU = MetricSpec("cpu", MetricKind.RESOURCE, TargetType.UTILIZATION, 60.0)
POLICY = ScalingPolicy(CHECKOUT, (QUEUE, CPU, replace(QUEUE, name="small", target=0.25, activation=0.0)), 10)


@dataclass
class Policies:
    """What is known of policies, set by tests."""

    known: dict[str, PolicyNow] = field(
        default_factory=lambda: {
            "scalingPolicies/checkout": PolicyNow(
                POLICY,
                desired=4,
                readings={"queue": a_value(12.25, NOON), "small": missing("nobody knows")},
                foreseen=Foreseen(6, NOON, usable=True),
            )
        }
    )
    waiting: list[asyncio.Future[None]] = field(default_factory=list)

    async def now(self, name: str) -> PolicyNow:
        if name not in self.known:
            raise NotFound("scaling policy", name)
        return self.known[name]

    def next_change(self, name: str) -> asyncio.Future[None]:
        self.waiting.append(change := asyncio.get_running_loop().create_future())
        return change

    def change(self, **changes: Any) -> None:
        self.known["scalingPolicies/checkout"] = replace(self.known["scalingPolicies/checkout"], **changes)
        for change in self.waiting:
            if not change.done():
                change.set_result(None)
        self.waiting.clear()

    def read(self, readings: Mapping[str, Reading]) -> None:
        self.change(readings=readings)


class Errors(grpc.aio.ServerInterceptor):
    """What our server makes of errors."""

    async def intercept_service(self, continuation: Any, details: Any) -> Any:
        handler = await continuation(details)
        if handler.response_streaming:
            return handler

        async def answer(request: Any, context: Any) -> Any:
            try:
                return await handler.unary_unary(request, context)
            except OpsuiteError as error:
                await context.abort(grpc.StatusCode(code_of(error)), error.message)

        return grpc.unary_unary_rpc_method_handler(answer, handler.request_deserializer, handler.response_serializer)


def code_of(error: OpsuiteError) -> Any:
    number = to_status(error).code
    return next(code.value for code in grpc.StatusCode if code.value[0] == number)


@asynccontextmanager
async def served(
    policies: Policies, heartbeat: float = 3600, draining: asyncio.Event | None = None
) -> AsyncIterator[KedaStub]:
    """Our service, and a client of KEDA's."""
    server = grpc.aio.server(interceptors=[Errors()])
    servicer = ExternalScalerServicer(policies, draining=draining, heartbeat=timedelta(seconds=heartbeat))
    stubs.add_ExternalScalerServicer_to_server(servicer, server)
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
        yield KedaStub(channel)
    await server.stop(0)


async def poll(keda: KedaStub, **metadata: str) -> tuple[str, int, float, int, float, bool]:
    """What KEDA does for each trigger."""
    scaled = scaled_object(policy="checkout", scalerAddress="scaler:7403", **metadata)
    (spec,) = (await keda.GetMetricSpec(scaled)).metricSpecs
    (value,) = (await keda.GetMetrics(request(scaled, spec.metricName))).metricValues
    is_active = (await keda.IsActive(scaled)).result
    return spec.metricName, spec.targetSize, spec.targetSizeFloat, value.metricValue, value.metricValueFloat, is_active


def request(scaled: Any, metric: str) -> Any:
    return CLASSES["GetMetricsRequest"](scaledObjectRef=scaled, metricName=metric)


async def test_a_policy_is_a_trigger_by_its_size_a_metric_or_its_forecast() -> None:
    async with served(Policies()) as keda:
        assert await poll(keda) == ("replicas", 1, 1.0, 4, 4.0, True)
        assert await poll(keda, metric="queue") == ("queue", 6, 5.5, 13, 12.25, True)
        assert await poll(keda, metric="forecast") == ("forecast", 1, 1.0, 6, 6.0, True)


@pytest.mark.parametrize(
    ("total", "whole", "number", "is_active"),
    [(0.0, 0, 0.0, False), (-3.0, 0, 0.0, False), (0.5, 1, 0.5, False), (2.0, 2, 2.0, False), (2.5, 3, 2.5, True)],
)
async def test_both_fields_are_filled_and_nothing_is_below_zero(
    total: float, whole: int, number: float, is_active: bool
) -> None:
    policies = Policies()
    policies.read({"queue": a_value(total, NOON)})
    async with served(policies) as keda:
        assert (await poll(keda, metric="queue"))[3:] == (whole, number, is_active)


async def test_a_value_that_nobody_knows_is_an_error_while_what_is_wanted_is_told_still() -> None:
    policies = Policies()
    policies.change(desired=None, foreseen=Foreseen(6, NOON, usable=False, note="too little history"))
    async with served(policies) as keda:
        for metric, why in (("small", "nobody knows"), ("", "not decided"), ("forecast", "too little history")):
            scaled = scaled_object(policy="scalingPolicies/checkout", metric=metric)
            (spec,) = (await keda.GetMetricSpec(scaled)).metricSpecs
            for call in (keda.GetMetrics(request(scaled, spec.metricName)), keda.IsActive(scaled)):
                with pytest.raises(grpc.aio.AioRpcError, match=why) as refusal:
                    await call
                assert refusal.value.code() is grpc.StatusCode.UNAVAILABLE
            assert spec.targetSize >= 1
            assert spec.targetSizeFloat == (0.25 if metric == "small" else 1.0)


@pytest.mark.parametrize(
    ("metadata", "code"),
    [
        ({}, grpc.StatusCode.INVALID_ARGUMENT),
        ({"policy": "nothing"}, grpc.StatusCode.NOT_FOUND),
        ({"policy": "checkout", "metric": "nothing"}, grpc.StatusCode.INVALID_ARGUMENT),
        ({"policy": "checkout", "metric": "cpu"}, grpc.StatusCode.INVALID_ARGUMENT),
    ],
)
async def test_a_trigger_that_means_nothing_is_refused(metadata: dict[str, str], code: grpc.StatusCode) -> None:
    async with served(Policies()) as keda:
        for method in (keda.GetMetricSpec, keda.IsActive):
            with pytest.raises(grpc.aio.AioRpcError) as refusal:
                await method(scaled_object(**metadata))
            assert refusal.value.code() is code


async def test_a_push_stream_says_it_at_once_and_whenever_it_changes_and_nothing_in_between() -> None:
    policies = Policies()
    async with served(policies) as keda:
        stream = keda.StreamIsActive(scaled_object(policy="checkout", metric="queue"))
        told = [(await stream.read()).result]
        for total in (20.0, 1.0, 0.5, 9.0):
            while not policies.waiting:  # noqa: ASYNC110  # until it looks for the next change
                await asyncio.sleep(0.005)
            policies.read({"queue": a_value(total, NOON)})
        told += [(await stream.read()).result for _ in range(2)]
        stream.cancel()

    assert told == [True, False, True]


async def test_a_silent_push_stream_has_a_heartbeat_and_ends_when_the_server_drains() -> None:
    draining = asyncio.Event()
    async with served(Policies(), heartbeat=0.01, draining=draining) as keda:
        stream = keda.StreamIsActive(scaled_object(policy="checkout"))
        assert [(await stream.read()).result for _ in range(3)] == [True] * 3
        draining.set()
        while await stream.read() is not grpc.aio.EOF:  # what was under way
            pass

        assert await stream.code() is grpc.StatusCode.OK


async def test_a_stream_of_what_is_wanted_says_it_at_once_and_when_the_policy_changes() -> None:
    policies = Policies()
    async with served(policies) as keda:
        stream = keda.StreamMetricSpec(scaled_object(policy="checkout", metric="queue"))
        first = await stream.read()
        while not policies.waiting:  # noqa: ASYNC110  # until it looks for the next change
            await asyncio.sleep(0.005)
        policies.read({})
        while not policies.waiting:  # noqa: ASYNC110
            await asyncio.sleep(0.005)
        policies.change(policy=replace(POLICY, metrics=(replace(QUEUE, target=9.0),)))
        second = await stream.read()
        stream.cancel()

    assert [spec.targetSizeFloat for answer in (first, second) for spec in answer.metricSpecs] == [5.5, 9.0]
