"""The event log of a service: append-only, dense per resource and over all of them.

An event and the state it tells of commit in one transaction. Its revision within the resource was taken by the caller
under the lock of the resource's row; its position over all resources is taken here, from one row whose lock every
appending transaction holds until it commits. That row is the price of positions that are dense and in commit order:
appends follow one another, so they stand at the end of a transaction. `life` is a random name that the log gets when it
is made: a token of another life belongs to another database, or to a restored one.
"""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

import sqlalchemy as sa

from opsuite_kernel.errors import Gone
from opsuite_runs.port import Event
from opsuite_storage.columns import UtcDateTime
from opsuite_storage.prepared import Prepared


@dataclass(frozen=True, slots=True)
class EventTables:
    """The tables of one event log, and the statements that are built for them once."""

    events: sa.Table
    feed: sa.Table
    advance: Prepared
    insert: Prepared
    of_resource: Prepared
    of_all: Prepared
    head: Prepared


@dataclass(frozen=True, slots=True)
class NewEvent:
    """An event to append."""

    resource: str
    revision: int
    time: datetime
    payload: bytes


def define(metadata: sa.MetaData) -> EventTables:
    """The tables `events` and `feed`. The migration that makes them calls `begin` on the new feed."""
    events = sa.Table(
        "events",
        metadata,
        sa.Column("position", sa.BigInteger, primary_key=True, autoincrement=False),
        sa.Column("resource", sa.Text, nullable=False),
        sa.Column("revision", sa.BigInteger, nullable=False),
        sa.Column("time", UtcDateTime, nullable=False),
        sa.Column("payload", sa.LargeBinary, nullable=False),
        sa.UniqueConstraint("resource", "revision"),
    )
    feed = sa.Table(
        "feed",
        metadata,
        sa.Column("id", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("head", sa.BigInteger, nullable=False),
        sa.Column("life", sa.Text, nullable=False),
        sa.Column("compacted", sa.BigInteger, nullable=False),
    )
    advance = (
        sa.update(feed).where(feed.c.id == 1).values(head=feed.c.head + sa.bindparam("count")).returning(feed.c.head)
    )
    c = events.c
    after, most = sa.bindparam("after", type_=sa.BigInteger), sa.bindparam("most", type_=sa.Integer)
    of_all = sa.select(events).where(c.position > after).order_by(c.position).limit(most)
    of_resource = (
        sa.select(events)
        .where(c.resource == sa.bindparam("name", type_=sa.Text), c.revision > after)
        .order_by(c.revision)
        .limit(most)
    )
    return EventTables(
        events,
        feed,
        Prepared(advance),
        Prepared(sa.insert(events), c.keys()),
        Prepared(of_resource),
        Prepared(of_all),
        Prepared(sa.select(feed.c.head)),
    )


def begin(connection: sa.Connection, feed: sa.TableClause) -> None:
    """Start the life of a new log."""
    connection.execute(
        sa.insert(feed).values(id=1, head=0, life=secrets.token_hex(8), compacted=0),
    )


def append(connection: sa.Connection, tables: EventTables, new: Sequence[NewEvent]) -> list[Event]:
    """Write events in this transaction and return them with their positions."""
    if not new:
        return []
    head: int = tables.advance.only_value(connection, {"count": len(new)})
    events = [
        Event(position, one.resource, one.revision, one.time, one.payload)
        for position, one in enumerate(new, start=head - len(new) + 1)
    ]
    tables.insert.run(
        connection,
        [
            {
                "position": e.position,
                "resource": e.resource,
                "revision": e.revision,
                "time": e.time,
                "payload": e.payload,
            }
            for e in events
        ],
    )
    return events


def read_resource(connection: sa.Connection, tables: EventTables, resource: str, after: int, limit: int) -> list[Event]:
    """Events of a resource after a revision, in order. Raises Gone when some of them were compacted."""
    values = {"name": resource, "after": after, "most": limit}
    events = [Event(**row) for row in tables.of_resource.rows(connection, values)]
    if events and events[0].revision != after + 1:
        c = tables.events.c
        current = connection.execute(sa.select(sa.func.max(c.revision)).where(c.resource == resource)).scalar_one()
        raise _compacted(oldest=events[0].revision, current=current)
    return events


def read_feed(connection: sa.Connection, tables: EventTables, after: int, limit: int) -> list[Event]:
    """Events of all resources after a position, in order. Raises Gone when some of them were compacted."""
    events = [Event(**row) for row in tables.of_all.rows(connection, {"after": after, "most": limit})]
    # The order matters at READ COMMITTED: what was cleared away between the two statements shows in the second one.
    feed = connection.execute(sa.select(tables.feed.c.compacted, tables.feed.c.head)).one()
    if after < feed.compacted:
        raise _compacted(oldest=feed.compacted + 1, current=feed.head)
    return events


def head(connection: sa.Connection, tables: EventTables) -> int:
    """Position of the last event; 0 before the first."""
    value: int = tables.head.only_value(connection)
    return value


def life(connection: sa.Connection, tables: EventTables) -> str:
    """The name of this life of the database."""
    value: str = connection.execute(sa.select(tables.feed.c.life)).scalar_one()
    return value


def compact(connection: sa.Connection, tables: EventTables, resources: Sequence[str]) -> int:
    """Delete the events of ended resources and return how many those were; reads of them raise Gone from then on.

    The last event of each stays, so that a reader who lacks some of the others is told so rather than left waiting.
    """
    c = tables.events.c
    last = sa.select(sa.func.max(c.position)).where(c.resource.in_(resources)).group_by(c.resource)
    doomed = sa.and_(c.resource.in_(resources), c.position.not_in(last))
    highest = connection.execute(sa.select(sa.func.max(c.position)).where(doomed)).scalar_one()
    if highest is None:
        return 0
    deleted = connection.execute(sa.delete(tables.events).where(doomed)).rowcount
    connection.execute(sa.update(tables.feed).where(tables.feed.c.compacted < highest).values(compacted=highest))
    return deleted


def _compacted(*, oldest: int, current: int) -> Gone:
    return Gone(
        f"events before {oldest} were cleared away; the last is {current}",
        reason="REVISION_COMPACTED",
        metadata={"oldest": str(oldest), "current": str(current)},
    )
