"""The demo, run from a fresh clone: what a new user does first."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import psutil
import pytest
from components import program

ROOT = Path(__file__).parents[2]
LONGEST_SECONDS = 120


@pytest.fixture
def clone(tmp_path: Path) -> Path:
    """The files that are committed, or about to be, and nothing else."""
    git = program("git", "apt-get install git")
    listed = subprocess.run(
        [git, "-c", "safe.directory=*", "-C", ROOT, "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        capture_output=True,
        text=True,
        check=True,
    )
    for name in filter(None, listed.stdout.split("\0")):
        if (ROOT / name).is_file():
            target = tmp_path / "clone" / name
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, target)
    return tmp_path / "clone"


def test_the_demo_ends_with_the_old_version_back(clone: Path) -> None:
    code = [clone / "cli", clone / "libs", clone / "services" / "deployer"]
    environment = {"PATH": os.environ["PATH"], "PYTHONPATH": ":".join(map(str, code))}

    ended = subprocess.run(
        [sys.executable, "examples/demo.py"],
        cwd=clone,
        env=environment,
        capture_output=True,
        text=True,
        timeout=LONGEST_SECONDS,
        check=False,
    )

    assert ended.returncode == 0, ended.stdout + ended.stderr
    for expected in (
        "hello-web 1.0.0 → staging SUCCEEDED",
        "hello-web 1.1.0 → staging SUCCEEDED",
        "ROLLED_BACK",
        "rollback 1.1.0",
        "answers: Hello, fleet! This is version 1.1.0.",
        "stopped the deployer, the scaler, the healer and the workloads",
    ):
        assert expected in ended.stdout
    assert "HTTP 503, expected 200" in ended.stderr


def test_a_demo_whose_reader_leaves_leaves_nothing_running(clone: Path) -> None:
    code = [clone / "cli", clone / "libs", clone / "services" / "deployer"]
    # Not pytest's directory: its name is too long for a Unix socket.
    place = tempfile.mkdtemp(prefix="opsuite-")
    environment = {"PATH": os.environ["PATH"], "PYTHONPATH": ":".join(map(str, code)), "TMPDIR": place}
    try:
        with subprocess.Popen(
            [sys.executable, "examples/demo.py"],
            cwd=clone,
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        ) as demo:
            assert demo.stdout is not None
            while "it serves" not in demo.stdout.readline():
                pass
            demo.stdout.close()
            demo.wait(LONGEST_SECONDS)
        assert [one.pid for one in psutil.process_iter() if place in " ".join(command_of(one))] == []
    finally:
        shutil.rmtree(place)


def command_of(process: psutil.Process) -> list[str]:
    """Its argument vector; empty for one that is gone."""
    try:
        return list(process.cmdline())
    except psutil.Error:
        return []
