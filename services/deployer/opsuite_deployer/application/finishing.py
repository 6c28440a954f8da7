"""Work that goes on when whoever asked for it hangs up."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any, Final, TypeVar

T = TypeVar("T")

_at_work: Final[set[asyncio.Task[Any]]] = set()
"""The loop itself keeps no hold on tasks."""


async def to_the_end(work: Coroutine[Any, Any, T]) -> T:
    """What `work` returns. A caller that is cancelled hears no more of it, but what follows a commit still follows."""
    task = asyncio.create_task(work)
    _at_work.add(task)
    task.add_done_callback(_at_work.discard)
    return await asyncio.shield(task)
