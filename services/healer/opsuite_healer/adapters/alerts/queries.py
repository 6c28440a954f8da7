"""What lists of alerts, groups and silences show: pages over rows, each with what keeps it quiet now."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

import sqlalchemy as sa

from opsuite.healer.v1 import alert_pb2 as pb
from opsuite_healer.adapters.alerts import tables
from opsuite_healer.adapters.alerts.messages import alert_message, group_message, silence_message
from opsuite_healer.adapters.alerts.rows import group_of, in_parts, known_of
from opsuite_healer.adapters.alerts.transaction import SqlAlertTx, silence_of
from opsuite_healer.adapters.unit import PartStore
from opsuite_healer.application.alerts.errors import AlertNotFound
from opsuite_healer.application.alerts.ports import Group, KnownAlert
from opsuite_healer.application.alerts.quieting import QuietBy, QuietNow
from opsuite_healer.domain.alerts.labels import asked_of
from opsuite_healer.domain.alerts.matching import Matcher, all_match
from opsuite_healer.domain.alerts.silences import Silence
from opsuite_storage.order import Key, beyond
from opsuite_storage.pages import Listing, Pages

SCANNED: Final = 1000
"""Rows that are read at once in search of some that match."""
MOST_SCANNED: Final = 20_000
"""Rows that one page searches; it may be short then, and still have a next one."""
MEMBERS_SHOWN: Final = 1000

_a, _g, _m, _s = tables.alerts.c, tables.groups.c, tables.members.c, tables.silences.c
_NEWEST: Final = (Key(_a.starts_at, descending=True), Key(_a.fingerprint, descending=True))
_LAST: Final = (Key(_s.ends_at, descending=True), Key(_s.id, descending=True))


@dataclass(frozen=True, slots=True)
class Listed:
    """An alert, and what keeps it quiet."""

    known: KnownAlert
    quiet: QuietBy


@dataclass(frozen=True, slots=True)
class ListedGroup:
    """A group with its alerts, by fingerprint."""

    group: Group
    receivers: Sequence[str]
    alerts: Sequence[Listed]
    firing: int
    """How many of its alerts go on, also where not all are here."""


class Queries:
    """Reads for the servicers and the HTTP face."""

    def __init__(self, store: PartStore[SqlAlertTx], pages: Pages) -> None:
        self._store = store
        self._pages = pages

    async def alert(self, fingerprint: str) -> pb.Alert:
        """An alert. Raises AlertNotFound."""

        def body(tx: SqlAlertTx) -> pb.Alert:
            known = tx.alerts([fingerprint]).get(fingerprint)
            if known is None:
                raise AlertNotFound(fingerprint)
            return _messages(tx, [known])[0]

        return await self._store.read(body)

    async def alerts(
        self, matchers: Sequence[Matcher], *, show_resolved: bool, token: str, size: int
    ) -> tuple[list[pb.Alert], str]:
        """A page of alerts, the newest first, and the token of the next one."""
        text = ",".join(str(one) for one in matchers)
        listing = Listing("alerts", filter=f"{{{text}}} {'all' if show_resolved else 'firing'}")

        def body(tx: SqlAlertTx) -> tuple[list[pb.Alert], str]:
            found, last = self._scan(tx, matchers, self._pages.position(token, listing), show_resolved, size)
            next_token = "" if last is None else self._pages.token(last, listing)
            return _messages(tx, found), next_token

        return await self._store.read(body)

    def _scan(
        self,
        tx: SqlAlertTx,
        matchers: Sequence[Matcher],
        position: Sequence[Any] | None,
        show_resolved: bool,
        size: int,
    ) -> tuple[list[KnownAlert], Sequence[Any] | None]:
        """Alerts that match, and where to go on; None: there are no more."""
        statement = sa.select(tables.alerts).order_by(*(key.clause() for key in _NEWEST)).limit(SCANNED)
        if not show_resolved:
            statement = statement.where(_a.is_firing)
        found: list[KnownAlert] = []
        for _ in range(MOST_SCANNED // SCANNED):
            page = statement if position is None else statement.where(beyond(_NEWEST, position))
            rows = tx.connection.execute(page).mappings().all()
            for row in rows:
                position = [row["starts_at"], row["fingerprint"]]
                known = known_of(row)
                if all_match(matchers, asked_of(known.alert.labels)):
                    found.append(known)
                    if len(found) == size:
                        return found, position
            if len(rows) < SCANNED:
                return found, None
        return found, position

    async def groups(self, token: str, size: int) -> tuple[list[pb.AlertGroup], str]:
        """A page of groups, by id, and the token of the next one."""
        listing = Listing("alert_groups")

        def body(tx: SqlAlertTx) -> tuple[list[pb.AlertGroup], str]:
            page = self._pages.read(
                tx.connection, sa.select(tables.groups), order=(Key(_g.id),), listing=listing, token=token, size=size
            )
            groups = [group_of(row._mapping) for row in page.rows]  # noqa: SLF001 - public in SQLAlchemy
            listed = _groups(tx, groups, MEMBERS_SHOWN)
            return [_group_message(one) for one in listed], page.next_token

        return await self._store.read(body)

    async def silences(self, *, show_expired: bool, token: str, size: int) -> tuple[list[pb.Silence], str]:
        """A page of silences, those that end last first, and the token of the next one."""
        listing = Listing("silences", filter="all" if show_expired else "current")

        def body(tx: SqlAlertTx) -> tuple[list[pb.Silence], str]:
            now = tx.unit.now()
            statement = sa.select(tables.silences)
            if not show_expired:
                statement = statement.where(_s.ends_at > now)
            page = self._pages.read(tx.connection, statement, order=_LAST, listing=listing, token=token, size=size)
            rows = [silence_of(row._mapping) for row in page.rows]  # noqa: SLF001 - public in SQLAlchemy
            return [silence_message(one, now) for one in rows], page.next_token

        return await self._store.read(body)

    async def now(self) -> datetime:
        """The database's clock."""
        return await self._store.read(lambda tx: tx.unit.now())

    # for clients of Alertmanager, which know no pages

    async def all_firing(self) -> list[tuple[Listed, Sequence[str]]]:
        """Everything that goes on, and the routes of each."""

        def body(tx: SqlAlertTx) -> list[tuple[Listed, Sequence[str]]]:
            router = tx.routing().router
            listed = _listed(tx, [KnownAlert(alert, is_firing=True) for alert in tx.firing()])
            return [
                (one, [receiver_name(way.receivers) for way in router.ways(one.known.alert.labels)]) for one in listed
            ]

        return await self._store.read(body)

    async def all_groups(self) -> list[ListedGroup]:
        """Every group with its alerts."""
        return await self._store.read(lambda tx: _groups(tx, tx.all_groups()))

    async def all_silences(self) -> tuple[list[Silence], datetime]:
        """Every silence that is kept, and the time."""

        def body(tx: SqlAlertTx) -> tuple[list[Silence], datetime]:
            rows = tx.connection.execute(sa.select(tables.silences).order_by(_s.ends_at.desc(), _s.id.desc()))
            return [silence_of(row) for row in rows.mappings()], tx.unit.now()

        return await self._store.read(body)


def receiver_name(receivers: Sequence[str]) -> str:
    """One name for all that a route tells; clients of Alertmanager know one receiver for each route."""
    return "+".join(receivers) or "none"


def _listed(tx: SqlAlertTx, known: Sequence[KnownAlert]) -> list[Listed]:
    quiet = QuietNow(tx, tx.routing().routing.inhibit_rules, tx.unit.now())
    firing = {one.alert.fingerprint: one.alert.labels for one in known if one.is_firing}
    hushed = quiet.of_all(firing)
    return [Listed(one, hushed.get(one.alert.fingerprint, QuietBy())) for one in known]


def _messages(tx: SqlAlertTx, known: Sequence[KnownAlert]) -> list[pb.Alert]:
    groups: dict[str, list[str]] = {}
    names = [one.alert.fingerprint for one in known]
    for some in in_parts(names):
        members = sa.select(_m.fingerprint, _m.group_id).where(_m.fingerprint.in_(some)).order_by(_m.group_id)
        for row in tx.connection.execute(members):
            groups.setdefault(row.fingerprint, []).append(row.group_id)
    return [
        alert_message(one.known, one.quiet, groups.get(one.known.alert.fingerprint, ())) for one in _listed(tx, known)
    ]


def _groups(tx: SqlAlertTx, groups: Sequence[Group], members_shown: int | None = None) -> list[ListedGroup]:
    """With so many members of each; None: with all."""
    router = tx.routing().router
    found = []
    for group in groups:
        way = router.all.get(group.route)
        members = _listed(tx, [one.known for one in tx.members(group.id, members_shown)])
        found.append(ListedGroup(group, way.receivers if way else (), members, tx.firing_count(group.id)))
    return found


def _group_message(listed: ListedGroup) -> pb.AlertGroup:
    shown = [alert_message(one.known, one.quiet, (listed.group.id,)) for one in listed.alerts]
    return group_message(listed.group, listed.receivers, shown, listed.firing)
