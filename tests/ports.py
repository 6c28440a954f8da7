"""Ports for servers of tests, where nobody else reaches for them.

Below the range from which the kernel takes the ports of outgoing connections, in a part for each worker of a run, and
in turns, so that what has just been given up is not given out again.
"""

from __future__ import annotations

import itertools
import os
import socket
from typing import Final

FIRST: Final = 10_000
PART: Final = 2_400
WORKERS: Final = 4

_part = FIRST + PART * (int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw")) % WORKERS)
_turn = itertools.count(os.getpid() * 37)  # two runs at once seldom begin at the same place


def free_port() -> int:
    """A TCP port of this machine that nobody listens on now."""
    for _ in range(PART):
        number = _part + next(_turn) % PART
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", number))
            except OSError:
                continue
        return number
    raise AssertionError("no port is free")
