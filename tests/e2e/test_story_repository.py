"""The story of a repository that two programs share, run as `make story-repository` does, with a smaller tree."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

from components import program
from readme import ROOT

LONGEST_SECONDS = 900
CODE = [ROOT / "cli", ROOT / "libs"]


def test_two_programs_share_a_repository_and_no_byte_differs(tmp_path: Path) -> None:
    restic = program("restic", "tools/restic/build.sh")
    environment = {
        "PATH": f"{restic.parent}:{os.environ['PATH']}",
        "HOME": str(tmp_path),
        "PYTHONPATH": ":".join(map(str, CODE)),
        "TMPDIR": str(tmp_path),
    }
    story = [sys.executable, str(ROOT / "examples" / "story_repository.py"), "--files", "400", "--mib", "4"]

    told = subprocess.run(story, env=environment, capture_output=True, text=True, check=False, timeout=LONGEST_SECONDS)

    assert told.returncode == 0, told.stdout + told.stderr
    assert len(re.findall(r"every byte as it was +yes$", told.stdout, re.MULTILINE)) == 3
    assert len(re.findall(r"ratio \d+\.\d\d", told.stdout)) == 3
    assert list(tmp_path.glob("opsuite-story-*")) == []


def test_a_byte_that_differs_is_noticed(tmp_path: Path) -> None:
    program_text = (
        "from pathlib import Path\n"
        "from story_repository import differences, plant\n"
        f"one, other = Path({str(tmp_path)!r}, 'one'), Path({str(tmp_path)!r}, 'other')\n"
        "plant(one, 3, 2), plant(other, 3, 2)\n"
        "file = other / 'folder-000' / 'file-1'\n"
        "times = (one / 'folder-000' / 'file-1').stat()\n"
        "file.write_bytes(file.read_bytes()[:-1] + b'?')\n"
        "print(any('file-1' in line and 'content' in line or 'became' in line for line in differences(one, other)))\n"
    )

    told = subprocess.run(
        [sys.executable, "-c", program_text], cwd=ROOT / "examples", capture_output=True, text=True, check=True
    )

    assert told.stdout == "True\n"
