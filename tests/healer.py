"""A real healer in a process of its own, as `scaler.py` has it for the scaler.

with a_healer() as healer:
    async with healer.channel() as channel:
        await IncidentServiceStub(channel).TriggerIncident(request)
        healer.kill()
        healer.start()
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from deployer import LOOK_EVERY_SECONDS, START_SECONDS, STOP_SECONDS, free_port, own_ports
from scaler import a_place

from opsuite_rpc.channel import Target, connect


@dataclass
class HealerProcess:
    """A healer that can be ended and started again on the same data and the same addresses."""

    data_dir: Path
    platform_dir: Path
    settings: Mapping[str, str] = field(default_factory=dict)
    port: int = field(default_factory=free_port)
    side_port: int = field(default_factory=free_port)
    alerts_port: int = field(default_factory=free_port)
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

    @property
    def environment(self) -> dict[str, str]:
        """Environment in which the `opsuite` command finds it."""
        return _kept() | {
            "OPSUITE_DATA_DIR": str(self.data_dir.parent),
            "OPSUITE_HEALER_ADDRESS": self.address,
            "OPSUITE_TOKEN_FILE": str(self.data_dir / "token"),
        }

    def start(self, *, wait: bool = True, **settings: str) -> None:
        """Start it, by default until it serves; `settings` are for this life alone."""
        assert self.process is None or self.process.poll() is not None, "it runs already"
        own = {
            "HEALER_DATA_DIR": str(self.data_dir),
            "HEALER_PLATFORM_DIR": str(self.platform_dir),
            "HEALER_LISTEN": self.address,
            "HEALER_SIDE_PORT_LISTEN": f"127.0.0.1:{self.side_port}",
            "HEALER_ALERTS_LISTEN": f"127.0.0.1:{self.alerts_port}",
            "HEALER_WORKLOAD_PORTS": self.workload_ports,
            "HEALER_LOG_FORMAT": "json",
            "HEALER_POLL_EVERY": "0.3",
        }
        with self.log_file.open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "opsuite_healer"],
                env=_kept() | own | dict(self.settings) | settings,
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
                pytest.fail(f"the healer did not start ({self.process.poll()}):\n{self.log()}")
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

    def close(self) -> None:
        """End it."""
        if self.process is not None and self.process.poll() is None:
            self.kill()

    def log(self, lines: int = 60) -> str:
        """The end of what it wrote."""
        return "\n".join(self.log_file.read_text(errors="replace").splitlines()[-lines:])

    @asynccontextmanager
    async def channel(self) -> AsyncIterator[Any]:
        """Stubs over it raise errors of opsuite_kernel; with the local token."""
        async with connect(Target(self.address, self.token)) as connection:
            yield connection.channel

    def _end(self, number: signal.Signals) -> int:
        assert self.process is not None, "it does not run"
        self.process.send_signal(number)
        return self.process.wait(STOP_SECONDS)


def _kept() -> dict[str, str]:
    return {name: os.environ[name] for name in ("PATH", "PYTHONPATH", "HOME", "LANG", "TMPDIR") if name in os.environ}


@contextmanager
def a_healer(**settings: str) -> Iterator[HealerProcess]:
    """A healer that serves; ended with all that belongs to it, and its data removed."""
    with a_place() as place:
        healer = HealerProcess(place / "healer", place / "suite", settings)
        try:
            healer.start()
            yield healer
        finally:
            healer.close()


@pytest.fixture(scope="module")
def healer() -> Iterator[HealerProcess]:
    """One healer for all tests of a file."""
    with a_healer() as running:
        yield running
