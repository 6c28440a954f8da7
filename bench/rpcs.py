"""Single calls of a real deployer: reading, deploying, registering, beside a bare grpc.aio echo, same client."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable

import grpc
from deployer import Client, a_command, a_pipeline, deploy, ended, register

from bench import rpc as stack
from bench.deployers import a_bench_deployer, register_ten
from bench.table import Row, ms, p50
from opsuite.deployer.v1 import deployment_service_pb2 as pb
from opsuite.deployer.v1 import deployment_service_pb2_grpc as pb_grpc

CALLS, IN_FLIGHT = 300, 32
Once = Callable[[], Awaitable[object]]


async def one_by_one(call: Once, times: int) -> list[float]:
    """Milliseconds of each."""
    taken = []
    for _ in range(times):
        began = time.perf_counter()
        await call()
        taken.append((time.perf_counter() - began) * 1000)
    return taken


async def per_second(call: Once, times: int, in_flight: int) -> float:
    """Calls per second with so many under way."""
    left = iter(range(times))

    async def one_caller() -> None:
        for _ in left:
            await call()

    began = time.perf_counter()
    await asyncio.gather(*(one_caller() for _ in range(in_flight)))
    return times / (time.perf_counter() - began)


async def main(rounds: int) -> list[Row]:
    with a_bench_deployer(DEPLOYER_MAX_CONCURRENT_DEPLOYMENTS="1") as deployer, stack.started("bare grpc.aio") as bare:
        async with (
            deployer.client() as client,
            grpc.aio.insecure_channel(f"127.0.0.1:{bare.port}") as channel,
            grpc.aio.insecure_channel(deployer.address) as straight,
        ):
            own: pb_grpc.DeploymentServiceAsyncStub = pb_grpc.DeploymentServiceStub(straight)
            token = (("authorization", f"Bearer {deployer.token}"),)
            stub: pb_grpc.DeploymentServiceAsyncStub = pb_grpc.DeploymentServiceStub(channel)
            await register_ten(client, "ten")
            name = (await deploy(client, "ten")).name
            await ended(client, name)
            request = pb.GetDeploymentRequest(name=name)
            echo: Once = lambda: stub.GetDeployment(request, timeout=10)  # noqa: E731 - two of a kind
            mine: Once = lambda: own.GetDeployment(request, metadata=token, timeout=10)  # noqa: E731
            alone: dict[Once, list[float]] = {echo: [], mine: []}
            rates: dict[Once, list[float]] = {echo: [], mine: []}
            for turn in range(rounds + 1):
                for call in (echo, mine):
                    taken = await one_by_one(call, CALLS)
                    rate = await per_second(call, 2 * CALLS, IN_FLIGHT)
                    if turn:
                        alone[call] += taken
                        rates[call].append(rate)
            base, ours = p50(alone[echo]), p50(alone[mine])
            rows = [
                Row("GetDeployment, p50", ms(ours), f"echo {ms(base)}", ours / base, 2.0),
                Row(
                    f"GetDeployment, {IN_FLIGHT} in flight",
                    f"{p50(rates[mine]):.0f}/s",
                    f"echo {p50(rates[echo]):.0f}/s",
                    p50(rates[mine]) / p50(rates[echo]),
                    0.45,
                    True,
                ),
            ]
            return rows + await _durable(client, p50(rates[echo]), base, rounds) + await _registering(client, rounds)


async def _durable(client: Client, echo_rate: float, echo_ms: float, rounds: int) -> list[Row]:
    """Deploy where everything queues behind one that waits, so that nothing but the calls is measured."""
    await register(client, a_pipeline("held", {"name": "hold", "wait": {"duration": "600s"}}))
    await deploy(client, "held")
    await register(client, a_pipeline("queued", a_command("step", "true")))
    call: Once = lambda: deploy(client, "queued")  # noqa: E731
    await one_by_one(call, 10)
    alone = await one_by_one(call, 20 * rounds)
    rate = await per_second(call, 50 * rounds, 64)
    return [
        Row("durable Deploy, p50", ms(p50(alone)), f"echo {ms(echo_ms)}", p50(alone) / echo_ms, 2.0),
        Row("durable Deploy, 64 in flight", f"{rate:.0f}/s", f"echo {echo_rate:.0f}/s", rate / echo_rate, 0.4, True),
    ]


async def _registering(client: Client, rounds: int) -> list[Row]:
    pipeline = a_pipeline("again", *(a_command(f"step-{n}", "true") for n in range(10)))
    await one_by_one(lambda: register(client, pipeline), 5)
    taken = await one_by_one(lambda: register(client, pipeline), 10 * rounds)
    return [Row("RegisterPipeline of ten steps, p50", ms(p50(taken)), "", p50(taken), 5.0, unit="ms")]
