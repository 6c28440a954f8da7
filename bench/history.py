"""A page of 50 out of a long history, read as ListDeployments does, on both databases; rows are put there directly."""

from __future__ import annotations

import asyncio
import os
import statistics
import tempfile
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import sqlalchemy as sa
from postgres import find_programs, run_cluster

from bench.deployers import a_bench_deployer
from bench.table import Row, ms, p50, p99
from opsuite.deployer.v1 import deployment_service_pb2 as pb
from opsuite_deployer.adapters import tables
from opsuite_deployer.adapters.queries import Queries
from opsuite_deployer.adapters.revisions import RevisionCache
from opsuite_deployer.adapters.rows import changing_columns, fixed_columns
from opsuite_deployer.composition import MIGRATIONS
from opsuite_deployer.domain.deployment import Deployment, Status
from opsuite_kernel.clock import SystemClock
from opsuite_storage.migrations import migrate
from opsuite_storage.pages import open_pages
from opsuite_storage.store import Store, open_store

ROWS = int(os.environ.get("OPSUITE_BENCH_ROWS", "1000000"))
PIPELINES = 20
START = datetime(2026, 1, 1, tzinfo=UTC)
NUMBERS = {
    "sqlite": (
        "WITH RECURSIVE n(i) AS (SELECT :a UNION ALL SELECT i + 1 FROM n WHERE i + 1 < :a + :n) SELECT i FROM n",
        "printf('%026d', i)",
    ),
    "postgresql": (
        "SELECT i FROM generate_series(CAST(:a AS bigint), CAST(:a AS bigint) + :n - 1) AS i",
        "lpad(CAST(i AS text), 26, '0')",
    ),
}
"""How each database counts, and an id of the right width, so that ids sort as the numbers do."""


def a_model() -> dict[str, object]:
    """The row that all are copies of, but for what `fill` says."""
    deployment = Deployment(
        id="model",
        pipeline="model",
        pipeline_revision=1,
        environment="model",
        version="1.0.0",
        created_at=START,
        status=Status.SUCCEEDED,
        requested_by="bench",
        started_at=START,
        ended_at=START + timedelta(seconds=5),
    )
    counts = {"revision": 26, "turn": 12, "epoch": 1}
    return {**fixed_columns(deployment), **changing_columns(deployment), **counts}


async def fill(store: Store, rows: int, first: int = 0) -> None:
    """Add deployments number `first` and following, made by the database itself."""
    numbers, padded = NUMBERS[store.dialect]
    own = {
        "id": padded,
        "pipeline": f"'pipeline-' || (i % {PIPELINES})",
        "environment": "CASE WHEN i % 3 = 0 THEN 'production' ELSE 'staging' END",
        "version": "'1.' || i || '.0'",
        "status": "CASE WHEN i % 10 = 0 THEN 'FAILED' ELSE 'SUCCEEDED' END",
    }
    copied = [column.name for column in tables.deployments.c if column.name not in own]
    insert = (
        f"INSERT INTO deployments ({', '.join([*own, *copied])}) "
        f"SELECT {', '.join([*own.values(), *copied])} FROM ({numbers}) AS numbers, "
        "(SELECT * FROM deployments WHERE id = 'model') AS model"
    )

    def add(connection: sa.Connection) -> None:
        connection.execute(sa.insert(tables.deployments), a_model())
        connection.execute(sa.text(insert.replace("SELECT *", f"SELECT {', '.join(copied)}")), {"a": first, "n": rows})
        connection.execute(sa.delete(tables.deployments).where(tables.deployments.c.id == "model"))
        if store.dialect == "postgresql":
            connection.execute(sa.text("ANALYZE deployments"))

    await store.write(add)


async def pages_of(store: Store, parent: tuple[str, str], pages: int) -> list[float]:
    """Milliseconds of page after page, deeper and deeper."""
    queries = Queries(store, await open_pages(store, SystemClock()), RevisionCache())
    taken, token = [], ""
    for _ in range(pages):
        began = time.perf_counter()
        page = await queries.deployments(parent, filter_="", order_by="", token=token, size=50)
        taken.append((time.perf_counter() - began) * 1000)
        assert len(page.items) == 50, len(page.items)
        token = page.next_token
    return taken


async def measure(store: Store, name: str, rows: int, pages: int) -> list[Row]:
    await migrate(store, MIGRATIONS)
    await fill(store, rows)
    found = []
    for said, parent in (("of all", ("-", "-")), ("of one pipeline", ("pipeline-7", "staging"))):
        await pages_of(store, parent, pages)  # statements prepared, pages of the database in memory
        taken = await pages_of(store, parent, pages)
        figure = f"history page of 50 {said}, {rows:,} rows, {name}"
        found.append(Row(figure, f"{ms(p50(taken))}, p99 {ms(p99(taken))}", "", p50(taken), 2.0, unit="ms"))
    return found


async def over_the_wire(pages: int) -> list[Row]:
    """The same page by ListDeployments, the whole way."""
    rows = min(ROWS, 100_000)
    with a_bench_deployer() as deployer:
        deployer.terminate()
        store = open_store("sqlite", data_dir=deployer.data_dir, name="deployer")
        await fill(store, rows)
        await store.close()
        deployer.start()
        async with deployer.client() as client:
            taken = []
            for turn in range(pages + 5):
                began = time.perf_counter()
                await client.deployments.ListDeployments(
                    pb.ListDeploymentsRequest(parent="pipelines/-/environments/-", page_size=50)
                )
                if turn >= 5:
                    taken.append((time.perf_counter() - began) * 1000)
    said = f"{ms(statistics.median(taken))}, p99 {ms(p99(taken))}"
    return [Row(f"ListDeployments of 50, {rows:,} rows, over gRPC", said, "", p50(taken), 5.0, unit="ms")]


async def main(rounds: int) -> list[Row]:
    pages = 20 * rounds
    with tempfile.TemporaryDirectory(prefix="opsuite-bench-") as directory:
        store = open_store("sqlite", data_dir=Path(directory), name="bench")
        rows = await measure(store, "SQLite", ROWS, pages)
        await store.close()
        if find_programs() is None:
            rows.append(Row("history on PostgreSQL", "", why_not="no server found"))
        else:
            clusters = run_cluster(fsync="on", full_page_writes="on")
            cluster = await asyncio.to_thread(next, clusters)
            store = open_store(cluster.url(), data_dir=Path(directory), name="bench")
            rows += await measure(store, "PostgreSQL", ROWS, pages)
            await store.close()
            clusters.close()
    return rows + await over_the_wire(pages)
