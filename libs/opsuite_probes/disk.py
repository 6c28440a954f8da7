"""Space on a file system of this machine."""

from __future__ import annotations

import asyncio
import os

from opsuite_probes.answer import Answer
from opsuite_probes.port import DiskProbe, Outcome


async def ask_disk(probe: DiskProbe) -> Answer:
    """Percent in use. A file system that hangs keeps a thread waiting, not the caller."""
    try:
        found = await asyncio.to_thread(os.statvfs, probe.path)
    except (OSError, ValueError) as error:  # a NUL in the path
        return Answer(Outcome.UNKNOWN, f"cannot be asked: {getattr(error, 'strerror', None) or 'no such path'}")
    used = percent_used(found)
    free = found.f_bavail * found.f_frsize / 2**30
    return Answer(Outcome.HEALTHY, f"{used:.1f} % in use, {free:.1f} GiB left", used)


def percent_used(found: os.statvfs_result) -> float:
    """As `df` counts: of what others than root can use, so that 100 % is where writing ends."""
    used = found.f_blocks - found.f_bfree
    usable = used + found.f_bavail
    return 100.0 * used / usable if usable else 0.0
