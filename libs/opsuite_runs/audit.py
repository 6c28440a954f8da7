"""The audit log: rows that carry the SHA-256 of the one before, so that a changed, missing or moved row shows.

The hash of a row is that of the hash before it (GENESIS for the first), a line feed, and the canonical JSON of the
row's own columns (keys sorted, no blanks, times in ISO 8601 UTC with microseconds), in hexadecimal. Cutting the newest
rows off leaves a whole chain; only a head that was exported before, "sequence:hash", shows that.
"""

from __future__ import annotations

import functools
import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final, Protocol

import sqlalchemy as sa

from opsuite_kernel.errors import InvalidInput, Violation
from opsuite_storage.columns import Json, UtcDateTime
from opsuite_storage.prepared import Prepared

GENESIS: Final = "0" * 64
"""Hash before the first row."""


class Entry(Protocol):
    """What is recorded; `opsuite_rpc.audit.AuditEntry` fits."""

    @property
    def actor(self) -> str: ...  # noqa: D102 - told by AuditEntry
    @property
    def action(self) -> str: ...  # noqa: D102
    @property
    def resource(self) -> str: ...  # noqa: D102
    @property
    def outcome(self) -> str: ...  # noqa: D102
    @property
    def details(self) -> Mapping[str, str]: ...  # noqa: D102
    @property
    def trace_id(self) -> str: ...  # noqa: D102


@dataclass(frozen=True, slots=True)
class AuditReport:
    """What a verification found."""

    intact: bool
    checked: int
    broken_at: int
    """First row that does not fit; 0 if none."""
    message: str
    head: str
    """The present head, "sequence:hash"."""


def define(metadata: sa.MetaData) -> sa.Table:
    """The table `audit`."""
    return sa.Table(
        "audit",
        metadata,
        sa.Column("sequence", sa.BigInteger, primary_key=True, autoincrement=False),
        sa.Column("time", UtcDateTime, nullable=False),
        sa.Column("actor", sa.Text, nullable=False),
        sa.Column("action", sa.Text, nullable=False),
        sa.Column("resource", sa.Text, nullable=False),
        sa.Column("outcome", sa.Text, nullable=False),
        sa.Column("details", Json, nullable=False),
        sa.Column("trace_id", sa.Text, nullable=False),
        sa.Column("hash", sa.Text, nullable=False),
    )


def append(connection: sa.Connection, table: sa.Table, entries: Sequence[Entry], now: datetime) -> None:
    """Add rows at the end of the chain. On PostgreSQL appends follow one another through an advisory lock."""
    if connection.dialect.name == "postgresql":
        connection.execute(sa.select(sa.func.pg_advisory_xact_lock(sa.func.hashtext(f"audit {table.schema or ''}"))))
    newest, insert = _statements(table)
    last = newest.row(connection)
    sequence, previous = (last["sequence"], last["hash"]) if last else (0, GENESIS)
    rows = []
    for entry in entries:
        sequence += 1
        row = {
            "sequence": sequence,
            "time": now,
            "actor": _storable(entry.actor),
            "action": _storable(entry.action),
            "resource": _storable(entry.resource),
            "outcome": entry.outcome,
            "details": {_storable(key): _storable(value) for key, value in entry.details.items()},
            "trace_id": entry.trace_id,
        }
        previous = _hash(previous, row)
        rows.append({**row, "hash": previous})
    if rows:
        insert.run(connection, rows)


@functools.cache
def _statements(table: sa.Table) -> tuple[Prepared, Prepared]:
    """What finds the end of the chain and what adds to it, built once for each table."""
    c = table.c
    newest = sa.select(c.sequence, c.hash).order_by(c.sequence.desc()).limit(1)
    return Prepared(newest), Prepared(sa.insert(table), c.keys())


def verify(connection: sa.Connection, table: sa.Table, head: str = "", *, batch: int = 1000) -> AuditReport:
    """Recompute the whole chain, `batch` rows at a time; with an exported `head`, also whether the tail was cut."""
    c = table.c
    sequence, previous = 0, GENESIS
    expected = _parse(head) if head else {}
    beyond: sa.ColumnElement[bool] = sa.true()  # also rows numbered below 1, which somebody has slipped in
    while True:
        statement = sa.select(table).where(beyond).order_by(c.sequence).limit(batch)
        rows = connection.execute(statement).mappings().all()
        for row in rows:
            if row["sequence"] <= sequence:
                return _broken(sequence, row["sequence"], "was added by hand", previous)
            if row["sequence"] != sequence + 1:
                return _broken(sequence, sequence + 1, "is missing", previous)
            if _hash(previous, dict(row)) != row["hash"]:
                return _broken(sequence, row["sequence"], "was changed, or a row before it was", previous)
            sequence, previous = row["sequence"], row["hash"]
            if expected.get(str(sequence), previous) != previous:
                return _broken(sequence, sequence, "differs from the exported head", previous)
        if len(rows) < batch:
            break
        beyond = c.sequence > sequence
    if expected and int(next(iter(expected))) > sequence:
        return _broken(sequence, sequence + 1, "and those after it were cut off", previous)
    return AuditReport(True, sequence, 0, "", f"{sequence}:{previous}")


def _parse(head: str) -> dict[str, str]:
    match = re.fullmatch(r"([0-9]+):([0-9a-f]{64})", head)
    if match is None:
        raise InvalidInput([Violation("head", 'is not "sequence:hash"', "PATTERN")])
    return {match[1]: match[2]}


def _broken(checked: int, at: int, what: str, previous: str) -> AuditReport:
    return AuditReport(False, checked, at, f"row {at} {what}", f"{checked}:{previous}")


def _storable(text: str) -> str:
    """The text with what a database refuses spelt out: a refusal is audited however odd what was refused is."""
    return text.encode(errors="backslashreplace").decode().replace("\0", "\\x00")


def _hash(previous: str, row: Mapping[str, Any]) -> str:
    time: datetime = row["time"]
    body = {
        "sequence": row["sequence"],
        "time": time.astimezone(UTC).isoformat(timespec="microseconds"),
        **{name: row[name] for name in ("actor", "action", "resource", "outcome", "details", "trace_id")},
    }
    canonical = json.dumps(body, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return hashlib.sha256(f"{previous}\n{canonical}".encode()).hexdigest()
