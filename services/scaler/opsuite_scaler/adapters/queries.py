"""What callers read in pages, straight from the rows. Nothing is decided here."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final, Generic, TypeVar

import sqlalchemy as sa

from opsuite.scaler.v1 import decision_pb2, metrics_service_pb2, policy_pb2, pool_service_pb2
from opsuite_rpc.values import timestamp
from opsuite_scaler.adapters import tables
from opsuite_scaler.adapters.activity_rows import activity_of
from opsuite_scaler.adapters.decision_messages import activity_message
from opsuite_scaler.adapters.policy_names import POLICIES, POOLS
from opsuite_scaler.adapters.pool_rows import pool_of
from opsuite_scaler.application.errors import PolicyNotFound
from opsuite_scaler.application.records import Cause, PolicyRecord, PoolRecord, Result
from opsuite_scaler.domain.decision import Verdict
from opsuite_storage.filters import Field, Kind, condition
from opsuite_storage.order import Key
from opsuite_storage.pages import Listing, Pages
from opsuite_storage.store import Store

_p, _a, _o, _x = tables.policies.c, tables.activities.c, tables.pools.c, tables.points.c
ANY: Final = "-"
"""Stands for all policies in a parent."""

POLICY_FIELDS: Final[Mapping[str, Field]] = {
    "uid": Field(_p.id, Kind.TEXT),
    "target": Field(_p.target, Kind.TEXT),
    "pool": Field(_p.pool, Kind.TEXT),
    "created_by": Field(_p.created_by, Kind.TEXT),
    "create_time": Field(_p.created_at, Kind.TIMESTAMP),
    "update_time": Field(_p.updated_at, Kind.TIMESTAMP),
}
ACTIVITY_FIELDS: Final[Mapping[str, Field]] = {
    "policy": Field(_a.policy, Kind.TEXT),
    "verdict": Field(_a.verdict, Kind.ENUM, names={one.name: one.name for one in Verdict}),
    "cause": Field(_a.cause, Kind.ENUM, names={one.value: one.value for one in Cause}),
    "outcome": Field(_a.outcome, Kind.ENUM, names={one.value: one.value for one in Result}),
    "reason": Field(_a.reason, Kind.TEXT),
    "actor": Field(_a.actor, Kind.TEXT),
    "current_replicas": Field(_a.current, Kind.INTEGER),
    "desired_replicas": Field(_a.desired, Kind.INTEGER),
    "start_time": Field(_a.started_at, Kind.TIMESTAMP),
    "last_time": Field(_a.last_at, Kind.TIMESTAMP),
}
_SHORT: Final = sa.select(*(column for column in _a if column.name != "explanation"))
"""Activities without their explanations, which no page shows."""

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

    async def policies(self, *, filter_: str, token: str, size: int) -> PageOf[policy_pb2.ScalingPolicy]:
        """A page of policies, by name. Raises InvalidInput."""
        statement = sa.select(tables.policies).where(condition(filter_, POLICY_FIELDS))
        rows, next_token = await self._page(statement, Key(_p.id), Listing("policies", "", filter_), token, size)
        return PageOf([policy_message(row) for row in rows], next_token)

    async def activities(
        self, policy: str, *, filter_: str, token: str, size: int
    ) -> PageOf[decision_pb2.ScalingActivity]:
        """A page of activities, newest first. Raises InvalidInput, PolicyNotFound."""
        statement = _SHORT.where(condition(filter_, ACTIVITY_FIELDS))
        if policy != ANY:
            await self._require(policy)
            statement = statement.where(_a.policy == policy)
        listing = Listing("activities", policy, filter_)
        rows, next_token = await self._page(statement, Key(_a.id, descending=True), listing, token, size)
        return PageOf([activity_message(activity_of(row)) for row in rows], next_token)

    async def pools(self, *, token: str, size: int) -> PageOf[pool_service_pb2.CapacityPool]:
        """A page of pools, by name. Raises InvalidInput."""
        rows, next_token = await self._page(sa.select(tables.pools), Key(_o.id), Listing("pools"), token, size)
        return PageOf([pool_message(pool_of(row)) for row in rows], next_token)

    async def points(self, metrics: Sequence[str], *, token: str, size: int) -> PageOf[metrics_service_pb2.MetricPoint]:
        """A page of the last points that were handed in, by metric and member. Raises InvalidInput."""
        statement = sa.select(tables.points)
        if metrics:
            statement = statement.where(_x.metric.in_(metrics))
        listing = Listing("points", filter="\n".join(metrics))
        rows, next_token = await self._page(statement, (Key(_x.metric), Key(_x.member)), listing, token, size)
        return PageOf([point_message(row) for row in rows], next_token)

    async def _page(
        self,
        statement: sa.Select[*tuple[Any, ...]],
        order: Key | tuple[Key, ...],
        listing: Listing,
        token: str,
        size: int,
    ) -> tuple[list[dict[str, Any]], str]:
        keys = order if isinstance(order, tuple) else (order,)
        page = await self._store.read(
            lambda connection: self._pages.read(
                connection, statement, order=keys, listing=listing, token=token, size=size
            )
        )
        return [dict(row._mapping) for row in page.rows], page.next_token  # noqa: SLF001 - public, as `Pages` says

    async def _require(self, policy: str) -> None:
        statement = sa.select(_p.id).where(_p.id == policy)
        if await self._store.read(lambda connection: connection.execute(statement).first()) is None:
            raise PolicyNotFound(policy)


def policy_message(row: Mapping[str, Any]) -> policy_pb2.ScalingPolicy:
    """A policy as it was given, with what the server knows of it."""
    message = policy_pb2.ScalingPolicy.FromString(row["document"])
    message.name = POLICIES + row["id"]
    message.etag = str(row["number"])
    message.created_by = row["created_by"]
    message.create_time.FromDatetime(row["created_at"])
    message.update_time.FromDatetime(row["updated_at"])
    return message


def recorded_message(record: PolicyRecord, mode: policy_pb2.ModeSetting) -> policy_pb2.ScalingPolicy:
    """The same of a policy that was just read or written."""
    message = policy_message(
        {
            "document": record.document,
            "id": record.id,
            "number": record.number,
            "created_by": record.created_by,
            "created_at": record.created_at,
            "updated_at": record.updated_at,
        }
    )
    message.mode.CopyFrom(mode)
    return message


def pool_message(record: PoolRecord) -> pool_service_pb2.CapacityPool:
    """A pool without its shares."""
    return pool_service_pb2.CapacityPool(
        name=POOLS + record.id,
        capacity=record.capacity,
        description=record.description,
        etag=record.etag,
        create_time=timestamp(record.created_at),
        update_time=timestamp(record.updated_at),
    )


def point_message(row: Mapping[str, Any]) -> metrics_service_pb2.MetricPoint:
    """A point."""
    at: datetime = row["time"]
    return metrics_service_pb2.MetricPoint(
        metric=row["metric"], member=row["member"], value=row["value"], time=timestamp(at)
    )
