"""A data directory has one holder, and loses it when that dies."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from opsuite_kernel.errors import Conflict
from opsuite_storage.lock import hold

HOLDER = """
import sys
from pathlib import Path
from opsuite_storage.lock import hold
lock = hold(Path(sys.argv[1]))
print("held", flush=True)
sys.stdin.read()
"""


def test_a_second_process_is_refused_by_the_name_of_the_first_until_that_is_killed(tmp_path: Path) -> None:
    directory = tmp_path / "data"
    holder = subprocess.Popen(
        [sys.executable, "-c", HOLDER, directory], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    with holder:
        assert holder.stdout
        assert holder.stdout.readline() == "held\n"

        with pytest.raises(Conflict, match=f"in use by process {holder.pid}"):
            hold(directory)
        holder.kill()

    hold(directory).release()


def test_the_directory_is_closed_to_everybody_else(tmp_path: Path) -> None:
    directory = tmp_path / "data"
    directory.mkdir(mode=0o755)

    with hold(directory):
        assert directory.stat().st_mode & 0o777 == 0o700


def test_a_released_directory_can_be_held_again_and_releasing_twice_is_safe(tmp_path: Path) -> None:
    first = hold(tmp_path)
    first.release()
    second = hold(tmp_path)
    first.release()

    with pytest.raises(Conflict, match=str(os.getpid())):
        hold(tmp_path)
    second.release()


def test_programs_started_later_do_not_keep_the_directory_held(tmp_path: Path) -> None:
    with hold(tmp_path):
        child = subprocess.Popen(["cat"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, bufsize=0, close_fds=False)
        assert child.stdin
        assert child.stdout
        child.stdin.write(b"started\n")
        assert child.stdout.readline() == b"started\n"
    with child:
        hold(tmp_path).release()
