"""Alerts, what they explain, and the groups that they are in, as rows."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any, Final, TypeVar

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite

from opsuite_healer.adapters.alerts import tables
from opsuite_healer.application.alerts.ports import Group, GroupMember, KnownAlert
from opsuite_healer.domain.alerts.alert import Alert
from opsuite_healer.domain.alerts.grouping import FlushReason, Told
from opsuite_healer.domain.alerts.inhibition import Source

AT_ONCE: Final = 500
"""Values of one statement: databases have limits."""

Row = Mapping[str, Any] | sa.RowMapping
T = TypeVar("T")

_a, _g, _m, _s = tables.alerts.c, tables.groups.c, tables.members.c, tables.sources.c


def in_parts(values: Sequence[T]) -> Iterator[Sequence[T]]:
    """The values, some at once."""
    for start in range(0, len(values), AT_ONCE):
        yield values[start : start + AT_ONCE]


class Upsert:
    """Writes rows, in place of those with the same keys; built once for each kind of database."""

    def __init__(self, table: sa.Table, *, replaces: bool = True) -> None:
        """Unless it `replaces`, a row that is there stays as it is."""
        keys = [column.name for column in table.primary_key]
        self._statements: dict[str, sa.Insert] = {}
        for name, insert in (("sqlite", sqlite.insert(table)), ("postgresql", postgresql.insert(table))):
            others = {column.name: insert.excluded[column.name] for column in table.c if column.name not in keys}
            self._statements[name] = (
                insert.on_conflict_do_update(index_elements=keys, set_=others)
                if replaces
                else insert.on_conflict_do_nothing(index_elements=keys)
            )

    def run(self, connection: sa.Connection, rows: Sequence[Mapping[str, Any]]) -> None:
        """Write them."""
        if rows:
            connection.execute(self._statements[connection.dialect.name], rows)


_PUT_ALERT: Final = Upsert(tables.alerts)
_PUT_GROUP: Final = Upsert(tables.groups)
_JOIN: Final = Upsert(tables.members, replaces=False)
_ADD_SOURCE: Final = Upsert(tables.sources)
_LEAVE: Final = sa.delete(tables.members).where(_m.group_id == sa.bindparam("g"), _m.fingerprint == sa.bindparam("f"))
_PUT_TOLD: Final = (
    sa.update(tables.members)
    .where(_m.group_id == sa.bindparam("g"), _m.fingerprint == sa.bindparam("f"))
    .values(told=sa.bindparam("t"))
)


class AlertRows:
    """The part of a transaction that is about alerts and groups."""

    def __init__(self, connection: sa.Connection) -> None:
        self.connection = connection

    # alerts

    def alerts(self, fingerprints: Sequence[str]) -> dict[str, KnownAlert]:
        """Those that are known, by fingerprint."""
        found: dict[str, KnownAlert] = {}
        for some in in_parts(fingerprints):
            for row in self._rows(sa.select(tables.alerts).where(_a.fingerprint.in_(some))):
                found[row["fingerprint"]] = known_of(row)
        return found

    def alert_of_key(self, key: str) -> KnownAlert | None:
        """The one that goes on with that dedup key."""
        statement = sa.select(tables.alerts).where(_a.key == key, _a.is_firing).order_by(_a.updated_at.desc()).limit(1)
        return next((known_of(row) for row in self._rows(statement)), None)

    def put_alerts(self, alerts: Sequence[KnownAlert]) -> None:
        """Keep them as they are now."""
        _PUT_ALERT.run(self.connection, [_alert_row(one) for one in alerts])

    def ended_alerts(self, now: datetime, limit: int) -> Sequence[KnownAlert]:
        """Those whose end has come and was not seen yet."""
        due = sa.select(tables.alerts).where(_a.is_firing, _a.ends_at <= now).order_by(_a.ends_at).limit(limit)
        return [known_of(row) for row in self._rows(due)]

    def firing(self) -> Iterator[Alert]:
        """All that go on, in order of their fingerprints."""
        after = ""
        while True:
            page = sa.select(tables.alerts).where(_a.is_firing, _a.fingerprint > after).order_by(_a.fingerprint)
            rows = self._rows(page.limit(AT_ONCE))
            for row in rows:
                yield alert_of(row)
            if len(rows) < AT_ONCE:
                return
            after = rows[-1]["fingerprint"]

    # what explains

    def add_sources(self, sources: Sequence[Source]) -> None:
        """Keep what alerts explain."""
        _ADD_SOURCE.run(
            self.connection,
            [
                {
                    "common": one.common,
                    "fingerprint": one.fingerprint,
                    "rule": one.rule,
                    "is_target_too": one.is_target_too,
                }
                for one in sources
            ],
        )

    def drop_sources(self, fingerprints: Sequence[str] | None) -> None:
        """Forget what these alerts explain; None: all."""
        if fingerprints is None:
            self.connection.execute(sa.delete(tables.sources))
            return
        for some in in_parts(fingerprints):
            self.connection.execute(sa.delete(tables.sources).where(_s.fingerprint.in_(some)))

    def sources(self, commons: Sequence[str]) -> Mapping[str, Sequence[Source]]:
        """By what a target has in common with them."""
        found: dict[str, list[Source]] = {}
        for some in in_parts(commons):
            wanted = sa.select(tables.sources).where(_s.common.in_(some)).order_by(_s.common, _s.fingerprint)
            for row in self._rows(wanted):
                source = Source(row["rule"], row["common"], row["fingerprint"], row["is_target_too"])
                found.setdefault(source.common, []).append(source)
        return found

    # groups

    def groups(self, ids: Sequence[str]) -> dict[str, Group]:
        """Those that there are, by id."""
        found: dict[str, Group] = {}
        for some in in_parts(ids):
            for row in self._rows(sa.select(tables.groups).where(_g.id.in_(some))):
                found[row["id"]] = group_of(row)
        return found

    def all_groups(self) -> Sequence[Group]:
        """Every group, by id."""
        return [group_of(row) for row in self._rows(sa.select(tables.groups).order_by(_g.id))]

    def put_groups(self, groups: Sequence[Group]) -> None:
        """Keep them as they are now."""
        _PUT_GROUP.run(self.connection, [_group_row(group) for group in groups])

    def drop_groups(self, ids: Sequence[str]) -> None:
        """Forget them, with their members."""
        for some in in_parts(ids):
            self.connection.execute(sa.delete(tables.members).where(_m.group_id.in_(some)))
            self.connection.execute(sa.delete(tables.groups).where(_g.id.in_(some)))

    def due_groups(self, now: datetime, limit: int) -> Sequence[Group]:
        """Those that are to be looked at, those that wait longest first."""
        due = sa.select(tables.groups).where(_g.next_flush_at <= now).order_by(_g.next_flush_at, _g.id).limit(limit)
        return [group_of(row) for row in self._rows(due)]

    def hurry(self, fingerprints: Sequence[str], now: datetime) -> None:
        """Look now at groups that were looked at before and that these alerts are in."""
        for some in in_parts(fingerprints):
            theirs = sa.select(_m.group_id).where(_m.fingerprint.in_(some))
            self.connection.execute(
                sa.update(tables.groups)
                .where(_g.id.in_(theirs), _g.was_looked_at, _g.next_flush_at > now)
                .values(next_flush_at=now)
            )

    def members(self, group: str, limit: int | None = None) -> Sequence[GroupMember]:
        """The alerts in a group, by fingerprint."""
        statement = (
            sa.select(tables.alerts, _m.told)
            .join(tables.members, _m.fingerprint == _a.fingerprint)
            .where(_m.group_id == group)
            .order_by(_a.fingerprint)
            .limit(limit)
        )
        return [GroupMember(known_of(row), Told(row["told"])) for row in self._rows(statement)]

    def firing_count(self, group: str) -> int:
        """How many of a group go on."""
        statement = (
            sa.select(sa.func.count())
            .select_from(tables.members)
            .join(tables.alerts, _m.fingerprint == _a.fingerprint)
            .where(_m.group_id == group, _a.is_firing)
        )
        found: int = self.connection.execute(statement).scalar_one()
        return found

    def memberships(self) -> Iterator[tuple[str, str]]:
        """Every group and alert in it."""
        for row in self.connection.execute(sa.select(_m.group_id, _m.fingerprint)):
            yield row.group_id, row.fingerprint

    def join(self, members: Sequence[tuple[str, str]]) -> None:
        """Put alerts into groups (group, fingerprint); those that are there stay as they are."""
        rows = [
            {"group_id": group, "fingerprint": name, "told": Told.NOTHING.value}
            for group, name in dict.fromkeys(members)
        ]
        _JOIN.run(self.connection, rows)

    def leave(self, members: Sequence[tuple[str, str]]) -> None:
        """Take alerts out of groups."""
        if members:
            self.connection.execute(_LEAVE, [{"g": group, "f": name} for group, name in members])

    def put_told(self, group: str, told: Mapping[str, Told]) -> None:
        """Keep what people know of members."""
        if told:
            self.connection.execute(_PUT_TOLD, [{"g": group, "f": name, "t": one.value} for name, one in told.items()])

    def _rows(self, statement: sa.Select[*tuple[Any, ...]]) -> list[Row]:
        return [dict(row) for row in self.connection.execute(statement).mappings()]


def alert_of(row: Row) -> Alert:
    """What a row says."""
    return Alert(
        fingerprint=row["fingerprint"],
        key=row["key"],
        labels=row["labels"],
        annotations=row["annotations"],
        starts_at=row["starts_at"],
        ends_at=row["ends_at"],
        is_timeout=row["is_timeout"],
        updated_at=row["updated_at"],
        source=row["source"],
        generator_url=row["generator_url"],
        traceparent=row["traceparent"],
    )


def known_of(row: Row) -> KnownAlert:
    """What a row says, and whether it goes on."""
    return KnownAlert(alert_of(row), row["is_firing"])


def group_of(row: Row) -> Group:
    """What a row says."""
    reason = row["last_reason"]
    return Group(
        id=row["id"],
        route=row["route"],
        labels=row["labels"],
        created_at=row["created_at"],
        next_flush_at=row["next_flush_at"],
        notified_at=row["notified_at"],
        was_looked_at=row["was_looked_at"],
        last_reason=FlushReason(reason) if reason else None,
    )


def _alert_row(known: KnownAlert) -> dict[str, Any]:
    alert = known.alert
    return {
        "fingerprint": alert.fingerprint,
        "key": alert.key,
        "labels": dict(alert.labels),
        "annotations": dict(alert.annotations),
        "starts_at": alert.starts_at,
        "ends_at": alert.ends_at,
        "is_timeout": alert.is_timeout,
        "is_firing": known.is_firing,
        "updated_at": alert.updated_at,
        "source": alert.source,
        "generator_url": alert.generator_url,
        "traceparent": alert.traceparent,
    }


def _group_row(group: Group) -> dict[str, Any]:
    return {
        "id": group.id,
        "route": group.route,
        "labels": dict(group.labels),
        "created_at": group.created_at,
        "next_flush_at": group.next_flush_at,
        "notified_at": group.notified_at,
        "was_looked_at": group.was_looked_at,
        "last_reason": group.last_reason.value if group.last_reason else "",
    }
