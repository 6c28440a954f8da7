"""Prefect: a flow of ten tasks, run in process against a warm server of its own on SQLite."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

HOME = Path(sys.argv[1]) / "prefect"
with socket.socket() as probe:
    probe.bind(("127.0.0.1", 0))
    PORT = probe.getsockname()[1]
os.environ |= {
    "PREFECT_HOME": str(HOME),
    "PREFECT_API_URL": f"http://127.0.0.1:{PORT}/api",
    "PREFECT_LOGGING_LEVEL": "ERROR",
    "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
    "DO_NOT_TRACK": "1",
}

from prefect import flow, task  # type: ignore[import-not-found]  # noqa: E402  # installed beside this one, not with it
from protocol import serve  # noqa: E402


@task  # type: ignore[untyped-decorator]  # unknown here
def step() -> int:
    return subprocess.run(["/bin/true"], check=True).returncode


@flow  # type: ignore[untyped-decorator]  # unknown here
def pipeline() -> int:
    return sum(step() for _ in range(10))


def ten(count: int) -> list[float]:
    taken = []
    for _ in range(count):
        began = time.perf_counter()
        pipeline()
        taken.append((time.perf_counter() - began) * 1000)
    return taken


def wait_until_healthy() -> None:
    for _ in range(600):
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{PORT}/api/health", timeout=2):
                return
        except OSError:
            time.sleep(0.1)
    raise TimeoutError("the server did not come up")


if __name__ == "__main__":
    command = [sys.executable, "-m", "prefect", "server", "start", "--host", "127.0.0.1", "--port", str(PORT)]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as server:
        try:
            wait_until_healthy()
            serve(ten)
        finally:
            server.terminate()
