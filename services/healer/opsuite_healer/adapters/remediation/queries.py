"""What callers read in pages, straight from the rows. Nothing is decided here."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Generic, TypeVar

import sqlalchemy as sa

from opsuite.healer.v1 import healing_policy_pb2, remediation_pb2
from opsuite_healer.adapters.remediation import tables
from opsuite_healer.adapters.remediation.brake_rows import circuit_of
from opsuite_healer.adapters.remediation.policy_messages import policy_message
from opsuite_healer.adapters.remediation.policy_rows import policy_record
from opsuite_healer.adapters.remediation.remediation_messages import circuit_message, remediation_message
from opsuite_healer.adapters.remediation.remediation_rows import attempt_of, decision_of, remediation_of
from opsuite_healer.domain.remediation.remediation import MOST_DECISIONS, State
from opsuite_kernel.clock import Clock
from opsuite_storage.filters import Field, Kind, condition
from opsuite_storage.order import Key
from opsuite_storage.pages import Listing, Pages
from opsuite_storage.store import Store

_p, _r, _c = tables.policies.c, tables.remediations.c, tables.circuits.c
REMEDIATION_FIELDS: Final[Mapping[str, Field]] = {
    "incident": Field(sa.literal("incidents/") + _r.incident, Kind.TEXT),
    "issue": Field(_r.issue, Kind.TEXT),
    "target": Field(_r.target, Kind.TEXT),
    "policy": Field(sa.literal("healingPolicies/") + _r.policy, Kind.TEXT),
    "state": Field(_r.state, Kind.ENUM, names={one.value: one.value for one in State}),
    "reason": Field(_r.reason, Kind.TEXT),
    "requested_by": Field(_r.requested_by, Kind.TEXT),
    "create_time": Field(_r.created_at, Kind.TIMESTAMP),
}
CIRCUIT_FIELDS: Final[Mapping[str, Field]] = {
    "target": Field(_c.target, Kind.TEXT),
    "action": Field(_c.action, Kind.TEXT),
}
M = TypeVar("M")


@dataclass(frozen=True, slots=True)
class PageOf(Generic[M]):
    """Some messages, and the token of the page after them."""

    items: Sequence[M]
    next_token: str


class Queries:
    """Reads for the contract."""

    def __init__(self, database: Store, pages: Pages, clock: Clock) -> None:
        self._database = database
        self._pages = pages
        self._clock = clock

    async def policies(self, *, token: str, size: int) -> PageOf[healing_policy_pb2.HealingPolicy]:
        """A page of policies, by name. Raises InvalidInput."""
        rows, following = await self._page(
            sa.select(tables.policies), (Key(_p.id),), Listing("healing_policies"), token, size
        )
        return PageOf([policy_message(policy_record(row)) for row in rows], following)

    async def remediations(self, *, filter_: str, token: str, size: int) -> PageOf[remediation_pb2.Remediation]:
        """A page of remediations, newest first. Raises InvalidInput."""
        statement = sa.select(tables.remediations).where(condition(filter_, REMEDIATION_FIELDS))
        listing = Listing("remediations", filter=filter_)
        rows, following = await self._page(statement, (Key(_r.id, descending=True),), listing, token, size)
        return PageOf([remediation_message(remediation_of(row)) for row in rows], following)

    async def circuits(self, *, filter_: str, token: str, size: int) -> PageOf[remediation_pb2.Circuit]:
        """A page of circuits of targets. Raises InvalidInput."""
        of_targets = sa.not_(_c.target.startswith("incidents/"))
        statement = sa.select(tables.circuits).where(of_targets, condition(filter_, CIRCUIT_FIELDS))
        listing = Listing("circuits", filter=filter_)
        rows, following = await self._page(statement, (Key(_c.target), Key(_c.action)), listing, token, size)
        now = self._clock.now()
        found = [
            circuit_message(row["target"], row["action"], circuit_of(row), row["half_open_at"], now) for row in rows
        ]
        return PageOf(found, following)

    async def remediation(self, remediation: str) -> remediation_pb2.Remediation | None:
        """A remediation with all that was tried and decided."""
        return await self._database.read(lambda connection: whole(connection, remediation))

    async def _page(
        self,
        statement: sa.Select[*tuple[Any, ...]],
        order: tuple[Key, ...],
        listing: Listing,
        token: str,
        size: int,
    ) -> tuple[list[dict[str, Any]], str]:
        page = await self._database.read(
            lambda connection: self._pages.read(
                connection, statement, order=order, listing=listing, token=token, size=size
            )
        )
        return [dict(row._mapping) for row in page.rows], page.next_token  # noqa: SLF001 - public, as `Pages` says


def whole(connection: sa.Connection, remediation: str) -> remediation_pb2.Remediation | None:
    """A remediation with all that was tried, and what was decided last."""
    found = connection.execute(sa.select(tables.remediations).where(_r.id == remediation)).mappings().one_or_none()
    if found is None:
        return None
    a, d = tables.attempts.c, tables.decisions.c
    attempts = sa.select(tables.attempts).where(a.remediation == remediation).order_by(a.number)
    decisions = sa.select(tables.decisions).where(d.remediation == remediation).order_by(d.number.desc())
    decided = connection.execute(decisions.limit(MOST_DECISIONS)).mappings().all()
    return remediation_message(
        remediation_of(dict(found)),
        [attempt_of(dict(row)) for row in connection.execute(attempts).mappings()],
        [decision_of(dict(row)) for row in decided][::-1],
    )
