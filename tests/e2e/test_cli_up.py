"""`opsuite up` and `opsuite down`: the suite in the foreground, and what outlives it."""

from __future__ import annotations

import shutil
import signal
import subprocess
import tempfile
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
from deployer import DeployerProcess, free_port, python_directories
from envoy import envoy_program
from opsuite_command import opsuite, started, write_pipeline

SERVER = """\
import sys
from http.server import HTTPServer, SimpleHTTPRequestHandler
HTTPServer(("127.0.0.1", int(sys.argv[1])), SimpleHTTPRequestHandler).serve_forever()
"""


@pytest.fixture
def suite() -> Iterator[DeployerProcess]:
    """Where a suite will be: a data directory and addresses, nothing started. What runs there at the end is stopped."""
    parent = Path(tempfile.mkdtemp(prefix="opsuite-"))
    place = DeployerProcess(parent / "data")
    yield place
    opsuite(place, "down")
    shutil.rmtree(parent)


def start(suite: DeployerProcess, address: str, *more: str) -> subprocess.Popen[str]:
    """`opsuite up`."""
    side = f"127.0.0.1:{free_port()}"
    settings = {"DEPLOYER_SIDE_PORT_LISTEN": side, "DEPLOYER_TRUSTED_DIRECTORIES": python_directories()}
    return started(suite, "up", "--listen", address, *more, **settings)


def up(suite: DeployerProcess, *more: str) -> subprocess.Popen[str]:
    """The same, read until it has said what to do next."""
    running = start(suite, suite.address, *more)
    assert running.stdout is not None
    seen = []
    for line in running.stdout:
        seen.append(line)
        if "opsuite doctor" in line:
            break
    else:
        pytest.fail("".join(seen))
    greeting = "".join(seen)
    assert suite.address in greeting
    assert str(suite.data_dir / "token") in greeting
    return running


def test_the_suite_serves_until_ctrl_c_and_then_drains(suite: DeployerProcess) -> None:
    with up(suite) as running:
        assert opsuite(suite, "health").status == 0
        running.send_signal(signal.SIGINT)
        out, _ = running.communicate(timeout=60)

    assert running.returncode == 0, out
    assert "workloads go on until: opsuite down" in out
    assert opsuite(suite, "health").status == 1


def test_workloads_outlive_the_deployer_and_end_with_down(suite: DeployerProcess, tmp_path: Path) -> None:
    port = free_port()
    workload = {
        "workload": "web",
        "command": ["python3", "server.py", "${port}"],
        "ports": [{"name": "http", "number": port}],
    }
    gate = {"name": "answers", "checks": [{"name": "http", "workload": {"workload": "web", "path": "/"}}]}
    stage = {"name": "run", "steps": [{"name": "start", "workload": workload}], "gates": [gate]}
    with up(suite) as running:
        (suite.work / "server.py").write_text(SERVER)
        opsuite(suite, "apply", "-f", str(write_pipeline(tmp_path, "web", stage)))
        deployed = opsuite(suite, "deploy", "web", "1", "--env", "staging", "--wait")
        assert deployed.status == 0, deployed

        running.terminate()
        running.communicate(timeout=60)

    assert is_there(port)
    assert "stopped the workloads" in opsuite(suite, "down").out
    assert not is_there(port)


def test_an_edge_is_kept_through_restarts_and_ends_with_down(suite: DeployerProcess) -> None:
    envoy_program()
    with up(suite, "--edge") as running:
        while not (first := edges_of(suite)):
            pass  # supervisord has been told, and starts it
        running.terminate()
        running.communicate(timeout=60)
    with up(suite) as running:
        second = edges_of(suite)
        running.terminate()
        running.communicate(timeout=60)

    assert len(first) == 1
    assert second == first
    opsuite(suite, "down")
    assert edges_of(suite) == []


def test_an_edge_that_nobody_wants_any_more_is_stopped(suite: DeployerProcess) -> None:
    envoy_program()
    with up(suite, "--edge") as running:
        while not edges_of(suite):
            pass
        running.terminate()
        running.communicate(timeout=60)
    with up(suite, "--no-edge") as running:
        assert edges_of(suite) == []
        running.terminate()
        running.communicate(timeout=60)


def edges_of(suite: DeployerProcess) -> list[int]:
    """Processes of edges that were started for the suite."""
    configuration = str(suite.data_dir / "edges" / "local" / "envoy.json")
    running = psutil.process_iter(["cmdline", "name"])
    return [one.pid for one in running if one.info["name"] == "envoy" and configuration in (one.info["cmdline"] or [])]


def is_there(port: int) -> bool:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/", timeout=5):
            return True
    except OSError:
        return False


def test_down_stops_a_deployer_that_is_still_there(suite: DeployerProcess) -> None:
    with up(suite) as running:
        stopped = opsuite(suite, "down", "--keep-workloads")
        running.communicate(timeout=60)

    assert stopped.status == 0
    assert "stopped the deployer" in stopped.out
    assert "the workloads" not in stopped.out


def test_down_where_nothing_runs_says_so(suite: DeployerProcess) -> None:
    assert opsuite(suite, "down").out == f"{suite.data_dir}: nothing was running\n"


def test_a_second_suite_on_the_same_data_is_refused(suite: DeployerProcess) -> None:
    with up(suite) as running:
        with start(suite, f"127.0.0.1:{free_port()}") as second:
            out, _ = second.communicate(timeout=60)
        running.terminate()
        running.communicate(timeout=60)

    assert second.returncode != 0
    assert "is in use by process" in out
