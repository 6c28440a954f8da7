"""A PostgreSQL in the care of a process of its own, which crashes and starts it while this one talks gRPC.

The server runs as another user, and starting a program as another user forks: with gRPC's threads at work in the same
process that may wait for a minute.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from components import missing
from postgres import HOW_TO_GET_IT, find_programs, run_cluster


class FragilePostgres:
    """One server; `url` is the address of its database."""

    def __init__(self) -> None:
        self._keeper = subprocess.Popen(
            [sys.executable, "-m", "fakes.fragile_postgres"],
            env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[1])},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self.url = self._answer()

    def crash(self) -> None:
        """Stop it without order (`pg_ctl -m immediate`) and start it again."""
        assert self._keeper.stdin is not None
        self._keeper.stdin.write("crash\n")
        self._keeper.stdin.flush()
        self._answer()

    def close(self) -> None:
        """Stop and remove it."""
        self._keeper.communicate(timeout=60)

    def _answer(self) -> str:
        assert self._keeper.stdout is not None
        return self._keeper.stdout.readline().strip()


@contextmanager
def a_fragile_postgres() -> Iterator[FragilePostgres]:
    """A server for one test."""
    if find_programs() is None:
        missing("PostgreSQL server", HOW_TO_GET_IT)
    server = FragilePostgres()
    try:
        yield server
    finally:
        server.close()


def serve() -> None:
    """Crash the server for each line of standard input."""
    for cluster in run_cluster():
        print(cluster.url(), flush=True)
        for _ in sys.stdin:
            cluster.restart("immediate")
            print("serves again", flush=True)


if __name__ == "__main__":
    serve()
