"""Work that goes on beside a service for as long as it lives."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import Any, Final

import structlog

from opsuite_kernel.errors import OpsuiteError

log = structlog.get_logger(__name__)

AGAIN: Final = timedelta(seconds=1)
"""Pause before work is started again that a fault has ended."""


async def repeat(every: timedelta, work: Callable[[], Awaitable[Any]], *, at_once: bool = False) -> None:
    """Do `work` for ever, by default for the first time after a pause."""
    while True:
        if not at_once:
            await asyncio.sleep(every.total_seconds())
        at_once = False
        try:
            await work()
        except OpsuiteError as error:
            log.warning("background_work_failed", why=error.message)


async def supervised(work: Callable[[], Awaitable[None]]) -> None:
    """Start background work again when a fault ends it: a service without its sweeper is worse than a noisy log."""
    while True:
        try:
            await work()
            return
        except Exception:
            log.exception("background_work_crashed")
            await asyncio.sleep(AGAIN.total_seconds())
