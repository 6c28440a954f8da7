"""The event loop of a process."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

LIBS = Path(__file__).parents[3] / "libs"


@pytest.mark.skipif(sys.version_info >= (3, 12), reason="later versions choose it themselves")
def test_children_are_watched_without_a_thread_each() -> None:
    program = """
import asyncio, threading
from opsuite_rpc.loop import run

async def main():
    child = await asyncio.create_subprocess_exec("true")
    code = await child.wait()
    return code, type(asyncio.get_child_watcher()).__name__, threading.active_count()

print(*run(main()))
"""
    printed = subprocess.run([sys.executable, "-c", program], cwd=LIBS, capture_output=True, text=True, check=True)

    assert printed.stdout.split() == ["0", "PidfdChildWatcher", "1"]
