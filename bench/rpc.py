"""What stands in front of a handler costs: the whole stack beside a bare grpc.aio server, in the same run.

    python -m bench.rpc [--rounds N] [--calls N]

Both serve the same servicer of the deployer's contract. Load comes from h2load (Debian: nghttp2-client), 4 connections
with 16 streams each, because a Python client costs as much as the server and would hide what is measured. Rounds rotate
over the variants; medians are shown, and CPU time of the server per request beside the rate.
"""

from __future__ import annotations

import argparse
import asyncio
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import grpc
import psutil
import structlog
from google.protobuf.message import Message
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter, SpanExportResult
from opentelemetry.sdk.trace.sampling import ParentBased, TraceIdRatioBased
from prometheus_client import CollectorRegistry

from opsuite.deployer.v1 import deployment_service_pb2 as pb
from opsuite.deployer.v1 import deployment_service_pb2_grpc as pb_grpc
from opsuite_rpc.access import AccessControl
from opsuite_rpc.audit import AuditEntry
from opsuite_rpc.identity import LocalToken
from opsuite_rpc.limits import CallClass, Limits, Rate
from opsuite_rpc.server import RpcServer, Service, Telemetry
from opsuite_rpc.settings import ServerSettings

TOKEN = "token-of-the-bench"
SERVICE = "opsuite.deployer.v1.DeploymentService"
CONNECTIONS, STREAMS = 4, 16
GOAL, MUST = 0.75, 0.65
REQUESTS: dict[str, Message] = {
    "GetDeployment": pb.GetDeploymentRequest(name="pipelines/shop/environments/staging/deployments/01k2a3b4c5"),
    "Deploy": pb.DeployRequest(
        request_id="2f0c1a52-6c1e-4f0e-9d0b-0a1f6a5a7b11",
        pipeline="pipelines/shop",
        version="1.4.2",
        environment="staging",
        variables={f"variable_{n}": "x" * 100 for n in range(8)},
        reason="a request of about one kilobyte",
    ),
}


class Servicer(pb_grpc.DeploymentServiceServicer):
    """Answers at once."""

    async def GetDeployment(  # noqa: N802  # the contract's name
        self, request: pb.GetDeploymentRequest, context: Any
    ) -> pb.GetDeploymentResponse:
        return pb.GetDeploymentResponse()

    async def Deploy(  # noqa: N802  # the contract's name
        self, request: pb.DeployRequest, context: Any
    ) -> pb.DeployResponse:
        return pb.DeployResponse()


def _servicer() -> Any:
    return Servicer()  # type: ignore[abstract]  # what it does not answer is never asked


class ForgetfulAudit:
    """Keeps nothing: the cost of keeping is the database's."""

    async def record(self, entry: AuditEntry) -> None:
        pass


class Nowhere(SpanExporter):
    """Exports nothing."""

    def export(self, spans: Any) -> SpanExportResult:
        return SpanExportResult.SUCCESS


# ---- the servers ----------------------------------------------------------------------------------------------------


async def serve_bare() -> None:
    server = grpc.aio.server()
    pb_grpc.add_DeploymentServiceServicer_to_server(_servicer(), server)
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    tell(port)
    await server.wait_for_termination()


async def serve_stack(sampled: float) -> None:
    provider = TracerProvider(sampler=ParentBased(TraceIdRatioBased(sampled)))
    provider.add_span_processor(BatchSpanProcessor(Nowhere()))
    structlog.configure(
        processors=[structlog.processors.TimeStamper(fmt="iso"), structlog.processors.JSONRenderer()],
        logger_factory=structlog.WriteLoggerFactory(Path("/dev/null").open("w")),  # noqa: SIM115, ASYNC230  # for its whole life
    )
    unlimited = dict.fromkeys(CallClass, Rate(per_second=1e9, burst=10**9))
    server = RpcServer(
        [Service(_servicer(), pb_grpc.add_DeploymentServiceServicer_to_server, SERVICE)],
        access=AccessControl(local=LocalToken(TOKEN)),
        settings=ServerSettings(listen=("127.0.0.1:0",), limits=Limits(rates=unlimited), side=None),
        audit=ForgetfulAudit(),
        telemetry=Telemetry(provider.get_tracer("bench"), CollectorRegistry()),
    )
    await server.start()
    tell(int(server.addresses[0].rpartition(":")[2]))
    await asyncio.Event().wait()


def tell(port: int) -> None:
    sys.stdout.write(f"{port}\n")
    sys.stdout.flush()


VARIANTS: dict[str, Callable[[], Coroutine[Any, Any, None]]] = {
    "bare grpc.aio": serve_bare,
    "whole stack, 1 % of traces": lambda: serve_stack(0.01),
    "whole stack, every trace": lambda: serve_stack(1.0),
}


# ---- the load -------------------------------------------------------------------------------------------------------


@dataclass
class Figures:
    """Of one variant: one value per round."""

    rates: list[float] = field(default_factory=list)
    cpu_us: list[float] = field(default_factory=list)


@dataclass(frozen=True)
class Running:
    process: psutil.Process
    port: int


@contextmanager
def started(variant: str) -> Iterator[Running]:
    command = [sys.executable, "-m", "bench.rpc", "--serve", variant]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as child:
        assert child.stdout is not None
        try:
            yield Running(psutil.Process(child.pid), int(child.stdout.readline()))
        finally:
            child.kill()


def load(running: Running, method: str, calls: int) -> tuple[float, float]:
    """Calls per second, and CPU time of the server per call in microseconds."""
    body = REQUESTS[method].SerializeToString()
    with tempfile.NamedTemporaryFile() as data:
        data.write(b"\0" + len(body).to_bytes(4, "big") + body)
        data.flush()
        before = cpu_seconds(running.process)
        printed = subprocess.run(
            [
                *("h2load", "-n", str(calls), "-c", str(CONNECTIONS), "-m", str(STREAMS), "-d", data.name),
                *("-H", "content-type: application/grpc", "-H", "te: trailers", "-H", f"authorization: Bearer {TOKEN}"),
                *("-H", "grpc-timeout: 10S"),  # as our own client always does
                f"http://127.0.0.1:{running.port}/{SERVICE}/{method}",
            ],
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        used = cpu_seconds(running.process) - before
    found = re.search(r"([\d.]+) req/s.*?(\d+) succeeded", printed, re.DOTALL)
    if found is None or int(found[2]) != calls:
        sys.exit(f"h2load did not get {calls} answers:\n{printed}")
    return float(found[1]), used / calls * 1e6


def cpu_seconds(process: psutil.Process) -> float:
    times = process.cpu_times()
    return float(times.user + times.system)


def check(running: Running, method: str) -> None:
    """One call that has to succeed: h2load does not look at the gRPC status."""
    with grpc.insecure_channel(f"127.0.0.1:{running.port}") as channel:
        stub: grpc.UnaryUnaryMultiCallable[Any, Any] = channel.unary_unary(
            f"/{SERVICE}/{method}", request_serializer=lambda message: message.SerializeToString()
        )
        stub(REQUESTS[method], metadata=(("authorization", f"Bearer {TOKEN}"),), timeout=10)


def measure(method: str, rounds: int, calls: int) -> dict[str, Figures]:
    figures = {variant: Figures() for variant in VARIANTS}
    for number in range(rounds):
        order = list(VARIANTS)
        for variant in order[number % len(order) :] + order[: number % len(order)]:
            with started(variant) as running:
                check(running, method)
                load(running, method, calls // 10)  # warm
                rate, cpu_us = load(running, method, calls)
            figures[variant].rates.append(rate)
            figures[variant].cpu_us.append(cpu_us)
    return figures


def report(method: str, figures: dict[str, Figures]) -> None:
    print(f"\n{method} ({REQUESTS[method].ByteSize()} bytes), {CONNECTIONS} x {STREAMS} in flight")
    print(f"{'':30} {'calls/s':>9} {'x bare':>7} {'CPU us/call':>12} {'x bare':>7}")
    floor = next(iter(figures.values()))
    for variant, each in figures.items():
        rate, cpu_us = statistics.median(each.rates), statistics.median(each.cpu_us)
        by_rate, by_cpu = rate / statistics.median(floor.rates), cpu_us / statistics.median(floor.cpu_us)
        print(f"{variant:30} {rate:9.0f} {by_rate:7.2f} {cpu_us:12.0f} {by_cpu:7.2f}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--calls", type=int, default=20_000)
    parser.add_argument("--serve", choices=VARIANTS, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.serve:
        asyncio.run(VARIANTS[options.serve]())
        return
    if shutil.which("h2load") is None:
        sys.exit("NOT MEASURED HERE: h2load is missing (Debian: nghttp2-client)")
    for method in REQUESTS:
        report(method, measure(method, options.rounds, options.calls))
    print(f"\nGoal: the whole stack with 1 % of traces at {GOAL} of the bare rate; at least {MUST}.")


if __name__ == "__main__":
    main()
