"""The story of a rush hour, run as `make story-scaler` does."""

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
CODE = [ROOT / "cli", ROOT / "libs", ROOT / "services" / "deployer", ROOT / "services" / "scaler"]


@pytest.fixture
def place() -> Iterator[Path]:
    """Where it keeps everything; not pytest's directory, whose name is too long for a Unix socket."""
    envoy_program()
    directory = Path(tempfile.mkdtemp(prefix="opsuite-"))
    yield directory
    shutil.rmtree(directory)


def test_a_rush_is_served_an_outage_is_borne_and_nothing_flaps(place: Path) -> None:
    environment = {"PATH": os.environ["PATH"], "PYTHONPATH": ":".join(map(str, CODE)), "TMPDIR": str(place)}
    story = [sys.executable, str(ROOT / "examples" / "story_scaler.py"), "--plot", str(place / "day.png")]

    told = subprocess.run(story, env=environment, capture_output=True, text=True, check=False, timeout=LONGEST_SECONDS)

    assert told.returncode == 0, told.stdout + told.stderr
    blind = re.findall(r"^ *\d+ s +nobody counts .* (\d+)$", told.stdout, re.MULTILINE)
    assert len(blind) == 9
    assert sorted(blind) == blind
    assert re.search(r"^of these failed +0$", told.stdout, re.MULTILINE)
    assert re.search(r"^(hasty|timid) .*\d$", told.stdout, re.MULTILINE)
    assert (place / "day.png").read_bytes().startswith(b"\x89PNG")
    (place / "day.png").unlink()
    assert left_behind(place) == []


def left_behind(place: Path) -> list[str]:
    """Command lines of processes that still use the directory, and files in it."""
    running = [" ".join(one.info["cmdline"] or []) for one in psutil.process_iter(["cmdline"])]
    return [line for line in running if str(place) in line] + [path.name for path in place.iterdir()]
