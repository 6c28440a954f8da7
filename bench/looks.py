"""A scaler that looks after a thousand targets: how much of a core it takes, and whether each tick is kept.

A real scaler process on SQLite, its targets behind one gRPC server (`ExternalTargetService`), so that each look is a
call. Every policy has three metrics that are pushed. What counts is the processor time of the scaler in some ticks of
15 s, and how many looks it made of those that were due.
"""

from __future__ import annotations

import asyncio
import re

import grpc
import grpc.aio
import psutil
from scaler import Client, ScalerProcess, a_place, a_policy, create

from bench.table import Row
from opsuite.scaler.v1 import external_target_service_pb2 as pb
from opsuite.scaler.v1 import external_target_service_pb2_grpc as stubs
from opsuite.scaler.v1 import metrics_service_pb2
from opsuite.scaler.v1.policy_pb2 import ScalingPolicy

TARGETS = 1_000
TICK_SECONDS = 15
TICKS = 3
METRICS = ("jobs", "mails", "images")
LOOKS = re.compile(r"^bitcraps_scaler_look_duration_seconds_count (\S+)$", re.MULTILINE)


class Sizes(stubs.ExternalTargetServiceServicer):
    """Keeps the sizes of all targets."""

    def __init__(self) -> None:
        self.sizes = dict[str, int]()

    async def GetSize(self, request: pb.GetSizeRequest, _: object) -> pb.GetSizeResponse:  # noqa: N802  # names are the contract's
        return pb.GetSizeResponse(spec_replicas=self.sizes.get(request.name, 1))

    async def SetSize(self, request: pb.SetSizeRequest, _: object) -> pb.SetSizeResponse:  # noqa: N802
        self.sizes[request.name] = request.replicas
        return pb.SetSizeResponse()


async def main(_: int) -> list[Row]:
    """Share of a core, and of the looks that were due; memory."""
    with a_place() as place:
        server = grpc.aio.server()
        stubs.add_ExternalTargetServiceServicer_to_server(Sizes(), server)
        address = f"127.0.0.1:{server.add_insecure_port('127.0.0.1:0')}"
        await server.start()
        scaler = ScalerProcess(place / "scaler", place / "suite", {"SCALER_LOG_LEVEL": "WARNING"})
        try:
            await asyncio.to_thread(scaler.start)
            return await _measured(scaler, address)
        finally:
            await asyncio.to_thread(scaler.close)
            await server.stop(None)


async def _measured(scaler: ScalerProcess, address: str) -> list[Row]:
    assert scaler.process is not None
    process = psutil.Process(scaler.process.pid)
    async with scaler.client() as client:
        pushing = asyncio.create_task(_push_for_ever(client))
        idle = _mebibytes(process)
        for number in range(TARGETS):
            await create(client, _policy(number, address))
        while _looks(scaler) < TARGETS:  # noqa: ASYNC110  # the side port is asked
            await asyncio.sleep(0.5)
        before, began = _looks(scaler), _cpu(process)
        await asyncio.sleep(TICK_SECONDS * TICKS)
        looks, seconds = _looks(scaler) - before, _cpu(process) - began
        pushing.cancel()
    core, kept = seconds / (TICK_SECONDS * TICKS), looks / (TARGETS * TICKS)
    each = 1000 * seconds / looks
    return [
        Row(f"{TARGETS:,} targets, 3 metrics each", f"{each:.2f} ms a look", value=core, goal=1, unit="of a core"),
        Row("looks made of those due", f"{looks:,.0f}", f"{TARGETS * TICKS:,}", kept, 0.97, at_least=True),
        Row("memory with them", f"{_mebibytes(process):.0f} MiB", f"{idle:.0f} MiB without"),
    ]


def _policy(number: int, address: str) -> ScalingPolicy:
    metrics = [{"name": one, "queueLength": {"maxItems": 10, "source": "push", "query": one}} for one in METRICS]
    target = {"kind": "TARGET_KIND_EXTERNAL", "name": f"shards-{number}", "address": address}
    return a_policy(f"p{number}", target=target, metrics=metrics, timing={"tick": f"{TICK_SECONDS}s"})


async def _push_for_ever(client: Client) -> None:
    """New values every few seconds, so that sizes change now and then."""
    turn = 0
    while True:
        points = [metrics_service_pb2.MetricPoint(metric=one, value=10.0 + turn % 3 * 10) for one in METRICS]
        await client.metrics.PutMetricData(metrics_service_pb2.PutMetricDataRequest(points=points))
        turn += 1
        await asyncio.sleep(5)


def _looks(scaler: ScalerProcess) -> float:
    found = LOOKS.search(scaler.metrics())
    return float(found.group(1)) if found else 0.0


def _cpu(process: psutil.Process) -> float:
    times = process.cpu_times()
    return float(times.user + times.system)


def _mebibytes(process: psutil.Process) -> float:
    return float(process.memory_info().rss / 2**20)
