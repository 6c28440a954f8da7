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
from opsuite_deployer.adapters.database import RevisionCache
from opsuite_deployer.adapters.queries import Queries
from opsuite_deployer.adapters.rows import changing_columns, fixed_columns
from opsuite_deployer.composition import MIGRATIONS
from opsuite_deployer.domain.deployment import Deployment, Status
from opsuite_kernel.clock import SystemClock
from opsuite_kernel.ids import new_id
from opsuite_storage.migrations import migrate
from opsuite_storage.pages import open_pages
from opsuite_storage.store import Store, open_store

ROWS = int(os.environ.get("OPSUITE_BENCH_ROWS", "1000000"))
PIPELINES = 20
START = datetime(2026, 1, 1, tzinfo=UTC)
BATCH = 20_000


def a_row(number: int) -> dict[str, object]:
    """A deployment that ended, of one of twenty pipelines."""
    at = START + timedelta(seconds=number)
    deployment = Deployment(
        id=new_id(at),
        pipeline=f"pipeline-{number % PIPELINES}",
        pipeline_revision=1,
        environment="staging" if number % 3 else "production",
        version=f"1.{number}.0",
        created_at=at,
        status=Status.SUCCEEDED if number % 10 else Status.FAILED,
        requested_by="bench",
        started_at=at,
        ended_at=at + timedelta(seconds=5),
    )
    counts = {"revision": 26, "turn": 12, "epoch": 1}
    return {**fixed_columns(deployment), **changing_columns(deployment), **counts}


async def fill(store: Store, rows: int, first: int = 0) -> None:
    """Add `rows` deployments."""
    for begin in range(first, first + rows, BATCH):
        batch = [a_row(number) for number in range(begin, min(begin + BATCH, first + rows))]

        def add(connection: sa.Connection, batch: list[dict[str, object]] = batch) -> None:
            connection.execute(sa.insert(tables.deployments), batch)

        await store.write(add)
    if store.dialect == "postgresql":
        await store.write(lambda connection: connection.execute(sa.text("ANALYZE deployments")).close())


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
