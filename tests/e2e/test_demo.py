"""The demo, run from a fresh clone: what a new user does first."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

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
        "stopped the deployer and its workloads",
    ):
        assert expected in ended.stdout
    assert "HTTP 503, expected 200" in ended.stderr
