"""A server of watches in a process of its own, to be killed: an endless supply of events, up to a last one.

Arguments: the address and the number of the last event. Says `ready` on standard output. It repeats the three events
before the token, which is what at-least-once allows.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator
from typing import Any

from fakes.deployer_service import FakeDeployer, a_batch, serving

REPEATED = 3
BATCH = 7


async def _serve(address: str, last: int) -> None:
    async def watch(request: Any, _context: Any) -> AsyncIterator[Any]:
        revision = max(0, int(request.resume_token or 0) - REPEATED)
        while revision < last:
            end = min(last, revision + BATCH)
            yield a_batch(*range(revision + 1, end + 1))
            revision = end
            await asyncio.sleep(0.001)  # a flood would be over before anybody could kill it

    async with serving(FakeDeployer(watch=watch), address):
        sys.stdout.write("ready\n")
        sys.stdout.flush()
        await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(_serve(sys.argv[1], int(sys.argv[2])))
