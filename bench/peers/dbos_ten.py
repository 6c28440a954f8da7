"""DBOS: a workflow of ten steps, in process, on SQLite."""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from pathlib import Path

import pysqlite3  # type: ignore[import-not-found]  # installed beside this one, not with it

sys.modules["sqlite3"] = pysqlite3  # DBOS needs SQLite 3.42 or later, and the system's may be older
from dbos import DBOS  # type: ignore[import-not-found]  # noqa: E402  # installed beside this one, not with it
from protocol import serve  # noqa: E402


@DBOS.step()  # type: ignore[untyped-decorator]  # unknown here
def step() -> int:
    return subprocess.run(["/bin/true"], check=True).returncode


@DBOS.workflow()  # type: ignore[untyped-decorator]  # unknown here
def pipeline() -> int:
    return sum(step() for _ in range(10))


def ten(count: int) -> list[float]:
    taken = []
    for _ in range(count):
        began = time.perf_counter()
        pipeline()
        taken.append((time.perf_counter() - began) * 1000)
    return taken


def many(count: int) -> float:
    threads = [threading.Thread(target=pipeline) for _ in range(count)]
    began = time.perf_counter()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return time.perf_counter() - began


if __name__ == "__main__":
    url = f"sqlite:///{Path(sys.argv[1]) / 'dbos.sqlite'}"
    DBOS(config={"name": "bench", "system_database_url": url, "run_admin_server": False, "log_level": "ERROR"})
    DBOS.launch()
    serve(ten, many)
    DBOS.destroy()
