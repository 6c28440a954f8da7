"""The story of three faults, run as `make story-healer` does."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
from envoy import envoy_program
from readme import ROOT

LONGEST_SECONDS = 280
SERVICES = [ROOT / "services" / name for name in ("deployer", "scaler", "healer")]
CODE = [ROOT / "cli", ROOT / "libs", *SERVICES]


@pytest.fixture
def place() -> Iterator[Path]:
    """Where it keeps everything; not pytest's directory, whose name is too long for a Unix socket."""
    envoy_program()
    directory = Path(tempfile.mkdtemp(prefix="opsuite-"))
    yield directory
    shutil.rmtree(directory)


def test_a_crash_a_hang_and_a_bad_release_are_mended_by_nobody(place: Path) -> None:
    environment = {"PATH": os.environ["PATH"], "PYTHONPATH": ":".join(map(str, CODE)), "TMPDIR": str(place)}
    story = [sys.executable, str(ROOT / "examples" / "story_healer.py")]

    told = subprocess.run(story, env=environment, capture_output=True, text=True, check=False, timeout=LONGEST_SECONDS)

    assert told.returncode == 0, told.stdout + told.stderr
    assert re.search(r"^a crash +\d+\.\d s +RESTART_SERVICE", told.stdout, re.MULTILINE)
    assert re.search(r"^a hang +\d+\.\d s +RESTART_SERVICE", told.stdout, re.MULTILINE)
    assert re.search(r"^a bad release +\d+\.\d s +ROLL_BACK_DEPLOYMENT", told.stdout, re.MULTILINE)
    assert left_behind(place) == []


def left_behind(place: Path) -> list[str]:
    """Command lines of processes that still use the directory, and files in it."""
    running = [" ".join(one.info["cmdline"] or []) for one in psutil.process_iter(["cmdline"])]
    return [line for line in running if str(place) in line] + [path.name for path in place.iterdir()]
