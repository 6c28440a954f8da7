"""A rush hour, and a scaler that sees it through: `make story-scaler`.

Starts the suite with a real Envoy on free ports of this machine, with a data directory of its own, and deploys a tea
room. Guests come slowly, then in a rush, and their number is pushed to the scaler, which lets the tea room grow. In the
middle nobody counts any more while the rush ends: an outage of the metric, in which nothing may get smaller. Then the
count is back, and the tea room shrinks. At the end the same day is played again as a backtest of three policies.

Prints violation minutes and reversals of both, and leaves a plot. Exits 0 only if the tea room grew, shrank, never
shrank blindly and never flapped. Whatever was started is stopped, and of files only the plot stays, also after Ctrl-C.
"""

from __future__ import annotations

import argparse
import asyncio
import http.client
import json
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path

from demo import OPSUITE, SUCCEEDED, expect, free_port, say, suite
from demo import settings as settings_of_demo
from story_rollout import line_with, wait_for_edge

from opsuite.scaler.v1.metrics_service_pb2 import MetricPoint, PutMetricDataRequest
from opsuite.scaler.v1.metrics_service_pb2_grpc import MetricsServiceStub
from opsuite.scaler.v1.scaler_service_pb2 import GetScalingStatusRequest
from opsuite.scaler.v1.scaler_service_pb2_grpc import ScalerServiceStub
from opsuite_kernel.errors import OpsuiteError
from opsuite_rpc.channel import connect, default_target

EXAMPLE = Path(__file__).parent / "scaling"
METRIC = "tea_requests_per_second"
SERVED_BY_ONE = 20.0
"""Requests that a replica answers in a second."""
SLOW_SECONDS = 1.0
ANSWER_SECONDS = 15.0
GUESTS = 64


@dataclass(frozen=True)
class Hour:
    """A part of the day."""

    name: str
    seconds: int
    rate: float
    """Requests per second."""
    is_counted: bool = True


DAY = (
    Hour("morning", 6, 8),
    Hour("rush", 14, 72),
    Hour("nobody counts", 9, 8, is_counted=False),
    Hour("evening", 22, 8),
)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    place = Path(tempfile.gettempdir()) / "opsuite-story-scaler.svg"
    parser.add_argument("--plot", type=Path, default=place, help="where to leave the plot (.svg or .png)")
    plot = parser.parse_args().plot
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))  # as Ctrl-C does: everything is stopped
    began = time.monotonic()
    try:
        status = tell(plot)
    except KeyboardInterrupt:
        print("\nleft; everything is stopped")
        return 130
    if status == 0:
        print(f"\nThe tea room grew and shrank by itself ({time.monotonic() - began:.0f} s). Plot: {plot}")
    return status


def tell(plot: Path) -> int:
    with ExitStack() as stack:
        place = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="opsuite-story-")))
        port = free_port()
        environment = settings(place)
        pipeline = put_down(place, port)
        stack.enter_context(suite(place, environment))
        stack.callback(signal.signal, signal.SIGINT, signal.SIG_IGN)  # a second Ctrl-C does not keep it from stopping
        for word in ("edge", "scaler"):
            if "none" in (missing := line_with(word, place / "suite.log")):
                sys.exit(f"FAILED: {missing}")

        say("Deploy the tea room, and say how large it is to be")
        expect(0, environment, "apply", "-f", str(pipeline))
        expect(SUCCEEDED, environment, "deploy", "tea", "1.0.0", "--env", "staging", "--wait")
        wait_for_edge(port)
        wait_for_scaler(environment)
        expect(0, environment, "scaling", "apply", "-f", str(EXAMPLE / "policy.yaml"))

        say("A day of guests")
        day = asyncio.run(Day(port).live(environment))
        say("What the scaler did, and why it did the last of it")
        expect(0, environment, "scaling", "activities", "tea", "--filter", 'verdict = "SCALE"')
        expect(0, environment, "scaling", "explain", "tea")
        reversals = count_reversals(sizes_asked_for(environment))

        say("The same day again, as a rehearsal of three policies")
        trace = place / "day.csv"
        trace.write_text(day.as_csv())
        rivals = [str(EXAMPLE / "hasty.yaml"), str(EXAMPLE / "timid.yaml")]
        rehearse = ["--trace", str(trace), "--capacity", str(SERVED_BY_ONE), "--startup", "1s", "--initial", "1"]
        expect(0, environment, "scaling", "backtest", "tea", *rivals, *rehearse, "--plot", str(plot))

        say("What it cost")
        print_table(day, reversals)
        return judge(day, reversals, plot)


# ---- what is needed -------------------------------------------------------------------------------------------------


def settings(place: Path) -> dict[str, str]:
    """Environment of the suite and of the commands that talk to it."""
    environment = settings_of_demo(place, place / "data" / "work" / "tea", 0)
    del environment["DEPLOYER_WORKLOAD_PORTS"]  # each replica gets one of the usual ones
    address = f"127.0.0.1:{free_port()}"
    return {name: value for name, value in environment.items() if not name.startswith("SCALER_")} | {
        "OPSUITE_SCALER_ADDRESS": address,
        "OPSUITE_TOKEN_FILE": str(place / "data" / "token"),
        "SCALER_LISTEN": address,
        "SCALER_SIDE_PORT_LISTEN": f"127.0.0.1:{free_port()}",
    }


def put_down(place: Path, port: int) -> Path:
    """The application where the pipeline looks for it; the pipeline's document."""
    directory = place / "data" / "work" / "tea"
    directory.mkdir(parents=True)
    (place / "data").chmod(0o700)
    shutil.copy(EXAMPLE / "tea.py", directory)
    document = place / "pipeline.yaml"
    document.write_text((EXAMPLE / "pipeline.yaml").read_text().replace("listen_port: 8080", f"listen_port: {port}"))
    return document


def wait_for_scaler(environment: dict[str, str]) -> None:
    """Return when it answers; exits when it does not."""
    give_up_at = time.monotonic() + 60
    command = [*OPSUITE, "scaling", "list"]
    while subprocess.run(command, env=environment, check=False, capture_output=True).returncode != 0:
        if time.monotonic() > give_up_at:
            sys.exit("FAILED: the scaler does not answer")


# ---- the day --------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Second:
    """What was seen in one second."""

    hour: Hour
    arrived: int
    """Requests that were made."""
    replicas: int
    """Size asked for."""


@dataclass
class Day:
    """Guests of a day, what came of them, and how large the tea room was."""

    port: int
    seconds: list[Second] = field(default_factory=list)
    arrived: int = 0
    slow: set[int] = field(default_factory=set)
    """Seconds in which a request came that waited for too long."""
    failed: list[str] = field(default_factory=list)

    async def live(self, environment: dict[str, str]) -> Day:
        """Let the day pass; tells of each second."""
        async with connect(default_target("scaler", environment)) as connection:
            metrics, scaler = MetricsServiceStub(connection.channel), ScalerServiceStub(connection.channel)
            for hour in DAY:
                with self._guests(hour.rate):
                    for _ in range(hour.seconds):
                        await self._pass_a_second(hour, metrics, scaler)
        return self

    async def _pass_a_second(self, hour: Hour, metrics: MetricsServiceStub, scaler: ScalerServiceStub) -> None:
        before = self.arrived
        await asyncio.sleep(1)
        arrived = self.arrived - before
        if hour.is_counted:
            await push(metrics, float(arrived))
        found = await scaler.GetScalingStatus(GetScalingStatusRequest(name="scalingPolicies/tea"))
        size = found.status.spec_replicas or 1  # it has not looked yet
        self.seconds.append(Second(hour, arrived, size))
        told = f"{arrived:3} requests" if hour.is_counted else "  (not counted)"
        print(f"{len(self.seconds):3} s  {hour.name:<14} {told:<16} {'#' * size} {size}", flush=True)

    @contextmanager
    def _guests(self, rate: float) -> Iterator[None]:
        """Requests at this rate as long as the block lasts; those under way at its end are waited for elsewhere."""
        is_over = threading.Event()
        guests = [threading.Thread(target=self._come, args=(rate, n, is_over), daemon=True) for n in range(GUESTS)]
        for guest in guests:
            guest.start()
        yield
        is_over.set()

    def _come(self, rate: float, number: int, is_over: threading.Event) -> None:
        every = GUESTS / rate
        next_at = time.monotonic() + every * number / GUESTS
        while not is_over.wait(max(0.0, next_at - time.monotonic())):
            next_at = max(next_at + every, time.monotonic() - 1)
            self.arrived += 1
            second, began = len(self.seconds), time.monotonic()
            if problem := ask(self.port):
                self.failed.append(problem)
            if problem or time.monotonic() - began > SLOW_SECONDS:
                self.slow.add(second)

    def sizes(self, name: str) -> list[int]:
        """Sizes during one part of the day."""
        return [second.replicas for second in self.seconds if second.hour.name == name]

    def as_csv(self) -> str:
        """Requests of each second, as a backtest takes them."""
        rows = [f"{number},{second.arrived}" for number, second in enumerate(self.seconds)]
        return "\n".join(["offset_seconds,value", *rows, ""])


def ask(port: int) -> str:
    """What was wrong with the answer to one request; empty if nothing was."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=ANSWER_SECONDS)
    try:
        connection.request("GET", "/")
        answer = connection.getresponse()
        answer.read()
    except (OSError, http.client.HTTPException) as error:
        return repr(error)
    finally:
        connection.close()
    return "" if answer.status == 200 else f"HTTP {answer.status}"


async def push(metrics: MetricsServiceStub, value: float) -> None:
    """Hand the scaler the count of the last second; one that is lost is the scaler's to bear."""
    try:
        await metrics.PutMetricData(PutMetricDataRequest(points=[MetricPoint(metric=METRIC, value=value)]))
    except OpsuiteError as error:
        print("not pushed:", error.message)


def sizes_asked_for(environment: dict[str, str]) -> list[int]:
    """Sizes in the order in which the scaler asked for them."""
    listed = [*OPSUITE, "scaling", "activities", "tea", "--limit", "1000", "--filter", 'verdict = "SCALE"', "--json"]
    told = subprocess.run(listed, env=environment, check=True, capture_output=True, text=True)
    return [int(one["decision"]["desired_replicas"]) for one in reversed(json.loads(told.stdout))]


def count_reversals(sizes: list[int]) -> int:
    """How often the direction turned."""
    steps = [after - before for before, after in zip([1, *sizes], sizes, strict=False) if after != before]
    return sum(1 for one, other in pairwise(steps) if (one > 0) != (other > 0))


# ---- how it went ----------------------------------------------------------------------------------------------------


def print_table(day: Day, reversals: int) -> None:
    """The day in figures."""
    rows = [
        ("requests", f"{day.arrived:,}"),
        ("of these failed", f"{len(day.failed):,}"),
        ("violation minutes", f"{len(day.slow) / 60:.2f}"),
        ("most replicas", str(max(second.replicas for second in day.seconds))),
        ("reversals", f"{reversals} (out and in again is one)"),
    ]
    for name, value in rows:
        print(f"{name:<20} {value}")


def judge(day: Day, reversals: int, plot: Path) -> int:
    """0 if everything went as it should; what did not is said."""
    wrong = []
    peak, blind = max(day.sizes("rush")), day.sizes("nobody counts")
    if peak * SERVED_BY_ONE < 72:
        wrong.append(f"{peak} replicas are too few for the rush")
    if min(blind) < blind[0]:
        wrong.append(f"it shrank while nobody counted: {blind}")
    if day.seconds[-1].replicas >= peak:
        wrong.append("it did not shrink in the evening")
    if reversals > 1:
        wrong.append(f"it flapped: {reversals} reversals")
    if day.failed:
        wrong.append(f"{len(day.failed)} requests failed: {day.failed[0]}")
    if not plot.is_file() or not plot.stat().st_size:
        wrong.append("there is no plot")
    for line in wrong:
        print("FAILED:", line)
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
