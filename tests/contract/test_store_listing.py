"""Columns, filters and pages mean the same on either database."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta, timezone
from functools import partial
from typing import Any

import pytest
import sqlalchemy as sa
from fakes.clock import NOON, FakeClock

from opsuite_kernel.errors import InvalidInput
from opsuite_storage.columns import Json, UtcDateTime, new_metadata
from opsuite_storage.filters import Field, Kind, condition
from opsuite_storage.migrations import differences
from opsuite_storage.order import Key, beyond, parse_order
from opsuite_storage.pages import Listing, Pages, open_pages
from opsuite_storage.store import Store

METADATA = new_metadata()
RUNS = sa.Table(
    "runs",
    METADATA,
    sa.Column("id", sa.String(26), primary_key=True),
    sa.Column("began", UtcDateTime, nullable=False),
    sa.Column("state", sa.SmallInteger, nullable=False),
    sa.Column("version", sa.String, nullable=True),
    sa.Column("tries", sa.Integer, nullable=False),
    sa.Column("load", sa.Float, nullable=True),
    sa.Column("paused", sa.Boolean, nullable=False),
    sa.Column("facts", Json, nullable=True),
    sa.Index("ix_runs_history", "began", "id", "state"),
)
FIELDS = {
    "name": Field(RUNS.c.id, Kind.TEXT),
    "began": Field(RUNS.c.began, Kind.TIMESTAMP, sortable=True),
    "state": Field(RUNS.c.state, Kind.ENUM, names={"RUNNING": 1, "DONE": 2}),
    "version": Field(RUNS.c.version, Kind.TEXT),
    "tries": Field(RUNS.c.tries, Kind.INTEGER, sortable=True),
    "load": Field(RUNS.c.load, Kind.NUMBER),
    "paused": Field(RUNS.c.paused, Kind.BOOLEAN),
}


def row(number: int, **facts: Any) -> dict[str, Any]:
    usual = {
        "began": NOON + timedelta(minutes=number // 3),
        "state": 1,
        "version": None,
        "tries": number % 2,
        "load": None,
        "paused": False,
        "facts": None,
    }
    return {"id": f"run-{number:02}", **usual, **facts}


ROWS = [
    row(0, version="1.0", load=0.5),
    row(1, state=2, version="1.0-RC", tries=9_000_000_00),
    row(2, version="50%_off", paused=True),
    row(3, state=2, load=-1.5),
]


@pytest.fixture
async def runs(store: Store) -> Store:
    await store.alter(METADATA.create_all)
    return store


async def fill(store: Store, rows: Sequence[dict[str, Any]]) -> None:
    await store.write(lambda tx: tx.execute(sa.insert(RUNS), list(rows)).rowcount)


async def found(store: Store, text: str) -> list[int]:
    where = condition(text, FIELDS)
    ids = await store.read(lambda tx: tx.execute(sa.select(RUNS.c.id).where(where).order_by(RUNS.c.id)).scalars().all())
    return [int(each.removeprefix("run-")) for each in ids]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", [0, 1, 2, 3]),
        ("state = RUNNING", [0, 2]),
        ("state != RUNNING", [1, 3]),
        ('name = "run-01"', [1]),
        ("version = 1.0", [0]),
        ("version != 1.0", [1, 2, 3]),
        ("NOT version = 1.0", [1, 2, 3]),
        ("version : rc", [1]),
        ('version : "%_"', [2]),
        ('version : "5__"', []),
        ("version:*", [0, 1, 2]),
        ("NOT version:*", [3]),
        ("load < 0", [3]),
        ("load <= 0.5", [0, 3]),
        ("NOT load < 0", [0, 1, 2]),
        ("tries > 100000", [1]),
        ("tries >= 9223372036854775807", []),
        ("paused = true", [2]),
        ("paused != true OR state = DONE", [0, 1, 3]),
        ("began > 2026-06-01T12:00:00Z", [3]),
        ("began = 2026-06-01T14:00:00+02:00", [0, 1, 2]),
        ('began <= "2026-06-01T12:00:30Z" AND (state = DONE OR paused = true)', [1, 2]),
        ('name = "\'; DROP TABLE runs; --"', []),
    ],
)
async def test_a_filter_finds(runs: Store, text: str, expected: list[int]) -> None:
    await fill(runs, ROWS)

    assert await found(runs, text) == expected


async def walk(store: Store, pages: Pages, order_by: str, size: int) -> list[str]:
    """Every id, page after page."""
    keys = parse_order(order_by, FIELDS, default=[Key(RUNS.c.began, descending=True)], unique=RUNS.c.id)
    listing = Listing("runs", order_by=order_by)
    seen: list[str] = []
    token = ""
    while True:
        body = partial(pages.read, statement=sa.select(RUNS), order=keys, listing=listing, token=token, size=size)
        page = await store.read(body)
        assert len(page.rows) <= size
        seen += [each.id for each in page.rows]
        token = page.next_token
        if not token:
            return seen


@pytest.mark.parametrize("size", [1, 2, 7, 20, 21, 50])
@pytest.mark.parametrize("order_by", ["", "began", "tries, began desc", "tries desc, began desc"])
async def test_pages_show_every_row_once_and_in_order(runs: Store, order_by: str, size: int) -> None:
    await fill(runs, [row(number) for number in range(20)])
    keys = parse_order(order_by, FIELDS, default=[Key(RUNS.c.began, descending=True)], unique=RUNS.c.id)
    clauses = [key.clause() for key in keys]
    whole = await runs.read(lambda tx: list(tx.execute(sa.select(RUNS.c.id).order_by(*clauses)).scalars()))

    assert await walk(runs, await open_pages(runs, FakeClock()), order_by, size) == whole
    assert len(whole) == 20


async def test_rows_that_come_and_go_between_pages_move_no_others(runs: Store) -> None:
    await fill(runs, [row(number) for number in range(20)])
    pages = await open_pages(runs, FakeClock())
    keys, listing = (Key(RUNS.c.began), Key(RUNS.c.id)), Listing("runs")

    async def page(token: str) -> tuple[list[str], str]:
        got = await runs.read(
            lambda tx: pages.read(tx, sa.select(RUNS), order=keys, listing=listing, token=token, size=8)
        )
        return [each.id for each in got.rows], got.next_token

    first, token = await page("")
    await runs.write(lambda tx: tx.execute(sa.delete(RUNS).where(RUNS.c.id.in_(first))).rowcount)
    second, _ = await page(token)

    assert second == [f"run-{number:02}" for number in range(8, 16)]


async def test_a_page_in_the_middle_is_one_seek_in_a_covering_index(runs: Store) -> None:
    await fill(runs, [row(number) for number in range(20)])
    keys = (Key(RUNS.c.began, descending=True), Key(RUNS.c.id, descending=True))
    statement = (
        sa.select(RUNS.c.id, RUNS.c.began, RUNS.c.state)
        .where(beyond(keys, [NOON, "run-01"]))
        .order_by(*(key.clause() for key in keys))
        .limit(50)
    )

    def plan(tx: sa.Connection) -> str:
        if runs.dialect == "postgresql":
            tx.exec_driver_sql("SET LOCAL enable_seqscan = off")
            tx.exec_driver_sql("SET LOCAL enable_bitmapscan = off")
        prefix = "EXPLAIN" if runs.dialect == "postgresql" else "EXPLAIN QUERY PLAN"
        compiled = statement.compile(tx, compile_kwargs={"literal_binds": True})
        return "\n".join(str(line) for line in tx.exec_driver_sql(f"{prefix} {compiled}".replace("%", "%%")))

    shown = await runs.read(plan)
    if runs.dialect == "postgresql":
        assert "Index Only Scan Backward using ix_runs_history" in shown
        assert "Index Cond" in shown
        assert "Sort" not in shown
    else:
        assert "SEARCH runs USING COVERING INDEX ix_runs_history" in shown
        assert "TEMP B-TREE" not in shown


async def test_replicas_of_one_database_accept_one_anothers_tokens_and_other_databases_do_not(
    runs: Store, sqlite_store: Store
) -> None:
    one, two = await open_pages(runs, FakeClock()), await open_pages(runs, FakeClock())
    token = one.token([1], Listing("runs"))

    assert two.position(token, Listing("runs")) == [1]
    if runs.dialect == "postgresql":
        with pytest.raises(InvalidInput):
            (await open_pages(sqlite_store, FakeClock())).position(token, Listing("runs"))


async def test_the_table_of_keys_is_no_difference_to_a_services_own_tables(runs: Store) -> None:
    await open_pages(runs, FakeClock())

    assert await differences(runs, METADATA) == []


@pytest.mark.parametrize(
    "moment",
    [
        datetime(2026, 6, 1, 12, 0, 0, 123456, tzinfo=UTC),
        datetime(1969, 12, 31, 23, 59, 59, 999999, tzinfo=UTC),
        datetime(2026, 3, 29, 2, 30, tzinfo=timezone(timedelta(hours=5, minutes=30))),
    ],
)
async def test_a_time_comes_back_equal_to_the_microsecond_and_in_utc(runs: Store, moment: datetime) -> None:
    await fill(runs, [row(1, began=moment)])

    came_back: datetime = await runs.read(lambda tx: tx.execute(sa.select(RUNS.c.began)).scalar_one())

    assert came_back == moment
    assert came_back.tzinfo is UTC


async def test_a_naive_time_is_refused(runs: Store) -> None:
    with pytest.raises(sa.exc.StatementError, match="says its zone"):
        await fill(runs, [row(1, began=NOON.replace(tzinfo=None))])


@pytest.mark.parametrize("facts", [{"a": [1, 2.5, None, True, "ü"], "b": {}}, [], 0, False, "", "text", None])
async def test_json_comes_back_equal_and_none_is_null(runs: Store, facts: Any) -> None:
    await fill(runs, [row(1, facts=facts)])

    came_back, is_null = await runs.read(
        lambda tx: tx.execute(sa.select(RUNS.c.facts, RUNS.c.facts.is_(sa.null()))).one()
    )

    assert came_back == facts
    assert type(came_back) is type(facts)
    assert is_null == (facts is None)


async def test_json_is_kept_compact_on_sqlite(sqlite_store: Store) -> None:
    await sqlite_store.alter(METADATA.create_all)
    await fill(sqlite_store, [row(1, facts={"a": [1, "ü"]})])

    kept = await sqlite_store.read(lambda tx: tx.exec_driver_sql("SELECT facts FROM runs").scalar_one())

    assert kept == '{"a":[1,"ü"]}'
    assert json.loads(kept) == {"a": [1, "ü"]}
