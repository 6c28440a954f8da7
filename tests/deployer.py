"""A real deployer in a process of its own: free ports, a short-lived data directory, and ways to end it, gently or not.

    with a_deployer(DEPLOYER_MAX_CONCURRENT_DEPLOYMENTS="2") as deployer:
        async with deployer.client() as client:
            name = (await client.deployments.Deploy(request)).deployment.name
            deployer.kill()
            deployer.start()
            events = await events_of(client, name)

Tests below tests/e2e get the fixtures `deployer` (one for the whole file) and `start_deployer` (as many as wanted).
"""

from __future__ import annotations

import itertools
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, aclosing, asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from google.protobuf import json_format
from ports import free_port as free_port

from opsuite.deployer.v1 import deployment_pb2, deployment_service_pb2, pipeline_pb2, pipeline_service_pb2
from opsuite.deployer.v1.deployment_service_pb2_grpc import DeploymentServiceStub
from opsuite.deployer.v1.environment_service_pb2_grpc import EnvironmentServiceStub
from opsuite.deployer.v1.history_service_pb2_grpc import HistoryServiceStub
from opsuite.deployer.v1.pipeline_service_pb2_grpc import PipelineServiceStub
from opsuite_platforms.supervisord import Supervisord
from opsuite_rpc.channel import Target, connect
from opsuite_rpc.watching import watch

if TYPE_CHECKING:  # these exist in the type stubs only
    from opsuite.deployer.v1.deployment_service_pb2_grpc import DeploymentServiceAsyncStub
    from opsuite.deployer.v1.environment_service_pb2_grpc import EnvironmentServiceAsyncStub
    from opsuite.deployer.v1.history_service_pb2_grpc import HistoryServiceAsyncStub
    from opsuite.deployer.v1.pipeline_service_pb2_grpc import PipelineServiceAsyncStub

START_SECONDS = 60.0
STOP_SECONDS = 60.0
LOOK_EVERY_SECONDS = 0.02


_ranges = itertools.count()


def own_ports() -> str:
    """Ports for the workloads of one deployer: those that run at the same time must not reach for the same ones."""
    worker = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw"))
    first = 20_000 + 4_800 * (worker % 2) + 80 * ((os.getpid() + next(_ranges)) % 60)
    return f"{first}-{first + 79}"


def python_directories() -> str:
    """Value of DEPLOYER_TRUSTED_DIRECTORIES under which steps find `python3`, wherever this machine keeps it."""
    return ",".join(["/usr/local/bin", "/usr/bin", "/bin", str(Path(sys.base_prefix, "bin"))])


@dataclass(frozen=True, slots=True)
class Client:
    """Stubs of every service of the deployer, over one channel."""

    pipelines: PipelineServiceAsyncStub
    deployments: DeploymentServiceAsyncStub
    history: HistoryServiceAsyncStub
    environments: EnvironmentServiceAsyncStub


@dataclass
class DeployerProcess:
    """A deployer that can be ended and started again on the same data and the same addresses."""

    data_dir: Path
    settings: Mapping[str, str] = field(default_factory=dict)
    """Environment variables: DEPLOYER_POLL_EVERY, OPSUITE_FAULT."""
    port: int = field(default_factory=free_port)
    side_port: int = field(default_factory=free_port)
    workload_ports: str = field(default_factory=lambda: own_ports())
    process: subprocess.Popen[bytes] | None = None

    @property
    def address(self) -> str:
        """Where it listens with TCP; there is a Unix socket too."""
        return f"127.0.0.1:{self.port}"

    @property
    def socket(self) -> str:
        """Where it listens besides."""
        return f"unix://{self.data_dir}/run/deployer.sock"

    @property
    def token(self) -> str:
        """What opens it."""
        return (self.data_dir / "token").read_text().strip()

    @property
    def log_file(self) -> Path:
        """What it wrote to its standard output and error, over all of its lives."""
        return self.data_dir.with_name(self.data_dir.name + ".log")

    @property
    def work(self) -> Path:
        """The directory below which its steps work."""
        return self.data_dir / "work"

    @property
    def pid(self) -> int:
        """Process id of its present life."""
        assert self.process is not None, "it does not run"
        return self.process.pid

    # ---- its life -----------------------------------------------------------------------------------------------

    def start(self, *, wait: bool = True, **settings: str) -> None:
        """Start it, by default until it serves; `settings` are for this life alone."""
        assert self.process is None or self.process.poll() is not None, "it runs already"
        with self.log_file.open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "opsuite_deployer"],
                env=self._environment(settings),
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
                pytest.fail(f"the deployer did not start ({self.process.poll()}):\n{self.log()}")
            time.sleep(LOOK_EVERY_SECONDS)

    def is_healthy(self) -> bool:
        """Whether it says so now."""
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.side_port}/health", timeout=5) as answer:
                return bool(answer.status == 200)
        except (urllib.error.URLError, OSError):
            return False

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

    def restart(self, **settings: str) -> None:
        """Drain it and start it again."""
        self.terminate()
        self.start(wait=True, **settings)

    def close(self) -> None:
        """End it, its supervisord and every workload."""
        if self.process is not None and self.process.poll() is None:
            try:
                self.terminate()
            except subprocess.TimeoutExpired:
                self.kill()
        Supervisord(self.data_dir / "supervisor").stop()

    def log(self, lines: int = 60) -> str:
        """The end of what it wrote."""
        return "\n".join(self.log_file.read_text(errors="replace").splitlines()[-lines:])

    def _end(self, number: signal.Signals) -> int:
        assert self.process is not None, "it does not run"
        self.process.send_signal(number)
        return self.process.wait(STOP_SECONDS)

    def _environment(self, settings: Mapping[str, str]) -> dict[str, str]:
        own = {
            "DEPLOYER_DATA_DIR": str(self.data_dir),
            "DEPLOYER_LISTEN": f"{self.socket},{self.address}",
            "DEPLOYER_SIDE_PORT_LISTEN": f"127.0.0.1:{self.side_port}",
            "DEPLOYER_TRUSTED_DIRECTORIES": python_directories(),
            "DEPLOYER_WORKLOAD_PORTS": self.workload_ports,
            "DEPLOYER_LOG_FORMAT": "json",
            "DEPLOYER_POLL_EVERY": "0.5",
            "DEPLOYER_DRAIN_GRACE": "10",
        }
        return _kept() | own | dict(self.settings) | dict(settings)

    # ---- talking to it ------------------------------------------------------------------------------------------

    @property
    def environment(self) -> dict[str, str]:
        """Environment in which the `opsuite` command finds it."""
        return _kept() | {
            "OPSUITE_DATA_DIR": str(self.data_dir),
            "OPSUITE_DEPLOYER_ADDRESS": self.address,
            "OPSUITE_TOKEN_FILE": str(self.data_dir / "token"),
        }

    @asynccontextmanager
    async def client(self, *, token: str | None = None) -> AsyncIterator[Client]:
        """Stubs that raise errors of opsuite_kernel; by default with the local token."""
        async with connect(Target(self.address, token or self.token)) as connection:
            channel: Any = connection.channel
            yield Client(
                PipelineServiceStub(channel),
                DeploymentServiceStub(channel),
                HistoryServiceStub(channel),
                EnvironmentServiceStub(channel),
            )


def _kept() -> dict[str, str]:
    return {name: os.environ[name] for name in ("PATH", "PYTHONPATH", "HOME", "LANG", "TMPDIR") if name in os.environ}


# ---- fixtures -------------------------------------------------------------------------------------------------------


@contextmanager
def a_deployer(**settings: str) -> Iterator[DeployerProcess]:
    """A deployer that serves; ended with all that belongs to it, and its data removed."""
    # Not pytest's directories: their names are too long for a Unix socket.
    parent = Path(tempfile.mkdtemp(prefix="opsuite-"))
    deployer = DeployerProcess(parent / "data", settings)
    try:
        deployer.start()
        yield deployer
    finally:
        deployer.close()
        shutil.rmtree(parent)


@pytest.fixture(scope="module")
def deployer() -> Iterator[DeployerProcess]:
    """One deployer for all tests of a file."""
    with a_deployer() as running:
        yield running


@pytest.fixture
def start_deployer() -> Iterator[Callable[..., DeployerProcess]]:
    """A function that starts a deployer of the test's own; it takes settings."""
    with ExitStack() as stack:
        yield lambda **settings: stack.enter_context(a_deployer(**settings))


# ---- things to do with it -------------------------------------------------------------------------------------------


def a_pipeline(name: str, *steps: Mapping[str, Any], **fields: Any) -> pipeline_pb2.Pipeline:
    """A pipeline of one stage, "work", with these steps in the JSON form of the contract; `fields` are its others."""
    stages = [{"name": "work", "steps": list(steps) or [a_command("true-step")]}]
    form = {"name": f"pipelines/{name}", "environments": ["staging"], "stages": stages} | fields
    return json_format.ParseDict(form, pipeline_pb2.Pipeline())


def a_command(name: str, *argv: str, **fields: Any) -> dict[str, Any]:
    """A command step; by default one that does nothing and ends well."""
    command, *args = argv or ("git", "--version")
    return {"name": name, "command": {"command": command, "args": args}} | fields


async def register(client: Client, pipeline: pipeline_pb2.Pipeline) -> pipeline_pb2.Pipeline:
    """The pipeline as registered."""
    request = pipeline_service_pb2.RegisterPipelineRequest(pipeline=pipeline)
    return (await client.pipelines.RegisterPipeline(request)).pipeline


async def deploy(
    client: Client, pipeline: str, version: str = "1.0.0", environment: str = "staging"
) -> deployment_pb2.Deployment:
    """A new deployment as recorded."""
    request = deployment_service_pb2.DeployRequest(
        pipeline=f"pipelines/{pipeline}", version=version, environment=environment
    )
    return (await client.deployments.Deploy(request)).deployment


async def events_of(client: Client, name: str) -> Sequence[deployment_pb2.DeploymentEvent]:
    """Every event of a deployment that the snapshot does not cover, once it has ended."""
    request = deployment_service_pb2.WatchDeploymentRequest(name=name)
    events: list[deployment_pb2.DeploymentEvent] = []
    async with aclosing(watch(client.deployments.WatchDeployment, request)) as answers:
        async for answer in answers:
            events += answer.events
    return events


async def ended(client: Client, name: str) -> deployment_pb2.Deployment:
    """The deployment, once it has ended."""
    await events_of(client, name)
    request = deployment_service_pb2.GetDeploymentRequest(name=name)
    return (await client.deployments.GetDeployment(request)).deployment
