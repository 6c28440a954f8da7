"""A real scaler in a process of its own, as `deployer.py` has it for the deployer, and workloads that it sizes.

with a_scaler() as scaler:
    async with scaler.client() as client:
        await client.scaler.CreateScalingPolicy(a_request("shop"))
        scaler.kill()
        scaler.start()
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from deployer import LOOK_EVERY_SECONDS, START_SECONDS, STOP_SECONDS, free_port, own_ports
from google.protobuf import json_format

from opsuite.scaler.v1 import decision_pb2, metrics_service_pb2, policy_pb2, scaler_service_pb2
from opsuite.scaler.v1.metrics_service_pb2_grpc import MetricsServiceStub
from opsuite.scaler.v1.pool_service_pb2_grpc import CapacityPoolServiceStub
from opsuite.scaler.v1.scaler_service_pb2_grpc import ScalerServiceStub
from opsuite.scaler.v1.target_service_pb2_grpc import ScalableTargetServiceStub
from opsuite_platforms.port import PortSpec, WorkloadSpec
from opsuite_platforms.process import ProcessPlatform
from opsuite_rpc.channel import Target, connect

if TYPE_CHECKING:  # these exist in the type stubs only
    from opsuite.scaler.v1.metrics_service_pb2_grpc import MetricsServiceAsyncStub
    from opsuite.scaler.v1.pool_service_pb2_grpc import CapacityPoolServiceAsyncStub
    from opsuite.scaler.v1.scaler_service_pb2_grpc import ScalerServiceAsyncStub
    from opsuite.scaler.v1.target_service_pb2_grpc import ScalableTargetServiceAsyncStub


@dataclass(frozen=True, slots=True)
class Client:
    """Stubs of every service of the scaler, over one channel."""

    scaler: ScalerServiceAsyncStub
    targets: ScalableTargetServiceAsyncStub
    metrics: MetricsServiceAsyncStub
    pools: CapacityPoolServiceAsyncStub


@dataclass
class ScalerProcess:
    """A scaler that can be ended and started again on the same data and the same addresses."""

    data_dir: Path
    platform_dir: Path
    settings: Mapping[str, str] = field(default_factory=dict)
    port: int = field(default_factory=free_port)
    side_port: int = field(default_factory=free_port)
    workload_ports: str = field(default_factory=lambda: own_ports())
    process: subprocess.Popen[bytes] | None = None

    @property
    def address(self) -> str:
        """Where it listens."""
        return f"127.0.0.1:{self.port}"

    @property
    def token(self) -> str:
        """What opens it."""
        return (self.data_dir / "token").read_text().strip()

    @property
    def log_file(self) -> Path:
        """What it wrote, over all of its lives."""
        return self.data_dir.with_name(self.data_dir.name + ".log")

    def start(self, *, wait: bool = True, **settings: str) -> None:
        """Start it, by default until it serves; `settings` are for this life alone."""
        assert self.process is None or self.process.poll() is not None, "it runs already"
        own = {
            "SCALER_DATA_DIR": str(self.data_dir),
            "SCALER_PLATFORM_DIR": str(self.platform_dir),
            "SCALER_LISTEN": self.address,
            "SCALER_SIDE_PORT_LISTEN": f"127.0.0.1:{self.side_port}",
            "SCALER_WORKLOAD_PORTS": self.workload_ports,
            "SCALER_LOG_FORMAT": "json",
            "SCALER_POLL_EVERY": "0.3",
        }
        kept = {
            name: os.environ[name] for name in ("PATH", "PYTHONPATH", "HOME", "LANG", "TMPDIR") if name in os.environ
        }
        with self.log_file.open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "opsuite_scaler"],
                env=kept | own | dict(self.settings) | settings,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,  # a Ctrl-C at the tests is not for it
            )
        if wait:
            self.wait_until_healthy()

    def wait_until_healthy(self) -> None:
        """Return when its side port says that it serves."""
        give_up_at = time.monotonic() + START_SECONDS
        while not self.is_healthy():
            assert self.process is not None
            if self.process.poll() is not None or time.monotonic() > give_up_at:
                pytest.fail(f"the scaler did not start ({self.process.poll()}):\n{self.log()}")
            time.sleep(LOOK_EVERY_SECONDS)

    def is_healthy(self) -> bool:
        """Whether it says so now."""
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.side_port}/health", timeout=5) as answer:
                return bool(answer.status == 200)
        except (urllib.error.URLError, OSError):
            return False

    def metrics(self) -> str:
        """What its side port tells Prometheus."""
        with urllib.request.urlopen(f"http://127.0.0.1:{self.side_port}/metrics", timeout=5) as answer:
            text: str = answer.read().decode()
            return text

    def kill(self) -> None:
        """End it as a crash would; returns when it is gone."""
        self._end(signal.SIGKILL)

    def terminate(self) -> int:
        """Tell it to stop and wait until it has drained; its exit status."""
        return self._end(signal.SIGTERM)

    def wait_until_gone(self) -> int:
        """Wait until it has ended by itself, as at a fault point; its exit status."""
        assert self.process is not None
        return self.process.wait(STOP_SECONDS)

    def close(self) -> None:
        """End it."""
        if self.process is not None and self.process.poll() is None:
            self.kill()

    def log(self, lines: int = 60) -> str:
        """The end of what it wrote."""
        return "\n".join(self.log_file.read_text(errors="replace").splitlines()[-lines:])

    def _end(self, number: signal.Signals) -> int:
        assert self.process is not None, "it does not run"
        self.process.send_signal(number)
        return self.process.wait(STOP_SECONDS)

    @asynccontextmanager
    async def client(self) -> AsyncIterator[Client]:
        """Stubs that raise errors of opsuite_kernel, with the local token."""
        async with connect(Target(self.address, self.token)) as connection:
            channel: Any = connection.channel
            yield Client(
                ScalerServiceStub(channel),
                ScalableTargetServiceStub(channel),
                MetricsServiceStub(channel),
                CapacityPoolServiceStub(channel),
            )


@contextmanager
def a_place() -> Iterator[Path]:
    """A short-lived directory whose name is short enough for sockets; whatever supervisord runs there is stopped."""
    place = Path(tempfile.mkdtemp(prefix="opsuite-"))
    try:
        yield place
    finally:
        ProcessPlatform(place / "suite").supervisord.stop()
        shutil.rmtree(place)


@contextmanager
def a_scaler(**settings: str) -> Iterator[ScalerProcess]:
    """A scaler that serves; ended with all that belongs to it, and its data removed."""
    with a_place() as place:
        scaler = ScalerProcess(place / "scaler", place / "suite", settings)
        try:
            scaler.start()
            yield scaler
        finally:
            scaler.close()


@pytest.fixture(scope="module")
def scaler() -> Iterator[ScalerProcess]:
    """One scaler for all tests of a file."""
    with a_scaler() as running:
        yield running


# ---- things to do with it -------------------------------------------------------------------------------------------

PUSHED = {
    "name": "queue",
    "queueLength": {"maxItems": 10, "source": "push", "query": "jobs"},
}
"""A metric: ten jobs for each replica, handed in under the name "jobs"."""


def a_policy(name: str, **fields: Any) -> policy_pb2.ScalingPolicy:
    """A policy in the JSON form of the contract: 1 to 5 replicas of the workload of its name, by jobs handed in."""
    form: dict[str, Any] = {
        "name": f"scalingPolicies/{name}",
        "target": {"name": name},
        "maxReplicas": 5,
        "metrics": [PUSHED],
        "timing": {"tick": "0.3s"},
        "behavior": {"scaleDown": {"stabilizationWindow": "0s"}},
    }
    return json_format.ParseDict(form | fields, policy_pb2.ScalingPolicy())


async def create(client: Client, policy: policy_pb2.ScalingPolicy) -> policy_pb2.ScalingPolicy:
    """The policy as recorded."""
    request = scaler_service_pb2.CreateScalingPolicyRequest(policy=policy)
    return (await client.scaler.CreateScalingPolicy(request)).policy


async def push(client: Client, value: float, metric: str = "jobs") -> None:
    """Hand in one number."""
    point = metrics_service_pb2.MetricPoint(metric=metric, value=value)
    await client.metrics.PutMetricData(metrics_service_pb2.PutMetricDataRequest(points=[point]))


async def status_of(client: Client, name: str) -> decision_pb2.ScalingStatus:
    """How a target stands."""
    request = scaler_service_pb2.GetScalingStatusRequest(name=f"scalingPolicies/{name}")
    return (await client.scaler.GetScalingStatus(request)).status


def a_workload(name: str, replicas: int = 1, **fields: Any) -> WorkloadSpec:
    """Processes that do nothing until they are stopped."""
    spec = WorkloadSpec(name, "1.0.0", ("/bin/sleep", "100000"), "/", ports=(PortSpec("http"),), replicas=replicas)
    return replace(spec, **fields)
