"""What a transaction and a page of history cost, against the bare sqlite3 module on the same disk in the same run.

    python -m bench.storage [rows of history, default 1,000,000]

Each figure is the median of rotated rounds; read the ratios. `synchronous=FULL` everywhere, fsync on for PostgreSQL.
"""

from __future__ import annotations

import asyncio
import functools
import sqlite3
import statistics
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import sqlalchemy as sa

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))
from postgres import find_programs, run_cluster

from opsuite_kernel.clock import SystemClock
from opsuite_storage.columns import UtcDateTime, new_metadata
from opsuite_storage.order import Key
from opsuite_storage.pages import Listing, open_pages
from opsuite_storage.store import Store, open_store

ROUNDS = 5
CALLERS = (1, 16, 50)
METADATA = new_metadata()
STEPS = sa.Table(
    "steps",
    METADATA,
    sa.Column("run", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("epoch", sa.Integer, nullable=False),
    sa.Column("state", sa.String, nullable=False),
)
EVENTS = sa.Table(
    "events",
    METADATA,
    sa.Column("id", sa.Integer, primary_key=True),
    sa.Column("run", sa.Integer, nullable=False),
    sa.Column("what", sa.String, nullable=False),
)
RUNS = sa.Table(
    "runs",
    METADATA,
    sa.Column("id", sa.String(26), primary_key=True),
    sa.Column("pipeline", sa.String(63), nullable=False),
    sa.Column("began", UtcDateTime, nullable=False),
    sa.Column("state", sa.SmallInteger, nullable=False),
    sa.Index("ix_runs_history", "pipeline", "began", "id", "state"),
)
NEXT_STATE = (
    sa.update(STEPS)
    .where(STEPS.c.run == sa.bindparam("a_run"), STEPS.c.epoch == 1)
    .values(state=sa.bindparam("to_state"))
)
NEW_EVENT = sa.insert(EVENTS)
NEWEST = (Key(RUNS.c.began, descending=True), Key(RUNS.c.id, descending=True))
HISTORY = sa.select(RUNS.c.id, RUNS.c.began, RUNS.c.state).where(RUNS.c.pipeline == "web")
START = datetime(2026, 1, 1, tzinfo=UTC)


def boundary(tx: sa.Connection, run: int) -> None:
    """The end of one step and the start of the next: a guarded update and two events."""
    tx.execute(NEXT_STATE, {"a_run": run, "to_state": "RUNNING"})
    tx.execute(NEW_EVENT, [{"run": run, "what": "step_ended"}, {"run": run, "what": "step_started"}])


def bare_boundary(connection: sqlite3.Connection, run: int) -> None:
    connection.execute("BEGIN IMMEDIATE")
    connection.execute("UPDATE steps SET state = ? WHERE run = ? AND epoch = 1", ("RUNNING", run))
    events = [(run, "step_ended"), (run, "step_started")]
    connection.executemany("INSERT INTO events (run, what) VALUES (?, ?)", events)
    connection.execute("COMMIT")


async def boundaries_per_second(store: Store, callers: int) -> float:
    each = max(20, 600 // callers)

    async def one_pipeline(run: int) -> None:
        for _ in range(each):
            await store.write(lambda tx: boundary(tx, run))

    began = time.perf_counter()
    await asyncio.gather(*(one_pipeline(run) for run in range(callers)))
    return callers * each / (time.perf_counter() - began)


def bare_boundaries_per_second(connection: sqlite3.Connection) -> float:
    began = time.perf_counter()
    for turn in range(600):
        bare_boundary(connection, turn % 50)
    return 600 / (time.perf_counter() - began)


async def prepare(store: Store) -> None:
    await store.alter(METADATA.create_all)
    rows = [{"run": run, "epoch": 1, "state": "PENDING"} for run in range(50)]
    await store.write(lambda tx: tx.execute(sa.insert(STEPS), rows).rowcount)


def history_row(number: int) -> dict[str, object]:
    return {
        "id": f"{number:026}",
        "pipeline": "web" if number % 10 == 0 else f"p{number % 10}",
        "began": START + timedelta(seconds=number),
        "state": number % 5,
    }


def add_runs(tx: sa.Connection, batch: Sequence[dict[str, object]]) -> None:
    tx.execute(sa.insert(RUNS), list(batch))


async def fill_history(store: Store, rows: int) -> None:
    """Runs of ten pipelines in turn, each row by its own number, written in bulk."""
    for first in range(0, rows, 50_000):
        batch = [history_row(number) for number in range(first, min(first + 50_000, rows))]
        await store.write(functools.partial(add_runs, batch=batch))
    if store.dialect == "postgresql":
        await asyncio.to_thread(_vacuum, store)


def _vacuum(store: Store) -> None:
    """As autovacuum does in time, so that an index alone answers."""
    url = getattr(store, "_writer").url.render_as_string(hide_password=False)  # noqa: B009 - nobody else may want it
    engine = sa.create_engine(url, isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        connection.exec_driver_sql("VACUUM ANALYZE runs")
    engine.dispose()


async def page_times(store: Store, times: int = 200) -> list[float]:
    """Milliseconds for pages of 50 one after the other, deeper and deeper into the history."""
    pages = await open_pages(store, SystemClock())
    listing, token, taken = Listing("runs", "web"), "", []
    for _ in range(times):
        asked = token

        def body(tx: sa.Connection, asked: str = asked) -> str:
            return pages.read(tx, HISTORY, order=NEWEST, listing=listing, token=asked, size=50).next_token

        began = time.perf_counter()
        token = await store.read(body)
        taken.append((time.perf_counter() - began) * 1000)
    return taken


def bare_page_times(connection: sqlite3.Connection, times: int = 200) -> list[float]:
    statement = (
        "SELECT id, began, state FROM runs WHERE pipeline = 'web' AND (began, id) < (?, ?) "
        "ORDER BY began DESC, id DESC LIMIT 51"
    )
    position, taken = ("9999-", ""), []
    for _ in range(times):
        began = time.perf_counter()
        rows = connection.execute(statement, position).fetchall()
        taken.append((time.perf_counter() - began) * 1000)
        position = (rows[49][1], rows[49][0]) if len(rows) > 50 else ("9999-", "")
    return taken


@contextmanager
def bare_database(path: Path) -> Iterator[sqlite3.Connection]:
    connection = sqlite3.connect(path, isolation_level=None)
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("PRAGMA synchronous = FULL")
    yield connection
    connection.close()


async def compare_writes(stores: dict[str, Store], bare: sqlite3.Connection) -> None:
    async def floor() -> float:
        return bare_boundaries_per_second(bare)

    runs: dict[str, Callable[[], Awaitable[float]]] = {"bare sqlite3, one commit each": floor}
    for name, store in stores.items():
        for callers in CALLERS:
            runs[f"{name}, {callers} at once"] = functools.partial(boundaries_per_second, store, callers)
    rates: dict[str, list[float]] = {name: [] for name in runs}
    for turn in range(ROUNDS):
        names = list(runs)
        for name in names[turn % len(names) :] + names[: turn % len(names)]:
            rates[name].append(await runs[name]())
    medians = {name: statistics.median(each) for name, each in rates.items()}
    base = medians["bare sqlite3, one commit each"]
    print("\nStep boundaries (a guarded update and two events), durable, per second")
    for name, rate in medians.items():
        print(f"  {name:36} {rate:10,.0f}   x {rate / base:.2f}")


async def compare_pages(stores: dict[str, Store], bare_path: Path, rows: int) -> None:
    with bare_database(bare_path) as bare:
        taken = {"bare sqlite3": bare_page_times(bare)}
    for name, store in stores.items():
        await page_times(store)  # statements compiled and prepared, pages in memory
        taken[name] = await page_times(store)
    base = statistics.median(taken["bare sqlite3"])
    print(f"\nA page of 50 out of {rows:,} runs, milliseconds (goal: below 2)")
    for name, each in taken.items():
        p50, p99 = statistics.median(each), statistics.quantiles(each, n=100)[98]
        print(f"  {name:36} p50 {p50:7.3f}   p99 {p99:7.3f}   x {p50 / base:.1f}")


async def measure(directory: Path, postgres_url: str | None, rows: int) -> None:
    stores = {"store on SQLite": open_store("sqlite", data_dir=directory, name="bench")}
    if postgres_url:
        stores["store on PostgreSQL"] = open_store(postgres_url, data_dir=directory, name="bench")
    try:
        for store in stores.values():
            await prepare(store)
        floor = open_store("sqlite", data_dir=directory, name="floor")
        await prepare(floor)
        await floor.close()
        with bare_database(directory / "floor.db") as bare:
            await compare_writes(stores, bare)
        for store in stores.values():
            await fill_history(store, rows)
        await compare_pages(stores, directory / "bench.db", rows)
    finally:
        for store in stores.values():
            await store.close()


def main() -> None:
    rows = int(sys.argv[1]) if len(sys.argv) > 1 else 1_000_000
    with tempfile.TemporaryDirectory(prefix="opsuite-bench-") as directory:
        if find_programs() is None:
            print("PostgreSQL is not measured: no server found")
            asyncio.run(measure(Path(directory), None, rows))
            return
        clusters = run_cluster(fsync="on", full_page_writes="on")
        try:
            asyncio.run(measure(Path(directory), next(clusters).url(), rows))
        finally:
            clusters.close()


if __name__ == "__main__":
    main()
