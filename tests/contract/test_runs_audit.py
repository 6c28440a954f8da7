"""The audit chain on either database: any change of it shows."""

from __future__ import annotations

import asyncio
import hashlib
from datetime import timedelta
from typing import Any

import pytest
import sqlalchemy as sa
from fakes.clock import NOON

from opsuite_kernel.errors import InvalidInput
from opsuite_runs import audit
from opsuite_runs.audit import AuditReport
from opsuite_runs.port import AuditEntry
from opsuite_storage.columns import new_metadata
from opsuite_storage.store import Store

METADATA = new_metadata()
TABLE = audit.define(METADATA)
C = TABLE.c


def entry(number: int = 0, **details: str) -> AuditEntry:
    return AuditEntry("alice", "Deploy", f"deployments/{number}", "OK", details or {"peer": "unix:"}, "0" * 32)


async def append(chain: Store, *entries: AuditEntry) -> None:
    await chain.write(lambda tx: audit.append(tx, TABLE, entries, NOON + timedelta(microseconds=1)))


async def verify(chain: Store, head: str = "", batch: int = 4) -> AuditReport:
    return await chain.read(lambda tx: audit.verify(tx, TABLE, head, batch=batch))


async def tamper(chain: Store, statement: sa.Executable) -> None:
    await chain.write(lambda tx: tx.execute(statement).close())


@pytest.fixture
async def chain(store: Store) -> Store:
    """Ten rows, written in three transactions."""
    await store.alter(METADATA.create_all)
    await append(store, *(entry(number) for number in range(5)))
    await append(store, entry(5))
    await append(store, *(entry(number) for number in range(6, 10)))
    return store


async def test_an_untouched_chain_is_intact_whatever_the_batch(chain: Store) -> None:
    reports = [await verify(chain, batch=batch) for batch in (1, 3, 10, 1000)]

    assert all(report.intact and report.checked == 10 and report.broken_at == 0 for report in reports)
    assert len({report.head for report in reports}) == 1
    assert await verify(chain, reports[0].head) == reports[0]


async def test_an_empty_chain_is_intact(store: Store) -> None:
    await store.alter(METADATA.create_all)

    report = await verify(store)

    assert (report.intact, report.checked) == (True, 0)
    assert (await verify(store, report.head)).intact


@pytest.mark.parametrize(
    "change",
    [
        {"actor": "mallory"},
        {"time": NOON},
        {"outcome": "DENIED"},
        {"details": {"peer": "tcp:"}},
        {"trace_id": ""},
        {"hash": "0" * 64},
    ],
    ids=lambda change: next(iter(change)),
)
async def test_a_changed_row_shows(chain: Store, change: dict[str, Any]) -> None:
    await tamper(chain, sa.update(TABLE).where(C.sequence == 4).values(**change))

    report = await verify(chain)

    assert (report.intact, report.checked, report.broken_at) == (False, 3, 4)
    assert "row 4" in report.message


@pytest.mark.parametrize("sequence", [1, 5, 9])
async def test_a_deleted_row_shows(chain: Store, sequence: int) -> None:
    await tamper(chain, sa.delete(TABLE).where(C.sequence == sequence))

    report = await verify(chain)

    assert (report.intact, report.broken_at) == (False, sequence)
    assert "missing" in report.message


async def test_a_deleted_row_shows_although_the_rest_was_renumbered(chain: Store) -> None:
    await tamper(chain, sa.delete(TABLE).where(C.sequence == 5))
    for sequence in range(6, 11):
        await tamper(chain, sa.update(TABLE).where(C.sequence == sequence).values(sequence=sequence - 1))

    assert (await verify(chain)).broken_at == 5


async def test_two_rows_that_changed_places_show(chain: Store) -> None:
    for old, new in [(3, 99), (4, 3), (99, 4)]:
        await tamper(chain, sa.update(TABLE).where(C.sequence == old).values(sequence=new))

    assert (await verify(chain)).broken_at == 3


@pytest.mark.parametrize("sequence", [-1, 0, 11])
async def test_an_inserted_row_shows(chain: Store, sequence: int) -> None:
    copied = [C.time, C.actor, C.action, C.resource, C.outcome, C.details, C.trace_id, C.hash]
    slipped_in = sa.select(sa.literal(sequence), *copied).where(C.sequence == 10)
    await tamper(chain, sa.insert(TABLE).from_select(["sequence", *(column.name for column in copied)], slipped_in))

    assert (await verify(chain)).broken_at == sequence


async def test_a_cut_tail_shows_only_beside_an_exported_head(chain: Store) -> None:
    head = (await verify(chain)).head
    await tamper(chain, sa.delete(TABLE).where(C.sequence > 7))

    assert (await verify(chain)).intact
    report = await verify(chain, head)
    assert (report.intact, report.checked, report.broken_at) == (False, 7, 8)


async def test_a_chain_written_anew_from_some_row_on_shows_beside_an_exported_head(chain: Store) -> None:
    head = (await verify(chain)).head
    await tamper(chain, sa.delete(TABLE).where(C.sequence > 7))
    await append(chain, *(entry(number, forged="yes") for number in range(8)))

    assert (await verify(chain)).intact
    assert (await verify(chain, head)).broken_at == 10


async def test_an_older_head_still_fits_a_chain_that_has_grown(chain: Store) -> None:
    head = (await verify(chain)).head
    await append(chain, entry(11))

    assert (await verify(chain, head)).intact


@pytest.mark.parametrize("head", ["nonsense", "5", "5:abc", ":" + "0" * 64])
async def test_a_malformed_head_is_refused(chain: Store, head: str) -> None:
    with pytest.raises(InvalidInput):
        await verify(chain, head)


async def test_appends_at_once_make_one_chain(chain: Store) -> None:
    await asyncio.gather(*(append(chain, entry(number), entry(number)) for number in range(40)))

    report = await verify(chain)

    assert (report.intact, report.checked) == (True, 90)


async def test_an_append_that_is_rolled_back_leaves_the_chain_as_it_was(chain: Store) -> None:
    before = await verify(chain)

    def body(tx: sa.Connection) -> None:
        audit.append(tx, TABLE, [entry()], NOON)
        raise LookupError

    with pytest.raises(LookupError):
        await chain.write(body)
    assert await verify(chain) == before


@pytest.mark.parametrize("text", ["nul \0", "half a pair \ud800", "ünï ☃ 🧨", '"quoted"\n', "�\u2028"])
async def test_whatever_was_refused_can_be_audited(chain: Store, text: str) -> None:
    await append(chain, AuditEntry(text, "Deploy", text, "INVALID_ARGUMENT", {"field": text, text: "value"}))

    assert (await verify(chain)).checked == 11


async def test_the_hash_can_be_recomputed_from_what_the_module_documents(chain: Store) -> None:
    def first_hash(tx: sa.Connection) -> str:
        found: str = tx.execute(sa.select(C.hash).where(C.sequence == 1)).scalar_one()
        return found

    canonical = (
        '{"action":"Deploy","actor":"alice","details":{"peer":"unix:"},"outcome":"OK","resource":"deployments/0",'
        '"sequence":1,"time":"2026-06-01T12:00:00.000001+00:00","trace_id":"00000000000000000000000000000000"}'
    )
    expected = hashlib.sha256(f"{'0' * 64}\n{canonical}".encode()).hexdigest()
    assert await chain.read(first_hash) == expected
