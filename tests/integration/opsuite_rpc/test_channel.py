"""The client half against a real server: errors, deadlines, retries, tokens, traces."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import tempfile
import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, cast

import grpc
import pytest
from fakes.deployer_service import NAME, FakeDeployer, serving
from opentelemetry import trace

from opsuite.deployer.v1 import deployment_service_pb2 as pb
from opsuite.deployer.v1.deployment_service_pb2_grpc import DeploymentServiceStub
from opsuite_kernel.errors import Gone, Internal, InvalidInput, NotFound, Stale, TimedOut, Unavailable, Violation
from opsuite_rpc import calls
from opsuite_rpc.channel import Target, connect

GET = pb.GetDeploymentRequest(name=NAME)
WATCH = pb.WatchDeploymentRequest(name=NAME)


@asynccontextmanager
async def connected(fake: FakeDeployer, **options: Any) -> AsyncIterator[Any]:
    """A stub for `fake`, as a user has it."""
    async with serving(fake) as address, connect(address, **options) as connection:
        yield DeploymentServiceStub(connection.channel)


async def test_an_error_arrives_as_it_was_raised() -> None:
    raised = InvalidInput([Violation("pipeline", "is missing", "REQUIRED"), Violation("version", "too long", "LONG")])

    async def refuse(_request: Any, _context: Any) -> Any:
        raise raised

    async with connected(FakeDeployer(deploy=refuse)) as stub:
        with pytest.raises(InvalidInput) as caught:
            await stub.Deploy(pb.DeployRequest())

    assert caught.value.violations == raised.violations
    assert isinstance(caught.value.__cause__, grpc.aio.AioRpcError)


async def test_an_error_in_a_stream_arrives_after_what_came_before_it() -> None:
    async def watch(_request: Any, _context: Any) -> AsyncIterator[Any]:
        yield pb.WatchDeploymentResponse(resume_token="1")
        raise Gone("compacted", reason="REVISION_COMPACTED", metadata={"oldest": "7"})

    async with connected(FakeDeployer(watch=watch)) as stub:
        responses = aiter(stub.WatchDeployment(WATCH))
        assert (await anext(responses)).resume_token == "1"
        with pytest.raises(Gone) as caught:
            await anext(responses)

    assert (caught.value.reason, caught.value.metadata) == ("REVISION_COMPACTED", {"oldest": "7"})


async def test_a_cancelled_that_the_server_sends_is_not_taken_for_our_own() -> None:
    async def give_up(_request: Any, context: Any) -> AsyncIterator[Any]:
        await context.abort(grpc.StatusCode.CANCELLED, "too much to do")
        yield None

    async with connected(FakeDeployer(watch=give_up)) as stub:
        with pytest.raises(Unavailable) as caught:
            async for _response in stub.WatchDeployment(WATCH):
                pass

    assert caught.value.reason == "CANCELLED"


async def test_cancelling_a_call_cancels_it_on_the_server() -> None:
    began, ended = asyncio.Event(), asyncio.Event()

    async def last(_request: Any, _context: Any) -> Any:
        began.set()
        try:
            await asyncio.Event().wait()
        finally:
            ended.set()

    async with connected(FakeDeployer(get=last)) as stub:

        async def ask() -> None:
            await stub.GetDeployment(GET)

        task = asyncio.create_task(ask())
        await began.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await ended.wait()


async def test_cancelling_a_stream_cancels_it_on_the_server() -> None:
    ended = asyncio.Event()

    async def watch(_request: Any, _context: Any) -> AsyncIterator[Any]:
        try:
            yield pb.WatchDeploymentResponse(resume_token="1")
            await asyncio.Event().wait()
        finally:
            ended.set()

    async with connected(FakeDeployer(watch=watch)) as stub:
        call = stub.WatchDeployment(WATCH)
        async for _response in call:
            break
        call.cancel()
        await ended.wait()


async def test_every_unary_call_has_a_deadline_and_no_stream_has() -> None:
    fake = FakeDeployer()
    async with connected(fake) as stub:
        await stub.GetDeployment(GET)
        await stub.Deploy(pb.DeployRequest())
        await stub.GetDeployment(GET, timeout=60)
        async for _response in stub.WatchDeployment(WATCH):
            pass

    get, deploy, patient, watch = (seen.remaining for seen in fake.seen)
    assert get is not None
    assert deploy is not None
    assert patient is not None
    assert 0 < get < 6 < deploy < 11 < patient < 61  # on the wire a timeout is rounded up to a coarser unit
    assert watch is None or watch > 10**6


async def test_a_deadline_that_passes_is_timed_out() -> None:
    async def never(_request: Any, _context: Any) -> Any:
        await asyncio.Event().wait()

    async with connected(FakeDeployer(get=never)) as stub:
        with pytest.raises(TimedOut):
            await stub.GetDeployment(GET, timeout=0.05)


class InWork:
    """A call in work that has so many seconds left."""

    def __init__(self, seconds: float | None) -> None:
        self.seconds = seconds

    def time_remaining(self) -> float | None:
        return self.seconds


async def inside_a_call(seconds: float | None, stub: Any) -> None:
    """Call from inside a handler; a task of its own, because a context variable is set."""

    async def handler() -> None:
        calls.enter(calls.Call(InWork(seconds), "", 0.0, trace.INVALID_SPAN))
        await stub.GetDeployment(GET)

    await asyncio.create_task(handler())


async def test_a_call_inside_of_a_call_ends_before_it() -> None:
    fake = FakeDeployer()
    async with connected(fake) as stub:
        await inside_a_call(2.0, stub)
        await inside_a_call(None, stub)

    short, usual = (cast("float", seen.remaining) for seen in fake.seen)
    assert short < 1.99
    assert 2 < usual < 6


async def test_nothing_is_called_when_no_time_is_left() -> None:
    fake = FakeDeployer()
    async with connected(fake) as stub:
        with pytest.raises(TimedOut):
            await inside_a_call(0.04, stub)

    assert fake.seen == []


def fails(times: int, code: grpc.StatusCode) -> Any:
    """A behaviour that fails so often and then answers."""
    left = times

    async def behave(_request: Any, context: Any) -> Any:
        nonlocal left
        left -= 1
        if left >= 0:
            await context.abort(code, "not now")
        return pb.DeployResponse()

    return behave


async def test_a_call_is_repeated_with_the_same_request_id_while_the_server_is_unavailable() -> None:
    fake = FakeDeployer(deploy=fails(3, grpc.StatusCode.UNAVAILABLE))
    request = pb.DeployRequest(version="1.0.0")
    async with connected(fake) as stub:
        await stub.Deploy(request)

    ids = [seen.request.request_id for seen in fake.seen]
    assert len(ids) == 4
    assert len(set(ids)) == 1
    assert uuid.UUID(ids[0]).version == 4
    assert not request.HasField("request_id")


async def test_each_call_has_a_request_id_of_its_own_unless_the_caller_chose_one() -> None:
    fake = FakeDeployer()
    request = pb.DeployRequest(version="1.0.0")
    chosen = str(uuid.uuid4())
    async with connected(fake) as stub:
        await stub.Deploy(request)
        await stub.Deploy(request)
        await stub.Deploy(pb.DeployRequest(request_id=chosen))

    first, second, third = (seen.request for seen in fake.seen)
    assert first.request_id != second.request_id
    assert (first.version, third.request_id) == ("1.0.0", chosen)


@pytest.mark.parametrize(
    ("code", "kind", "attempts"),
    [
        (grpc.StatusCode.UNAVAILABLE, Unavailable, 4),
        (grpc.StatusCode.ABORTED, Stale, 1),
        (grpc.StatusCode.INTERNAL, Internal, 1),
    ],
)
async def test_only_unavailable_is_repeated_and_not_for_ever(
    code: grpc.StatusCode, kind: type[Exception], attempts: int
) -> None:
    fake = FakeDeployer(deploy=fails(100, code))
    async with connected(fake) as stub:
        with pytest.raises(kind):
            await stub.Deploy(pb.DeployRequest())

    assert len(fake.seen) == attempts


async def test_a_server_that_is_not_there_is_unavailable() -> None:
    with tempfile.TemporaryDirectory() as directory:
        async with connect(f"unix://{directory}/nobody.sock") as connection:
            with pytest.raises(Unavailable):
                await DeploymentServiceStub(connection.channel).GetDeployment(GET)


async def test_the_token_goes_with_every_call_over_tcp_and_unix_sockets(tmp_path: Path) -> None:
    fake = FakeDeployer()
    (tmp_path / "token").write_text("from-file\n")
    with tempfile.TemporaryDirectory() as directory:
        for address in ("127.0.0.1:0", f"unix://{directory}/s.sock"):
            async with serving(fake, address) as bound:
                async with connect(bound, token="given", token_file=tmp_path / "absent") as connection:
                    await DeploymentServiceStub(connection.channel).GetDeployment(GET)
                async with connect(bound, token_file=tmp_path / "token") as connection:
                    await DeploymentServiceStub(connection.channel).GetDeployment(GET)
                async with connect(Target(bound, token="other"), token_file=tmp_path / "token") as connection:
                    await DeploymentServiceStub(connection.channel).GetDeployment(GET)
                async with connect(bound) as connection:
                    await DeploymentServiceStub(connection.channel).GetDeployment(GET)

    assert [seen.metadata.get("authorization") for seen in fake.seen] == [
        "Bearer given",
        "Bearer from-file",
        "Bearer from-file",
        None,
    ] * 2


async def test_a_call_carries_the_current_trace_and_outside_of_one_none() -> None:
    fake = FakeDeployer()
    context = trace.SpanContext(0xABC, 0xDEF, is_remote=False, trace_flags=trace.TraceFlags(1))
    async with connected(fake) as stub:
        with trace.use_span(trace.NonRecordingSpan(context)):
            await stub.GetDeployment(GET)
            async for _response in stub.WatchDeployment(WATCH):
                pass
        await stub.GetDeployment(GET)

    expected = f"00-{0xABC:032x}-{0xDEF:016x}-01"
    assert [seen.metadata.get("traceparent") for seen in fake.seen] == [expected, expected, None]


async def test_metadata_of_the_caller_is_kept() -> None:
    fake = FakeDeployer()
    async with connected(fake) as stub:
        await stub.GetDeployment(GET, metadata=(("x-reason", "curious"),))

    assert fake.seen[0].metadata["x-reason"] == "curious"


async def test_an_answer_of_ten_mebibytes_is_accepted() -> None:
    async def big(_request: Any, _context: Any) -> Any:
        answer = pb.GetDeploymentResponse()
        answer.deployment.message = "x" * 10 * 1024 * 1024
        return answer

    async with connected(FakeDeployer(get=big)) as stub:
        answer = await stub.GetDeployment(GET)

    assert len(answer.deployment.message) == 10 * 1024 * 1024


async def test_a_missing_token_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(NotFound) as caught:
        async with connect("127.0.0.1:1", token_file=tmp_path / "absent"):
            pass

    assert caught.value.name == str(tmp_path / "absent")


def test_the_light_install_is_enough() -> None:
    """Packages that only servers have must not be needed to call one."""
    program = (
        "import sys, opsuite_rpc.channel, opsuite_rpc.watching, opsuite_rpc.status; "
        "print(*sorted({name.partition('.')[0] for name in sys.modules}))"
    )

    found = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout.split()

    # Not grpc_reflection: grpc itself loads it where it is installed.
    server_only = {"opentelemetry", "structlog", "pydantic", "pydantic_settings", "prometheus_client", "sqlalchemy"}
    server_only |= {"aiohttp", "joserfc", "cryptography", "tenacity", "yaml", "psycopg"}
    assert "opsuite_rpc" in found
    assert server_only.isdisjoint(found)
