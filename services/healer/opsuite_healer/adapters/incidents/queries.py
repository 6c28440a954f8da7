"""What callers read of incidents in pages, straight from the rows. Nothing is decided here."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final, Generic, TypeVar

import sqlalchemy as sa

from opsuite.healer.v1 import escalation_pb2, incident_pb2
from opsuite.healer.v1 import incident_service_pb2 as pb
from opsuite_healer.adapters.incidents import tables
from opsuite_healer.adapters.incidents.escalation_messages import (
    policy_record_message,
    receiver_message,
    receiver_name,
)
from opsuite_healer.adapters.incidents.incident_messages import entry_message, incident_message
from opsuite_healer.adapters.incidents.incident_rows import entry_of, incident_of
from opsuite_healer.adapters.incidents.receiver_rows import policy_record_of, receiver_of
from opsuite_healer.application.incidents.errors import IncidentNotFound
from opsuite_healer.application.names import ANY, INCIDENTS
from opsuite_healer.domain.incidents.incident import Resolver, Status
from opsuite_healer.domain.incidents.statistics import Sample
from opsuite_healer.domain.trouble import Severity
from opsuite_notify.outbox import DeliveryStatus
from opsuite_rpc.values import timestamp
from opsuite_storage.filters import ORDERING, Field, Kind, condition
from opsuite_storage.order import Key
from opsuite_storage.pages import Listing, Pages
from opsuite_storage.store import Store

MOST_COUNTED: Final = 100_000
"""Incidents that statistics look at."""

_i, _e, _o = tables.incidents.c, tables.incident_entries.c, tables.outbox.c

FIELDS: Final[Mapping[str, Field]] = {
    "status": Field(_i.status, Kind.ENUM, names={one.name: one.value for one in Status}),
    "severity": Field(_i.severity, Kind.ENUM, operators=ORDERING, names={one.name: one.value for one in Severity}),
    "issue": Field(_i.issue, Kind.TEXT),
    "key": Field(_i.key, Kind.TEXT),
    "target": Field(_i.target, Kind.TEXT),
    "summary": Field(_i.summary, Kind.TEXT),
    "source": Field(_i.source, Kind.TEXT),
    "acknowledged_by": Field(_i.acknowledged_by, Kind.TEXT),
    "resolved_by": Field(_i.resolved_by, Kind.ENUM, names={one.name: one.value for one in Resolver}),
    "resolver": Field(_i.resolver, Kind.TEXT),
    "remediation": Field(_i.remediation, Kind.TEXT),
    "open_time": Field(_i.opened_at, Kind.TIMESTAMP),
    "last_seen_time": Field(_i.last_seen_at, Kind.TIMESTAMP),
    "resolve_time": Field(_i.resolved_at, Kind.TIMESTAMP),
}
"""What incidents can be filtered by."""

MESSAGE_STATUSES: Final = {
    DeliveryStatus.PENDING.value: pb.MESSAGE_STATUS_PENDING,
    DeliveryStatus.SENT.value: pb.MESSAGE_STATUS_SENT,
    DeliveryStatus.FAILED.value: pb.MESSAGE_STATUS_FAILED,
    DeliveryStatus.WITHDRAWN.value: pb.MESSAGE_STATUS_WITHDRAWN,
}

M = TypeVar("M")


@dataclass(frozen=True, slots=True)
class PageOf(Generic[M]):
    """Some messages, and the token of the page after them."""

    items: Sequence[M]
    next_token: str


class Queries:
    """Reads for the contract."""

    def __init__(self, store: Store, pages: Pages) -> None:
        self._store = store
        self._pages = pages

    async def incidents(self, *, filter_: str, token: str, size: int) -> PageOf[incident_pb2.Incident]:
        """A page of incidents, the newest first. Raises InvalidInput."""
        statement = sa.select(tables.incidents).where(condition(filter_, FIELDS))
        order = (Key(_i.opened_at, descending=True), Key(_i.id, descending=True))
        rows, following = await self._page(statement, order, Listing("incidents", "", filter_), token, size)
        return PageOf([incident_message(incident_of(row)) for row in rows], following)

    async def timeline(self, incident: str, *, token: str, size: int) -> PageOf[incident_pb2.TimelineEntry]:
        """A page of a timeline, in order. Raises InvalidInput, IncidentNotFound."""
        is_there = sa.select(_i.id).where(_i.id == incident)
        if await self._store.read(lambda connection: connection.execute(is_there).first()) is None:
            raise IncidentNotFound(incident)
        statement = sa.select(tables.incident_entries).where(_e.incident == incident)
        listing = Listing("timeline", incident)
        rows, following = await self._page(statement, (Key(_e.sequence),), listing, token, size)
        return PageOf([entry_message(entry_of(row), row["sequence"]) for row in rows], following)

    async def messages(self, parent: str, *, token: str, size: int) -> PageOf[pb.SentMessage]:
        """A page of messages about an incident, or all, the newest first. Raises InvalidInput."""
        is_all = parent == f"{INCIDENTS}{ANY}"
        about = _o.about.startswith(INCIDENTS) if is_all else _o.about == parent
        statement = sa.select(tables.outbox).where(about)
        order = (Key(_o.created_at, descending=True), Key(_o.id, descending=True))
        rows, following = await self._page(statement, order, Listing("messages", parent), token, size)
        return PageOf([_sent_message(row) for row in rows], following)

    async def receivers(self, *, token: str, size: int) -> PageOf[escalation_pb2.Receiver]:
        """A page of receivers, by name. Raises InvalidInput."""
        statement, order = sa.select(tables.receivers), (Key(tables.receivers.c.id),)
        rows, following = await self._page(statement, order, Listing("receivers"), token, size)
        return PageOf([receiver_message(receiver_of(row)) for row in rows], following)

    async def policies(self, *, token: str, size: int) -> PageOf[escalation_pb2.EscalationPolicy]:
        """A page of escalation policies, by name. Raises InvalidInput."""
        statement, order = sa.select(tables.escalation_policies), (Key(tables.escalation_policies.c.id),)
        rows, following = await self._page(statement, order, Listing("escalationPolicies"), token, size)
        return PageOf([policy_record_message(policy_record_of(row)) for row in rows], following)

    async def samples(self, *, filter_: str, start: datetime, end: datetime) -> tuple[Sequence[Sample], bool]:
        """Incidents opened in a time, for statistics, and whether there were more. Raises InvalidInput."""
        statement = (
            sa.select(
                _i.issue,
                _i.severity,
                _i.opened_at,
                _i.first_acknowledged_at,
                _i.resolved_at,
                _i.resolved_by,
                _i.begun_at,
            )
            .where(condition(filter_, FIELDS), _i.opened_at >= start, _i.opened_at < end)
            .order_by(_i.opened_at.desc())
            .limit(MOST_COUNTED + 1)
        )
        rows = await self._store.read(lambda connection: connection.execute(statement).all())
        samples = [
            Sample(
                row.issue,
                Severity(row.severity),
                row.opened_at,
                row.first_acknowledged_at,
                row.resolved_at,
                Resolver(row.resolved_by) if row.resolved_by else None,
                is_escalated=row.begun_at is not None,
            )
            for row in rows[:MOST_COUNTED]
        ]
        return samples, len(rows) > MOST_COUNTED

    async def _page(
        self,
        statement: sa.Select[*tuple[Any, ...]],
        order: tuple[Key, ...],
        listing: Listing,
        token: str,
        size: int,
    ) -> tuple[list[dict[str, Any]], str]:
        page = await self._store.read(
            lambda connection: self._pages.read(
                connection, statement, order=order, listing=listing, token=token, size=size
            )
        )
        return [dict(row._mapping) for row in page.rows], page.next_token  # noqa: SLF001 - public, as `Pages` says


def _sent_message(row: Mapping[str, Any]) -> pb.SentMessage:
    return pb.SentMessage(
        about=row["about"],
        receiver=receiver_name(row["channel_name"]),
        event=row["message"]["event"],
        title=row["message"]["title"],
        status=MESSAGE_STATUSES[row["status"]],
        attempts=row["attempts"],
        error=row["last_error"],
        create_time=timestamp(row["created_at"]),
        next_time=timestamp(row["next_attempt_at"]),
        end_time=timestamp(row["finished_at"]),
    )
