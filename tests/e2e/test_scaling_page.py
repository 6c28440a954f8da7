"""docs/scaling.md keeps its word: its commands are run as they stand there, against `opsuite up` with its scaler."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from deployer import DeployerProcess, free_port, own_ports, python_directories
from opsuite_command import opsuite, started
from readme import ROOT

TEXT = (ROOT / "docs" / "scaling.md").read_text()
SCRIPTS = re.findall(r"^```bash\n(.*?)^```$", TEXT, flags=re.MULTILINE | re.DOTALL)
(PYTHON,) = re.findall(r"^```python\n(.*?)^```$", TEXT, flags=re.MULTILINE | re.DOTALL)


@pytest.fixture(scope="module")
def suite() -> Iterator[DeployerProcess]:
    """`opsuite up` with a scaler, once it has said that it serves."""
    parent = Path(tempfile.mkdtemp(prefix="opsuite-"))
    place = DeployerProcess(parent / "data")
    scaler = f"127.0.0.1:{free_port()}"
    settings = {
        "DEPLOYER_SIDE_PORT_LISTEN": f"127.0.0.1:{free_port()}",
        "DEPLOYER_TRUSTED_DIRECTORIES": python_directories(),
        "DEPLOYER_WORKLOAD_PORTS": own_ports(),
        "SCALER_LISTEN": f"unix://{parent}/data/run/scaler.sock,{scaler}",
        "SCALER_SIDE_PORT_LISTEN": f"127.0.0.1:{free_port()}",
    }
    with started(place, "up", "--no-edge", "--scaler", "--listen", place.address, **settings) as running:
        assert running.stdout is not None
        while "server_started" not in (line := running.stdout.readline()) or '"scaler"' not in line:
            assert line, "it has ended"
        yield place
        opsuite(place, "down")
        running.communicate(timeout=60)
    shutil.rmtree(parent)


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory in which the examples are, and that may be written to."""
    directory = tmp_path_factory.mktemp("root")
    shutil.copytree(ROOT / "examples", directory / "examples")
    pipeline = directory / "examples" / "scaling" / "pipeline.yaml"
    pipeline.write_text(pipeline.read_text().replace("listen_port: 8080", f"listen_port: {free_port()}"))
    return directory


def said(suite: DeployerProcess, root: Path, script: str) -> str:
    ended = subprocess.run(
        ["timeout", "200", "bash", "-euo", "pipefail", "-c", script],
        cwd=root,
        env=suite.environment | {"PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert ended.returncode == 0, ended.stdout + ended.stderr
    return ended.stdout


def test_a_policy_is_tried_without_a_target(suite: DeployerProcess, root: Path) -> None:
    told = said(suite, root, SCRIPTS[0])

    assert re.search(r"4 → 8", told)
    assert re.search(r"^hpa +\d", told, re.MULTILINE)
    assert (root / "day.svg").read_text().startswith("<?xml")


def test_a_workload_is_sized_by_a_metric_and_by_hand(suite: DeployerProcess, root: Path) -> None:
    assert "tea: process tea, 4 replicas" in said(suite, root, SCRIPTS[1])

    told = said(suite, root, SCRIPTS[2])

    assert re.search(r"→ 2", told)
    assert "dry_run" in told.lower()


def test_what_a_cluster_has_comes_over_and_goes_back(suite: DeployerProcess, root: Path) -> None:
    told = said(suite, root, SCRIPTS[3])

    assert "averageUtilization: 60" in told


def test_the_core_is_called_from_python() -> None:
    ended = subprocess.run([sys.executable, "-c", PYTHON], capture_output=True, text=True, check=True)

    assert ended.stdout.startswith("Verdict.SCALE 4\n")
