"""Many watchers, watchers that do not read, watchers that come back."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, aclosing, asynccontextmanager
from typing import Any

import grpc
import psutil
import pytest
from deployer import Client, DeployerProcess, a_command, a_deployer, a_pipeline, deploy, ended, events_of, register

from opsuite.deployer.v1 import deployment_pb2
from opsuite.deployer.v1 import deployment_service_pb2 as pb
from opsuite.deployer.v1.deployment_service_pb2_grpc import DeploymentServiceStub
from opsuite_kernel.errors import Conflict, InvalidInput, NotFound
from opsuite_rpc.watching import watch

MIB = 1024 * 1024


async def behind_a_holder(client: Client, name: str, steps: int) -> tuple[str, str]:
    """Names of a deployment that waits for an hour, and of one with `steps` steps queued behind it."""
    await register(client, a_pipeline(name, {"name": "hold", "wait": {"duration": "3600s"}}))
    holder = await deploy(client, name, "1")
    await register(client, a_pipeline(name, *(a_command(f"step-{number}") for number in range(steps))))
    return holder.name, (await deploy(client, name, "2")).name


async def cancel(client: Client, name: str) -> None:
    await client.deployments.CancelDeployment(pb.CancelDeploymentRequest(name=name))


@asynccontextmanager
async def stubs_of(deployer: DeployerProcess, count: int) -> AsyncIterator[list[DeploymentServiceStub]]:
    """Stubs over connections of their own."""
    async with AsyncExitStack() as stack:
        clients = [await stack.enter_async_context(deployer.client()) for _ in range(count)]
        yield [client.deployments for client in clients]


async def numbers_of(stub: Any, name: str, begun: asyncio.Event) -> tuple[int, ...]:
    """Revisions that a watch tells, the one of its snapshot first."""
    told: list[int] = []
    async with aclosing(watch(stub.WatchDeployment, pb.WatchDeploymentRequest(name=name))) as answers:
        async for answer in answers:
            if answer.HasField("snapshot"):
                told.append(answer.snapshot.revision)
                begun.set()
            told += [event.revision for event in answer.events]
    return tuple(told)


async def test_a_thousand_watchers_of_one_deployment_get_every_event(deployer: DeployerProcess) -> None:
    async with deployer.client() as client, stubs_of(deployer, 10) as stubs:
        holder, watched = await behind_a_holder(client, "thousand", steps=20)
        begun = [asyncio.Event() for _ in range(1000)]
        watchers = [
            asyncio.create_task(numbers_of(stubs[number % 10], watched, event)) for number, event in enumerate(begun)
        ]
        await asyncio.gather(*(event.wait() for event in begun))
        await cancel(client, holder)
        told = await asyncio.gather(*watchers)

        revision = (await ended(client, watched)).revision
    assert revision > 40
    assert set(told) == {tuple(range(told[0][0], revision + 1))}


async def test_watchers_that_do_not_read_cost_bounded_memory(deployer: DeployerProcess) -> None:
    everything = pb.WatchDeploymentsRequest(parent="pipelines/-/environments/-", max_batch=1)
    process = psutil.Process(deployer.pid)
    async with deployer.client() as client, stubs_of(deployer, 4) as stubs:
        calls: list[Any] = [stubs[number % 4].WatchDeployments(everything) for number in range(150)]
        for call in calls:
            assert (await call.read()).HasField("snapshot")  # it has begun, and is never read again
        long = "x" * 56  # long names make large events, and fewer of them are needed
        await register(client, a_pipeline("busy", *(a_command(f"{long}-{number}") for number in range(20))))
        await ended(client, (await deploy(client, "busy")).name)
        before = process.memory_info().rss

        told = 0
        for version in range(25):
            name = (await deploy(client, "busy", str(version))).name
            told += sum(event.ByteSize() for event in await events_of(client, name))

        grown = process.memory_info().rss - before
        for call in calls:
            call.cancel()
    # A queue for each watcher would hold all of it; HTTP/2 windows of 64 KiB each are what may be on the way.
    assert told > 3 * 64 * 1024
    assert grown < told * len(calls) / 2


async def test_a_watch_resumes_with_its_token_where_it_was(deployer: DeployerProcess) -> None:
    async with deployer.client() as client:
        await register(client, a_pipeline("resume", *(a_command(f"step-{number}") for number in range(5))))
        name = (await deploy(client, "resume")).name
        whole = await ended(client, name)

        first = await anext(
            aiter(client.deployments.WatchDeployment(pb.WatchDeploymentRequest(name=name, max_batch=1)))
        )
        assert first.snapshot.revision == whole.revision
        assert [a async for a in resumed(client, name, first.resume_token)] == []


async def resumed(client: Client, name: str, token: str, **how: Any) -> AsyncIterator[pb.WatchDeploymentResponse]:
    request = pb.WatchDeploymentRequest(name=name, resume_token=token, **how)
    async for answer in client.deployments.WatchDeployment(request):
        yield answer


@pytest.mark.parametrize("how", [pytest.param({}, id="in one answer"), pytest.param({"max_batch": 2}, id="in several")])
async def test_all_who_resume_from_one_place_hear_the_same_to_the_end(deployer: DeployerProcess, how: Any) -> None:
    async with deployer.client() as client:
        holder, name = await behind_a_holder(client, f"many-{len(how)}", steps=3)
        watching = aiter(client.deployments.WatchDeployment(pb.WatchDeploymentRequest(name=name)))
        early = await anext(watching)
        await cancel(client, holder)
        whole = await ended(client, name)

        heard = await asyncio.gather(*(numbers_after(client, name, early.resume_token, **how) for _ in range(5)))

    assert set(heard) == {tuple(range(early.snapshot.revision + 1, whole.revision + 1))}


async def numbers_after(client: Client, name: str, token: str, **how: Any) -> tuple[int, ...]:
    return tuple([event.revision async for answer in resumed(client, name, token, **how) for event in answer.events])


async def test_a_watch_goes_on_over_a_restart_without_a_gap_or_a_double() -> None:
    with a_deployer() as deployer:
        async with deployer.client() as client:
            holder, watched = await behind_a_holder(client, "restart", steps=10)
            begun = asyncio.Event()
            watcher = asyncio.create_task(numbers_of(client.deployments, watched, begun))
            await begun.wait()
            await asyncio.to_thread(deployer.restart)
            async with deployer.client() as afterwards:  # the old channel may still be waiting to reconnect
                await cancel(afterwards, holder)
                told = await watcher
                assert told == tuple(range(told[0], (await ended(afterwards, watched)).revision + 1))


async def test_an_idle_watch_sends_bookmarks(deployer: DeployerProcess) -> None:
    async with deployer.client() as client:
        holder, watched = await behind_a_holder(client, "idle", steps=1)
        request = pb.WatchDeploymentRequest(name=watched)
        request.heartbeat.FromMilliseconds(100)
        call = client.deployments.WatchDeployment(request)
        answers = aiter(call)
        assert (await anext(answers)).HasField("snapshot")
        bookmark = await anext(answers)
        call.cancel()
        await cancel(client, watched)
        await cancel(client, holder)
    assert bookmark.HasField("bookmark")
    assert bookmark.resume_token


@pytest.mark.parametrize(
    ("token", "kind", "reason"),
    [("nonsense!", InvalidInput, "MALFORMED"), ("MSBhYmMgMSAw", InvalidInput, "MALFORMED")],
)
async def test_a_token_that_is_none_is_refused(deployer: DeployerProcess, token: Any, kind: Any, reason: Any) -> None:
    async with deployer.client() as client:
        await register(client, a_pipeline("tokens"))
        name = (await deploy(client, "tokens")).name
        with pytest.raises(kind) as refused:
            _ = [answer async for answer in resumed(client, name, token)]
    assert [one.field for one in refused.value.violations] == ["resume_token"]
    assert refused.value.violations[0].reason == reason


async def test_a_token_of_another_database_or_another_deployment_is_refused(deployer: DeployerProcess) -> None:
    async with deployer.client() as client:
        await register(client, a_pipeline("lives"))
        one = (await deploy(client, "lives")).name
        other = (await deploy(client, "lives", "2")).name
        token = (
            await anext(aiter(client.deployments.WatchDeployment(pb.WatchDeploymentRequest(name=one))))
        ).resume_token
        with pytest.raises(InvalidInput):
            _ = [answer async for answer in resumed(client, other, token)]
        with a_deployer() as stranger:
            async with stranger.client() as elsewhere:
                await register(elsewhere, a_pipeline("lives"))
                foreign = (await deploy(elsewhere, "lives")).name
                request = pb.WatchDeploymentRequest(name=foreign)
                theirs = (await anext(aiter(elsewhere.deployments.WatchDeployment(request)))).resume_token
        # The same name cannot exist here; a token of the feed can.
        with pytest.raises((Conflict, InvalidInput)):
            _ = [answer async for answer in resumed(client, one, theirs)]


async def test_watching_what_does_not_exist_is_not_found(deployer: DeployerProcess) -> None:
    async with deployer.client() as client:
        with pytest.raises(NotFound):
            _ = [a async for a in resumed(client, "pipelines/x/environments/y/deployments/z", "")]


async def test_the_feed_tells_of_all_deployments_below_its_parent(deployer: DeployerProcess) -> None:
    async with deployer.client() as client:
        await register(client, a_pipeline("feed-a", environments=["staging", "moon"]))
        await register(client, a_pipeline("feed-b", environments=["staging"]))
        request = pb.WatchDeploymentsRequest(parent="pipelines/-/environments/moon")
        call = client.deployments.WatchDeployments(request)
        answers = aiter(call)
        await anext(answers)
        await ended(client, (await deploy(client, "feed-b")).name)
        wanted = (await deploy(client, "feed-a", environment="moon")).name

        seen: list[deployment_pb2.DeploymentEvent] = []
        while not seen or seen[-1].kind != deployment_pb2.DEPLOYMENT_EVENT_KIND_ENDED:
            seen += (await anext(answers)).events
        call.cancel()
    assert {event.deployment for event in seen} == {wanted}
    assert [event.revision for event in seen] == list(range(1, len(seen) + 1))


async def test_a_cancelled_watch_cancels_nothing(deployer: DeployerProcess) -> None:
    async with deployer.client() as client:
        holder, watched = await behind_a_holder(client, "gone", steps=1)
        call: Any = client.deployments.WatchDeployment(pb.WatchDeploymentRequest(name=watched))
        await call.read()
        call.cancel()
        await cancel(client, holder)
        assert (await ended(client, watched)).status == deployment_pb2.DEPLOYMENT_STATUS_SUCCEEDED
    assert await call.code() == grpc.StatusCode.CANCELLED
