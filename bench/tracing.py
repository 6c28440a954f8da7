"""What tracing adds to a unary call: bare, off, 1 % and all sampled, with a sink.

`python bench/tracing.py [calls]` prints medians over rotated rounds, as time per call and as ratio to the bare call.
Client and server share a process and a core, so the ratios are the smaller side of the truth.
"""

from __future__ import annotations

import asyncio
import statistics
import sys
import time
from collections.abc import Callable

import grpc

from opsuite_telemetry.port import SpanKind, SpanRecord
from opsuite_telemetry.tracing import RpcSpans, Tracing, TracingSettings

ROUNDS = 5
METHOD = "opsuite.bench.v1.EchoService/Echo"
Work = Callable[[], None]


class Discard:
    """A sink that keeps nothing."""

    def wants(self, kind: SpanKind, name: str) -> bool:
        return True

    def add(self, span: SpanRecord) -> None:
        pass


def traced(share: float) -> Work:
    """The span that a server makes for one call."""
    tracing = Tracing(TracingSettings("bench", sampled_share=share), sinks=[Discard()])
    spans = RpcSpans(tracing.tracer("bench"), METHOD)
    return lambda: spans.end(spans.begin(), "OK")


def variants() -> dict[str, Work]:
    return {"bare": lambda: None, "0 % sampled": traced(0), "1 % sampled": traced(0.01), "100 % sampled": traced(1)}


async def echo_seconds(work: Work, calls: int) -> float:
    """Seconds per call of an echo that does `work` once."""

    async def echo(request: bytes, _context: object) -> bytes:
        work()
        return request

    server = grpc.aio.server()
    service, method = METHOD.split("/")
    handlers: dict[str, grpc.RpcMethodHandler[bytes, bytes]] = {method: grpc.unary_unary_rpc_method_handler(echo)}
    server.add_generic_rpc_handlers([grpc.method_handlers_generic_handler(service, handlers)])
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
        call: grpc.aio.UnaryUnaryMultiCallable[bytes, bytes] = channel.unary_unary(f"/{METHOD}")
        await call(b"x" * 128)
        began = time.perf_counter()
        for _ in range(calls):
            await call(b"x" * 128)
        seconds = (time.perf_counter() - began) / calls
    await server.stop(0)
    return seconds


def span_seconds(work: Work, calls: int) -> float:
    """Seconds per span alone."""
    began = time.perf_counter()
    for _ in range(calls):
        work()
    return (time.perf_counter() - began) / calls


async def main(calls: int) -> None:
    works = variants()
    echoes: dict[str, list[float]] = {name: [] for name in works}
    alone: dict[str, list[float]] = {name: [] for name in works}
    names = list(works)
    for turn in range(ROUNDS):
        for name in names[turn % len(names) :] + names[: turn % len(names)]:
            echoes[name].append(await echo_seconds(works[name], calls))
            alone[name].append(span_seconds(works[name], calls))
    floor = statistics.median(echoes["bare"])
    print(f"{'variant':<16}{'echo µs':>10}{'x bare':>8}{'span µs':>10}")
    for name in names:
        echo, span = statistics.median(echoes[name]), statistics.median(alone[name])
        print(f"{name:<16}{echo * 1e6:>10.1f}{echo / floor:>8.2f}{span * 1e6:>10.2f}")


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1]) if len(sys.argv) > 1 else 2000))
