"""The README keeps its word: its commands are run as they stand there, for a user with a home of their own."""

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
from deployer import DeployerProcess
from readme import ROOT, examples

from opsuite_cli.main import app
from opsuite_deployer.settings import Settings


@pytest.fixture(scope="module")
def home() -> Iterator[Path]:
    """The user's home."""
    directory = Path(tempfile.mkdtemp(prefix="opsuite-"))
    yield directory
    shutil.rmtree(directory)


@pytest.fixture(scope="module")
def suite(home: Path) -> Iterator[DeployerProcess]:
    """What `opsuite up --root ~/hello-web` runs, on a port of its own."""
    data = home / ".local" / "state" / "opsuite"
    data.parent.mkdir(parents=True)
    running = DeployerProcess(data, {"DEPLOYER_ROOTS": f"{data}/work,{home}/hello-web"})
    try:
        running.start()
        yield running
    finally:
        running.close()


def run(block: str, home: Path, suite: DeployerProcess) -> subprocess.CompletedProcess[str]:
    """Run a block of commands as a user would, at the top of the repository; the first that fails ends it."""
    path = [Path(sys.executable).parent, program("grpcurl", "tools/build.sh").parent, os.environ["PATH"]]
    text = block.replace("127.0.0.1:7401", suite.address).replace("$PWD/.venv/bin", str(Path(sys.executable).parent))
    ended = subprocess.run(
        ["timeout", "60", "bash", "-euo", "pipefail", "-c", text],
        cwd=ROOT,
        env={"HOME": str(home), "PATH": ":".join(map(str, path))},
        capture_output=True,
        text=True,
        check=False,
    )
    assert ended.returncode == 0, ended.stdout + ended.stderr + suite.log()
    return ended


def test_the_commands_that_begin_deploy_two_versions(home: Path, suite: DeployerProcess) -> None:
    demo, by_hand = examples("bash", "Five minutes")

    ended = run(by_hand, home, suite)

    assert demo == "make demo\n"
    history = ended.stdout.splitlines()[-2:]
    assert [re.split(r"  +", line)[3:5] for line in history] == [["1.1.0", "SUCCEEDED"], ["1.0.0", "SUCCEEDED"]]


def test_other_clients_work_as_written(home: Path, suite: DeployerProcess) -> None:
    if not (home / "hello-web").exists():
        run(examples("bash", "Five minutes")[1], home, suite)
    grpcurl, buf = examples("bash", "Other clients")

    listed_and_planned = run(grpcurl, home, suite).stdout
    found = run(buf, home, suite).stdout

    assert "opsuite.deployer.v1.DeploymentService" in listed_and_planned
    assert '"ready": true' in listed_and_planned
    assert "DEPLOYMENT_STATUS_SUCCEEDED" in found


def test_every_command_is_in_the_page_of_the_command_line() -> None:
    page = (ROOT / "docs" / "cli.md").read_text()
    commands = {"": app, **{f"{group.name} ": group.typer_instance for group in app.registered_groups}}
    names = [
        prefix + (command.name or command.callback.__name__.replace("_", "-"))
        for prefix, owner in commands.items()
        if owner is not None
        for command in owner.registered_commands
        if command.callback is not None
    ]

    assert len(names) > 20
    assert [name for name in names if f"`opsuite {name}" not in page] == []


def test_every_setting_is_in_the_page_of_the_deployer() -> None:
    page = (ROOT / "services" / "deployer" / "README.md").read_text()
    settings = {f"DEPLOYER_{name.upper()}" for name in Settings.model_fields}

    assert set(re.findall(r"^\| `(DEPLOYER_\w+)` \|", page, flags=re.MULTILINE)) == settings
