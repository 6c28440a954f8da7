"""Watches against real servers that answer badly, fall silent, and are killed."""

from __future__ import annotations

import asyncio
import sys
import tempfile
from collections.abc import AsyncIterator, Callable
from contextlib import aclosing, asynccontextmanager
from pathlib import Path
from typing import Any

import grpc
import pytest
from fakes.deployer_service import NAME, FakeDeployer, a_batch, serving
from google.protobuf.duration_pb2 import Duration

from opsuite.deployer.v1 import deployment_service_pb2 as pb
from opsuite.deployer.v1.deployment_service_pb2_grpc import DeploymentServiceStub
from opsuite_kernel.errors import Exhausted, Gone, Unavailable
from opsuite_rpc.channel import connect
from opsuite_rpc.watching import LONGEST_PAUSE_SECONDS, SHORTEST_PAUSE_SECONDS, full_jitter, watch

TESTS = Path(__file__).parents[2]
WATCH = pb.WatchDeploymentRequest(name=NAME, heartbeat=Duration(nanos=100_000_000))
Life = Callable[[Any, Any], AsyncIterator[Any]]


def no_pause(_failures: int) -> float:
    return 0.0


def one_life_after_another(*lives: Life) -> FakeDeployer:
    """A server that behaves differently in each stream."""
    fake = FakeDeployer()

    async def next_life(request: Any, context: Any) -> AsyncIterator[Any]:
        async for response in lives[len(fake.seen) - 1](request, context):
            yield response

    fake.watch = next_life
    return fake


def sends(*responses: Any, then: Exception | grpc.StatusCode | None = None) -> Life:
    async def life(_request: Any, context: Any) -> AsyncIterator[Any]:
        for response in responses:
            yield response
        if isinstance(then, grpc.StatusCode):
            await context.abort(then, "no")
        if then is not None and not isinstance(then, grpc.StatusCode):
            raise then

    return life


@asynccontextmanager
async def stub_for(fake: FakeDeployer) -> AsyncIterator[Any]:
    async with serving(fake) as address, connect(address) as connection:
        yield DeploymentServiceStub(connection.channel)


async def revisions(stub: Any, request: Any = WATCH) -> list[int]:
    """All revisions of a watch, to its end."""
    return [
        event.revision
        async for response in watch(stub.WatchDeployment, request, pause=no_pause)
        for event in response.events
    ]


def tokens(fake: FakeDeployer) -> list[str]:
    return [seen.request.resume_token for seen in fake.seen]


async def test_a_watch_ends_when_the_server_says_that_is_all() -> None:
    fake = one_life_after_another(sends(a_batch(1, 2), a_batch(3)))

    async with stub_for(fake) as stub:
        assert await revisions(stub) == [1, 2, 3]

    assert tokens(fake) == [""]


@pytest.mark.parametrize("end", [Unavailable("rotated", reason="STREAM_ROTATED"), grpc.StatusCode.CANCELLED])
async def test_a_watch_goes_on_from_the_last_token(end: Any) -> None:
    fake = one_life_after_another(sends(a_batch(1, 2), then=end), sends(a_batch(3)))
    request = pb.WatchDeploymentRequest(name=NAME)

    async with stub_for(fake) as stub:
        assert await revisions(stub, request) == [1, 2, 3]

    assert tokens(fake) == ["", "2"]
    assert request == pb.WatchDeploymentRequest(name=NAME)


async def test_a_watch_resumes_over_a_plain_channel_too() -> None:
    fake = one_life_after_another(
        sends(a_batch(1), then=Unavailable("away")),
        sends(a_batch(2), then=grpc.StatusCode.CANCELLED),
        sends(a_batch(3)),
    )

    async with serving(fake) as address, grpc.aio.insecure_channel(address) as channel:
        assert await revisions(DeploymentServiceStub(channel)) == [1, 2, 3]


async def test_a_server_that_is_silent_for_three_heartbeats_is_left() -> None:
    left = asyncio.Event()

    async def falls_silent(_request: Any, _context: Any) -> AsyncIterator[Any]:
        yield a_batch(1)
        try:
            await asyncio.Event().wait()
        finally:
            left.set()

    fake = one_life_after_another(falls_silent, sends(a_batch(2)))

    async with stub_for(fake) as stub:
        assert await revisions(stub) == [1, 2]
        await left.wait()

    assert tokens(fake) == ["", "1"]


async def test_bookmarks_move_the_token_and_are_handed_out() -> None:
    bookmark = pb.WatchDeploymentResponse(bookmark=pb.Bookmark(), resume_token="9")
    fake = one_life_after_another(sends(a_batch(1), bookmark, then=Unavailable("away")), sends())

    async with stub_for(fake) as stub:
        markers = [r.WhichOneof("marker") async for r in watch(stub.WatchDeployment, WATCH, pause=no_pause)]

    assert markers == [None, "bookmark"]
    assert tokens(fake) == ["", "9"]


async def test_events_that_come_again_are_dropped_and_empty_answers_with_them() -> None:
    fake = one_life_after_another(
        sends(a_batch(1, 2), then=Unavailable("away")), sends(a_batch(1, 2), a_batch(2, 3), a_batch(4))
    )

    async with stub_for(fake) as stub:
        batches = [
            [event.revision for event in response.events]
            async for response in watch(stub.WatchDeployment, WATCH, pause=no_pause)
        ]

    assert batches == [[1, 2], [3], [4]]


async def test_revisions_count_per_deployment() -> None:
    fake = one_life_after_another(
        sends(a_batch(1, 2), a_batch(1, 2, deployment="other"), a_batch(2, deployment="other"))
    )

    async with stub_for(fake) as stub:
        assert await revisions(stub) == [1, 2, 1, 2]


async def test_what_a_snapshot_holds_does_not_come_again_as_an_event() -> None:
    snapshot = pb.WatchDeploymentResponse(resume_token="5")
    snapshot.snapshot.name, snapshot.snapshot.revision = NAME, 5
    fake = one_life_after_another(sends(snapshot, a_batch(4, 5, 6)))

    async with stub_for(fake) as stub:
        assert await revisions(stub) == [6]


async def test_a_snapshot_of_many_deployments_counts_for_each() -> None:
    snapshot = pb.WatchDeploymentsResponse(resume_token="5")
    snapshot.snapshot.deployments.add(name="a", revision=5)
    snapshot.snapshot.deployments.add(name="b", revision=1)
    empty = pb.WatchDeploymentsResponse(resume_token="6")
    empty.snapshot.SetInParent()
    events = pb.WatchDeploymentsResponse(resume_token="7")
    for deployment, revision in (("a", 5), ("b", 2), ("a", 6)):
        events.events.add(deployment=deployment, revision=revision)

    async def method(_request: Any) -> AsyncIterator[Any]:
        for response in (snapshot, empty, events):
            yield response

    class Call:
        """A stream without a network: this RPC differs in its messages only."""

        def __init__(self, request: Any) -> None:
            self._responses = method(request)

        def __aiter__(self) -> Any:
            return self._responses

        def cancel(self) -> None:
            pass

    got = [r async for r in watch(Call, pb.WatchDeploymentsRequest(parent="pipelines/-/environments/-"))]

    assert [r.WhichOneof("marker") for r in got] == ["snapshot", "snapshot", None]
    assert [(event.deployment, event.revision) for event in got[-1].events] == [("b", 2), ("a", 6)]


@pytest.mark.parametrize(
    "error", [Gone("compacted", reason="REVISION_COMPACTED"), Exhausted("too slow", reason="SLOW_CONSUMER")]
)
async def test_other_errors_end_a_watch(error: Gone | Exhausted) -> None:
    fake = one_life_after_another(sends(a_batch(1), then=error))

    async with stub_for(fake) as stub:
        with pytest.raises(type(error)) as caught:
            await revisions(stub)

    assert caught.value.reason == error.reason


async def test_leaving_a_watch_cancels_it_on_the_server() -> None:
    ended = asyncio.Event()

    async def endless(_request: Any, _context: Any) -> AsyncIterator[Any]:
        try:
            yield a_batch(1)
            await asyncio.Event().wait()
        finally:
            ended.set()

    async with stub_for(one_life_after_another(endless)) as stub:
        async with aclosing(watch(stub.WatchDeployment, WATCH)) as responses:
            async for _response in responses:
                break
        await ended.wait()


async def test_a_watch_that_is_cancelled_ends_as_cancelled() -> None:
    first = asyncio.Event()

    async def endless(_request: Any, _context: Any) -> AsyncIterator[Any]:
        yield a_batch(1)
        await asyncio.Event().wait()

    fake = one_life_after_another(endless)
    async with stub_for(fake) as stub:

        async def follow() -> None:
            async for _response in watch(stub.WatchDeployment, pb.WatchDeploymentRequest(name=NAME), pause=no_pause):
                first.set()

        task = asyncio.create_task(follow())
        await first.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    assert len(fake.seen) == 1


async def test_the_pause_grows_with_failures_in_a_row_and_starts_again_after_an_answer() -> None:
    away = Unavailable("away", reason="AWAY")
    fake = one_life_after_another(
        sends(a_batch(1), then=away), sends(a_batch(2), then=away), sends(a_batch(3), then=away), sends(a_batch(4))
    )
    asked: list[int] = []

    def pause(failures: int) -> float:
        asked.append(failures)
        return 0.0

    async with stub_for(fake) as stub:
        async for _response in watch(stub.WatchDeployment, WATCH, pause=pause):
            pass
    assert asked == [1, 1, 1]

    waited: list[float] = []

    class Enough(Exception):
        pass

    async def sleep(seconds: float) -> None:
        waited.append(seconds)
        if len(waited) == 3:
            raise Enough

    with tempfile.TemporaryDirectory() as directory:
        async with connect(f"unix://{directory}/nobody.sock") as connection:
            stub = DeploymentServiceStub(connection.channel)
            with pytest.raises(Enough):
                async for _response in watch(stub.WatchDeployment, WATCH, pause=float, sleep=sleep):
                    pass
    assert waited == [1.0, 2.0, 3.0]


@pytest.mark.parametrize(("failures", "longest"), [(1, 0.2), (2, 0.4), (5, 3.2), (7, 10.0), (10_000, 10.0)])
def test_pauses_are_spread_between_a_tenth_and_ten_seconds(failures: int, longest: float) -> None:
    assert full_jitter(failures, lambda least, _most: least) == SHORTEST_PAUSE_SECONDS
    assert full_jitter(failures, lambda _least, most: most) == pytest.approx(longest)
    assert longest <= LONGEST_PAUSE_SECONDS


class Server:
    """The server in a process of its own."""

    def __init__(self, address: str, last: int) -> None:
        self._arguments = (address, str(last))
        self._process: asyncio.subprocess.Process | None = None

    async def start(self) -> None:
        self._process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "fakes.watch_process",
            *self._arguments,
            stdout=asyncio.subprocess.PIPE,
            cwd=TESTS,
        )
        assert self._process.stdout is not None
        assert await self._process.stdout.readline() == b"ready\n"

    async def kill(self) -> None:
        assert self._process is not None
        self._process.kill()
        await self._process.wait()


async def test_a_server_killed_again_and_again_costs_no_event_and_doubles_none() -> None:
    last, kills, failures = 4000, [500, 1200, 1201, 3000], 0

    def pause(failed: int) -> float:
        nonlocal failures
        failures += 1
        return 0.05 * failed

    got: list[int] = []
    with tempfile.TemporaryDirectory() as directory:
        address = f"unix://{directory}/s.sock"
        server = Server(address, last)
        await server.start()
        try:
            async with connect(address) as connection:
                stub = DeploymentServiceStub(connection.channel)
                async for response in watch(stub.WatchDeployment, WATCH, pause=pause):
                    got += [event.revision for event in response.events]
                    if kills and got[-1] >= kills[0]:
                        kills.pop(0)
                        await server.kill()
                        await server.start()
        finally:
            await server.kill()

    assert got == list(range(1, last + 1))
    assert failures >= 4
