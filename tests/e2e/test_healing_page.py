"""docs/healing.md keeps its word: its commands are run as they stand there, against `opsuite up` with its healer."""

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
import yaml
from deployer import DeployerProcess, free_port, own_ports, python_directories
from envoy import envoy_program
from opsuite_command import opsuite, started
from readme import ROOT

from opsuite_cli.healing.resources import RUNBOOK

TEXT = (ROOT / "docs" / "healing.md").read_text()
WATCH, MEND, BRAKES, PEOPLE = re.findall(r"^```bash\n(.*?)^```$", TEXT, flags=re.MULTILINE | re.DOTALL)
(DOCUMENT,) = re.findall(r"^```yaml\n(.*?)^```$", TEXT, flags=re.MULTILINE | re.DOTALL)


@pytest.fixture(scope="module")
def suite() -> Iterator[DeployerProcess]:
    """`opsuite up` with an edge and a healer, once that has said that it serves."""
    envoy_program()
    parent = Path(tempfile.mkdtemp(prefix="opsuite-"))
    place = DeployerProcess(parent / "data")
    settings = {
        "DEPLOYER_SIDE_PORT_LISTEN": f"127.0.0.1:{free_port()}",
        "DEPLOYER_TRUSTED_DIRECTORIES": python_directories(),
        "DEPLOYER_WORKLOAD_PORTS": own_ports(),
    }
    with started(place, "up", "--no-scaler", "--healer", "--listen", place.address, **settings) as running:
        assert running.stdout is not None
        while "server_started" not in (line := running.stdout.readline()) or '"healer"' not in line:
            assert line, "it has ended"
        yield place
        opsuite(place, "down")
        running.communicate(timeout=60)
    shutil.rmtree(parent)


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory in which the examples are."""
    directory = tmp_path_factory.mktemp("root")
    shutil.copytree(ROOT / "examples", directory / "examples")
    pipeline = directory / "examples" / "healing" / "pipeline.yaml"
    pipeline.write_text(pipeline.read_text().replace("listen_port: 8080", f"listen_port: {free_port()}"))
    return directory


def said(suite: DeployerProcess, root: Path, script: str) -> str:
    # The pattern of the page would find the bakery of another test too.
    script = script.replace("pgrep -f 'bakery.py --port'", f"pgrep -f 'bakery.py --port ({ports(suite)})'")
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


def ports(suite: DeployerProcess) -> str:
    """The ports of the bakery's replicas, as alternatives of a pattern."""
    shown = opsuite(suite, "workload", "show", "bakery")
    return "|".join(re.findall(r"127\.0\.0\.1:(\d+)", shown.out)) or "0"


def test_the_page_is_gone_through_from_top_to_bottom(suite: DeployerProcess, root: Path) -> None:
    watched = said(suite, root, WATCH)
    assert "healing policy bakery: created" in watched
    assert re.search(r"^bakery +process/bakery +http", watched, re.MULTILINE)

    mended = said(suite, root, MEND)
    assert re.search(r"SUCCEEDED +UNHEALTHY +process/bakery#bakery-\w+-\d", mended)
    assert re.search(r"RESTART_SERVICE +CLOSED +1", mended)

    held = said(suite, root, BRAKES)
    assert "CIRCUIT" in held
    assert "new oven" in held
    assert "the healer is paused until" in held

    people = said(suite, root, PEOPLE)
    assert "night-watch" in people
    assert "acknowledged" in people


def test_the_runbook_of_the_page_is_one() -> None:
    assert [step.name for step in RUNBOOK.kind.read(yaml.safe_load(DOCUMENT)).steps] == ["ask", "restart"]
