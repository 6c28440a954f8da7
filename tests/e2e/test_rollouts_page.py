"""docs/rollouts.md keeps its word: its commands are run as they stand there, against `opsuite up` with its edge."""

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
from components import program
from deployer import DeployerProcess, free_port, python_directories
from envoy import envoy_program
from opsuite_command import opsuite, started
from readme import ROOT

PAGE = ROOT / "docs" / "rollouts.md"


@pytest.fixture
def suite() -> Iterator[DeployerProcess]:
    """`opsuite up` with an edge, once it has said that it serves."""
    envoy_program()
    parent = Path(tempfile.mkdtemp(prefix="opsuite-"))
    place = DeployerProcess(parent / "data")
    side = f"127.0.0.1:{free_port()}"
    settings = {"DEPLOYER_SIDE_PORT_LISTEN": side, "DEPLOYER_TRUSTED_DIRECTORIES": python_directories()}
    with started(place, "up", "--edge", "--listen", place.address, **settings) as running:
        assert running.stdout is not None
        while "opsuite doctor" not in (line := running.stdout.readline()):
            assert line, "it has ended"
        yield place
        opsuite(place, "down")
        running.communicate(timeout=60)
    shutil.rmtree(parent)


def blocks(port: int, pipeline: Path) -> list[str]:
    """The commands of the page, for an edge on that port."""
    found = re.findall(r"^```bash\n(.*?)^```$", PAGE.read_text(), flags=re.MULTILINE | re.DOTALL)
    return [
        block.replace("127.0.0.1:8080", f"127.0.0.1:{port}").replace("examples/rollout/pipeline.yaml", str(pipeline))
        for block in found
    ]


def test_its_commands_deploy_promote_and_abort(suite: DeployerProcess, tmp_path: Path) -> None:
    port, pipeline = free_port(), tmp_path / "pipeline.yaml"
    text = (ROOT / "examples" / "rollout" / "pipeline.yaml").read_text()
    pipeline.write_text(text.replace("listen_port: 8080", f"listen_port: {port}"))
    path = [Path(sys.executable).parent, program("curl", "apt-get install curl").parent, os.environ["PATH"]]
    answers = []

    for block in blocks(port, pipeline):
        ended = subprocess.run(
            ["timeout", "120", "bash", "-euo", "pipefail", "-c", block],
            cwd=ROOT,
            env=suite.environment | {"PATH": ":".join(map(str, path))},
            capture_output=True,
            text=True,
            check=False,
        )
        assert ended.returncode == 0, ended.stdout + ended.stderr
        answers.append(ended.stdout.splitlines()[-1])

    versions = [re.sub(r".*version (.*)\)", r"\1", answer) for answer in answers]
    assert versions == ["1.0.0", "1.2.0", "1.2.0"]
