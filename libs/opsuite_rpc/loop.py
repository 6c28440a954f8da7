"""Starts the one event loop of a process."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Coroutine
from typing import Any, TypeVar

T = TypeVar("T")


def run(main: Coroutine[Any, Any, T]) -> T:
    """Run `main` to its end on stock asyncio.

    Not uvloop: a deployment takes as much of the processor with it, and its process start forks (`bench/README.md`).
    Before Python 3.12 the default child watcher starts a thread per child; the pidfd one does not.
    """
    if sys.version_info < (3, 12):
        asyncio.set_child_watcher(asyncio.PidfdChildWatcher())
    return asyncio.run(main)
