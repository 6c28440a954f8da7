"""Replay protection: the first answer to a request id, kept in the transaction that made it.

Two calls with one id at the same moment meet at the primary key: the second one's transaction fails, is tried again by
its caller or the store, and then finds the first one's answer.
"""

from __future__ import annotations

import functools
from datetime import datetime

import sqlalchemy as sa

from opsuite_kernel.errors import InvalidInput, Unavailable, Violation
from opsuite_storage.columns import UtcDateTime
from opsuite_storage.prepared import Prepared

Key = tuple[str, str, str]
"""Principal, method, request id."""


def define(metadata: sa.MetaData) -> sa.Table:
    """The table `requests`."""
    table = sa.Table(
        "requests",
        metadata,
        sa.Column("principal", sa.Text, primary_key=True),
        sa.Column("method", sa.Text, primary_key=True),
        sa.Column("request_id", sa.Text, primary_key=True),
        sa.Column("fingerprint", sa.LargeBinary, nullable=False),
        sa.Column("answer", sa.LargeBinary, nullable=False),
        sa.Column("created_at", UtcDateTime, nullable=False),
    )
    sa.Index("ix_requests_created_at", table.c.created_at)
    return table


def replay(connection: sa.Connection, table: sa.Table, key: Key, fingerprint: bytes) -> bytes | None:
    """The first answer to this request, None if it is new. Raises InvalidInput (the id belongs to another request)."""
    principal, method, request_id = key
    values = {"principal": principal, "method": method, "request_id": request_id}
    find, _ = _statements(table)
    row = find.row(connection, values)
    if row is None:
        return None
    if row["fingerprint"] != fingerprint:
        raise InvalidInput(
            [Violation("request_id", "was used for another request", "REQUEST_ID_REUSED")], reason="REQUEST_ID_REUSED"
        )
    answer: bytes = row["answer"]
    return answer


@functools.cache
def _statements(table: sa.Table) -> tuple[Prepared, Prepared]:
    """What looks a key up and what adds one, built once for each table."""
    c = table.c
    key = [each == sa.bindparam(each.name, type_=sa.Text) for each in (c.principal, c.method, c.request_id)]
    return Prepared(sa.select(c.fingerprint, c.answer).where(*key)), Prepared(sa.insert(table), c.keys())


def remember(
    connection: sa.Connection, table: sa.Table, key: Key, fingerprint: bytes, answer: bytes, now: datetime
) -> None:
    """Keep the answer. Raises Unavailable when the same request is being answered by somebody else at this moment."""
    row = {
        "principal": key[0],
        "method": key[1],
        "request_id": key[2],
        "fingerprint": fingerprint,
        "answer": answer,
        "created_at": now,
    }
    _, insert = _statements(table)
    try:
        insert.run(connection, [row])
    except sa.exc.IntegrityError as error:
        raise Unavailable("the same request is being answered; repeat it", reason="REQUEST_IN_PROGRESS") from error


def forget_before(connection: sa.Connection, table: sa.Table, instant: datetime) -> int:
    """Drop answers older than `instant`, and return how many those were."""
    return connection.execute(sa.delete(table).where(table.c.created_at < instant)).rowcount
