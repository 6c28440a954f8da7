"""The floor: spawn ten programs and commit ten times (`synchronous=FULL`). Nothing schedules, recovers or is told."""

from __future__ import annotations

import asyncio
import sqlite3
import sys
import time
from pathlib import Path

from protocol import serve

STEPS = 10


async def pipeline(database: sqlite3.Connection, run: int) -> None:
    for step in range(STEPS):
        process = await asyncio.create_subprocess_exec("/bin/true")
        code = await process.wait()
        database.execute("BEGIN IMMEDIATE")
        database.execute("INSERT INTO steps (run, step, code) VALUES (?, ?, ?)", (run, step, code))
        database.execute("COMMIT")


def main(directory: Path) -> None:
    database = sqlite3.connect(directory / "floor.db", isolation_level=None)
    for statement in (
        "PRAGMA journal_mode = WAL",
        "PRAGMA synchronous = FULL",
        "CREATE TABLE steps (run INTEGER, step INTEGER, code INTEGER)",
    ):
        database.execute(statement)

    async def ten(count: int) -> list[float]:
        taken = []
        for run in range(count):
            began = time.perf_counter()
            await pipeline(database, run)
            taken.append((time.perf_counter() - began) * 1000)
        return taken

    async def many(count: int) -> float:
        began = time.perf_counter()
        await asyncio.gather(*(pipeline(database, run) for run in range(count)))
        return time.perf_counter() - began

    with asyncio.Runner() as runner:
        if sys.version_info < (3, 12):  # later ones choose the fastest watcher by themselves
            watcher = asyncio.PidfdChildWatcher()
            watcher.attach_loop(runner.get_loop())
            asyncio.set_child_watcher(watcher)
        serve(lambda count: runner.run(ten(count)), lambda count: runner.run(many(count)))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
