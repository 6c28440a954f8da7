from __future__ import annotations

import asyncio
from contextlib import suppress

from opsuite_kernel.tasks import end


async def test_a_task_that_loses_a_cancellation_is_ended_all_the_same() -> None:
    began, lost = asyncio.Event(), asyncio.Event()

    async def work() -> None:
        with suppress(asyncio.CancelledError):
            began.set()
            await asyncio.Event().wait()
        lost.set()
        await asyncio.Event().wait()

    task = asyncio.create_task(work())
    await began.wait()

    await end(task)

    assert lost.is_set()
    assert task.cancelled()


async def test_a_task_that_has_failed_is_ended_already() -> None:
    async def work() -> None:
        raise ZeroDivisionError

    task = asyncio.create_task(work())
    await asyncio.wait({task})

    await end(task)

    assert isinstance(task.exception(), ZeroDivisionError)
