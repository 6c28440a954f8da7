"""Fault points in a process of their own, since they kill it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

PROGRAM = """
from opsuite_runs.faults import declare
first, second = declare("first", ""), declare("second", "")
for number in range(3):
    first.hit()
    second.hit()
    print(number, flush=True)
"""


def run(**environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", PROGRAM], env={**os.environ, **environment}, capture_output=True, text=True, timeout=60
    )


def test_without_a_setting_nothing_happens() -> None:
    done = run()

    assert (done.returncode, done.stdout.split()) == (0, ["0", "1", "2"])


def test_the_named_point_kills_at_its_first_hit() -> None:
    done = run(OPSUITE_FAULT="second")

    assert (done.returncode, done.stdout.split()) == (-signal.SIGKILL, [])


def test_the_named_point_kills_at_the_hit_that_was_asked_for(tmp_path: Path) -> None:
    log = tmp_path / "hits"
    done = run(OPSUITE_FAULT="second:3", OPSUITE_FAULT_LOG=str(log))

    assert (done.returncode, done.stdout.split()) == (-signal.SIGKILL, ["0", "1"])
    assert log.read_text().split() == ["first", "second"] * 3  # the deadly hit is in the log, too


def test_the_log_alone_tells_which_points_a_run_passes(tmp_path: Path) -> None:
    log = tmp_path / "hits"

    assert run(OPSUITE_FAULT_LOG=str(log)).returncode == 0
    assert log.read_text().split() == ["first", "second"] * 3
