"""Ending tasks of an event loop."""

from __future__ import annotations

import asyncio
from typing import Any, Final

AGAIN_SECONDS: Final = 1.0


async def end(task: asyncio.Task[Any]) -> None:
    """Cancel a task and return when it has ended, however it did.

    A cancellation can get lost: a group of tasks, for one, raises the fault of a member in its place, and what handles
    faults goes on. Who awaits such a task then waits for ever, so the task is told again.
    """
    while not task.done():
        task.cancel()
        await asyncio.wait({task}, timeout=AGAIN_SECONDS)
