"""One transaction of the part `alerts` over SQL: alerts and groups, and beside them silences and the routing."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta
from functools import lru_cache
from typing import Any, Final

import sqlalchemy as sa

from opsuite.healer.v1 import alert_pb2 as pb
from opsuite_healer.adapters.alerts import tables
from opsuite_healer.adapters.alerts.messages import routing_from, routing_message
from opsuite_healer.adapters.alerts.rows import AlertRows, Row, Upsert
from opsuite_healer.adapters.unit import SqlUnit
from opsuite_healer.application.alerts.ports import RoutingRecord
from opsuite_healer.application.messages import Messages
from opsuite_healer.application.troubles import Troubles
from opsuite_healer.domain.alerts.inhibition import Scope
from opsuite_healer.domain.alerts.matching import Matcher, Operator
from opsuite_healer.domain.alerts.routing import Router, Routing
from opsuite_healer.domain.alerts.silences import Recurrence, Silence

_s, _r = tables.silences.c, tables.routing.c
_PUT_SILENCE: Final = Upsert(tables.silences)


class SqlAlertTx(AlertRows):
    """Fits `application.alerts.ports.AlertTx`."""

    def __init__(self, unit: SqlUnit, troubles: Troubles, messages: Messages) -> None:
        super().__init__(unit.connection)
        self.unit = unit
        self.troubles = troubles
        self.messages = messages

    # the routing

    def routing(self, *, lock: bool = False) -> RoutingRecord:
        """The routing in use."""
        statement = sa.select(tables.routing)
        row = self.connection.execute(statement.with_for_update() if lock else statement).mappings().one()
        return RoutingRecord(_router(row["document"]), row["number"], row["updated_at"], row["updated_by"])

    def put_routing(self, routing: Routing, number: int, by: str) -> None:
        """Use another one."""
        document = routing_message(routing).SerializeToString(deterministic=True)
        values = {"document": document, "number": number, "updated_at": self.unit.now(), "updated_by": by}
        self.connection.execute(sa.update(tables.routing).values(values))

    # silences

    def silence(self, silence: str, *, lock: bool = False) -> Silence | None:
        """A silence by its id."""
        statement = sa.select(tables.silences).where(_s.id == silence)
        found = self._silences(statement.with_for_update() if lock else statement)
        return found[0] if found else None

    def put_silence(self, silence: Silence) -> None:
        """Keep it as it is now."""
        _PUT_SILENCE.run(self.connection, [_row_of(silence)])

    def current_silences(self, now: datetime) -> Sequence[Silence]:
        """Those that have begun and have not ended."""
        current = sa.select(tables.silences).where(_s.ends_at > now, _s.starts_at <= now)
        return self._silences(current.order_by(_s.id))

    def ended_silences(self, now: datetime) -> Sequence[Silence]:
        """Those that have ended, of which that was not told yet."""
        return self._silences(sa.select(tables.silences).where(~_s.is_end_told, _s.ends_at <= now).order_by(_s.id))

    def end_is_told(self, silences: Iterable[str]) -> None:
        """That they ended was told."""
        self.connection.execute(sa.update(tables.silences).where(_s.id.in_(list(silences))).values(is_end_told=True))

    def has_matched(self, silences: Iterable[str], now: datetime) -> None:
        """They match something that goes on."""
        self.connection.execute(sa.update(tables.silences).where(_s.id.in_(list(silences))).values(matched_at=now))

    # what comes

    def next_due(self) -> datetime | None:
        """When there will be something to look at."""
        alerts, groups = tables.alerts.c, tables.groups.c
        firsts = (
            sa.select(sa.func.min(groups.next_flush_at)),
            sa.select(sa.func.min(alerts.ends_at)).where(alerts.is_firing),
            sa.select(sa.func.min(_s.ends_at)).where(~_s.is_end_told),
        )
        found = [moment for first in firsts if (moment := self.connection.execute(first).scalar_one()) is not None]
        return min(found, default=None)

    def _silences(self, statement: sa.Select[*tuple[Any, ...]]) -> list[Silence]:
        return [silence_of(row) for row in self.connection.execute(statement).mappings()]


@lru_cache(maxsize=8)
def _router(document: bytes) -> Router:
    """Made once for each routing; the empty one is the built-in one."""
    return Router(routing_from(pb.Routing.FromString(document)) if document else Routing())


def silence_of(row: Row) -> Silence:
    """What a row says."""
    recurrence, unmatched = row["recurrence"], row["unmatched_seconds"]
    return Silence(
        id=row["id"],
        matchers=tuple(Matcher(label, Operator(operator), value) for label, operator, value in row["matchers"]),
        starts_at=row["starts_at"],
        ends_at=row["ends_at"],
        author=row["author"],
        comment=row["comment"],
        scope=Scope(row["scope"]),
        recurrence=None
        if recurrence is None
        else Recurrence(recurrence["cron"], timedelta(seconds=recurrence["seconds"]), recurrence["zone"]),
        unmatched_for=None if unmatched is None else timedelta(seconds=unmatched),
        created_at=row["created_at"],
        updated_at=row["updated_at"],
        matched_at=row["matched_at"],
        end_reason=row["end_reason"],
        number=row["number"],
    )


def _row_of(silence: Silence) -> dict[str, Any]:
    recurrence = silence.recurrence
    return {
        "id": silence.id,
        "matchers": [[one.label, one.operator.value, one.value] for one in silence.matchers],
        "starts_at": silence.starts_at,
        "ends_at": silence.ends_at,
        "author": silence.author,
        "comment": silence.comment,
        "scope": silence.scope.value,
        "recurrence": None
        if recurrence is None
        else {
            "cron": recurrence.cron,
            "seconds": recurrence.duration.total_seconds(),
            "zone": recurrence.time_zone,
        },
        "unmatched_seconds": None if silence.unmatched_for is None else silence.unmatched_for.total_seconds(),
        "created_at": silence.created_at,
        "updated_at": silence.updated_at,
        "matched_at": silence.matched_at,
        "end_reason": silence.end_reason,
        "number": silence.number,
        "is_end_told": False,
    }
