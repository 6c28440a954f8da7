"""A prepared statement does what the statement does, on either database."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone

import pytest
import sqlalchemy as sa

from opsuite_storage.columns import Json, UtcDateTime, new_metadata
from opsuite_storage.prepared import Prepared
from opsuite_storage.store import Store

METADATA = new_metadata()
THINGS = sa.Table(
    "things",
    METADATA,
    sa.Column("id", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("name", sa.Text, nullable=False, unique=True),
    sa.Column("born", UtcDateTime),
    sa.Column("facts", Json),
    sa.Column("raw", sa.LargeBinary),
    sa.Column("good", sa.Boolean, nullable=False),
)
C = THINGS.c
ADD = Prepared(sa.insert(THINGS), C.keys())
ONE = Prepared(sa.select(THINGS).where(C.id == sa.bindparam("number")))
NAMED = Prepared(sa.select(C.id).where(C.name.in_(["one", "two"]), C.good).order_by(C.id))
RENAME = Prepared(
    sa.update(THINGS).where(C.id == sa.bindparam("number")).values(name=C.name + sa.bindparam("more")).returning(C.name)
)
HOW_MANY = Prepared(sa.select(sa.func.count()).select_from(THINGS))
REMOVE = Prepared(sa.delete(THINGS).where(C.name == sa.bindparam("which")))
BORN = datetime(2026, 5, 4, 3, 2, 1, 123456, tzinfo=timezone(timedelta(hours=2)))


def a_thing(number: int, name: str, **fields: object) -> dict[str, object]:
    return {"id": number, "name": name, "born": BORN, "facts": {"a": [1, "é"]}, "raw": b"\0x", "good": True} | fields


@pytest.fixture
async def things(store: Store) -> Store:
    await store.alter(METADATA.create_all)
    rows = [a_thing(1, "one"), a_thing(2, "two", born=None, facts=None, raw=None), a_thing(3, "three", good=False)]
    await store.write(lambda tx: ADD.run(tx, rows))
    return store


async def test_what_it_wrote_reads_the_same_whoever_reads(things: Store) -> None:
    prepared = await things.read(lambda tx: [ONE.row(tx, {"number": number}) for number in (1, 2, 3)])
    plain = await things.read(lambda tx: [dict(row) for row in tx.execute(sa.select(THINGS).order_by(C.id)).mappings()])

    assert prepared == plain
    assert prepared[0] == a_thing(1, "one", born=BORN.astimezone(UTC))


async def test_values_written_into_the_statement_are_used(things: Store) -> None:
    assert await things.read(NAMED.rows) == [{"id": 1}, {"id": 2}]
    assert await things.read(HOW_MANY.value) == 3


async def test_it_returns_what_an_update_returns(things: Store) -> None:
    assert await things.write(lambda tx: RENAME.value(tx, {"number": 1, "more": "!"})) == "one!"
    assert await things.write(lambda tx: RENAME.value(tx, {"number": 9, "more": "!"})) is None


async def test_a_row_that_has_to_be_there_is_missed(things: Store) -> None:
    with pytest.raises(sa.exc.NoResultFound):
        await things.write(lambda tx: RENAME.only_value(tx, {"number": 9, "more": "!"}))


async def test_it_runs_for_each_of_many(things: Store) -> None:
    await things.write(lambda tx: REMOVE.run(tx, [{"which": "one"}, {"which": "three"}, {"which": "nobody"}]))

    assert await things.read(NAMED.rows) == [{"id": 2}]


async def test_a_broken_rule_is_told_as_ever_and_nothing_is_written(things: Store) -> None:
    with pytest.raises(sa.exc.IntegrityError):
        await things.write(lambda tx: ADD.run(tx, [a_thing(4, "four"), a_thing(5, "one")]))

    assert await things.read(HOW_MANY.value) == 3


async def test_a_time_without_a_zone_is_refused(things: Store) -> None:
    with pytest.raises((TypeError, sa.exc.StatementError)):
        await things.write(lambda tx: ADD.run(tx, [a_thing(4, "four", born=datetime(2026, 1, 1))]))
