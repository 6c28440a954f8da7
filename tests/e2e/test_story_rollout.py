"""The story of a bad canary under load, run as `make story-rollout` does; and left in the middle."""

from __future__ import annotations

import os
import re
import shutil
import signal
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
CODE = [ROOT / "cli", ROOT / "libs", ROOT / "services" / "deployer"]


@pytest.fixture
def place() -> Iterator[Path]:
    """Where it keeps everything; not pytest's directory, whose name is too long for a Unix socket."""
    envoy_program()
    directory = Path(tempfile.mkdtemp(prefix="opsuite-"))
    yield directory
    shutil.rmtree(directory)


def story(place: Path) -> subprocess.Popen[str]:
    """Start it; its output is one pipe."""
    environment = {"PATH": os.environ["PATH"], "PYTHONPATH": ":".join(map(str, CODE)), "TMPDIR": str(place)}
    return subprocess.Popen(
        [sys.executable, str(ROOT / "examples" / "story_rollout.py")],
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def test_a_bad_canary_goes_back_by_itself_and_a_good_version_costs_nothing(place: Path) -> None:
    with story(place) as telling:
        told, _ = telling.communicate(timeout=LONGEST_SECONDS)

    assert telling.returncode == 0, told
    assert re.search(r"gate few-errors: (\d+) of \1 requests failed, 2 % may", told)
    assert "shop 1.2.0 → staging SUCCEEDED" in told
    assert re.search(r"^of these failed +[1-9]\d* +0$", told, re.MULTILINE)
    assert re.search(r"^first bad answer to full safety +\d+\.\d\d s +-$", told, re.MULTILINE)
    assert left_behind(place) == []


def test_ctrl_c_stops_everything(place: Path) -> None:
    with story(place) as telling:
        assert telling.stdout is not None
        while "shop 1.0.0 → staging SUCCEEDED" not in (line := telling.stdout.readline()):
            assert line, "it has ended"
        telling.send_signal(signal.SIGINT)
        told, _ = telling.communicate(timeout=LONGEST_SECONDS)

    assert telling.returncode == 130, told
    assert "stopped the deployer, the scaler, the healer and the workloads" in told
    assert left_behind(place) == []


def left_behind(place: Path) -> list[str]:
    """Command lines of processes that still use the directory, and files in it."""
    running = [" ".join(one.info["cmdline"] or []) for one in psutil.process_iter(["cmdline"])]
    return [line for line in running if str(place) in line] + [path.name for path in place.iterdir()]
