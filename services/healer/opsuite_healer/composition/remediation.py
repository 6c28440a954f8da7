"""Builds the part `remediation`: what is done about an incident, within brakes."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Sequence
from contextlib import aclosing
from datetime import datetime, timedelta
from functools import partial
from typing import Final

import sqlalchemy as sa
import structlog

from opsuite.healer.v1 import healing_service_pb2_grpc
from opsuite_healer.adapters import tables as shared_tables
from opsuite_healer.adapters.remediation import tables
from opsuite_healer.adapters.remediation.healing_api import HealingServicer, Uses
from opsuite_healer.adapters.remediation.observing import Observing
from opsuite_healer.adapters.remediation.queries import Queries
from opsuite_healer.adapters.remediation.tidying import forget
from opsuite_healer.adapters.remediation.transaction import SqlRemediations
from opsuite_healer.adapters.remediation.watches import Watches
from opsuite_healer.adapters.unit import SqlUnit
from opsuite_healer.application.health_view import HealthView
from opsuite_healer.application.incident_book import IncidentBook
from opsuite_healer.application.messages import Messages
from opsuite_healer.application.names import INCIDENTS, id_of
from opsuite_healer.application.quiet import Quiet
from opsuite_healer.application.remediation.brakes import BrakesOfPeople
from opsuite_healer.application.remediation.intake import Intake
from opsuite_healer.application.remediation.looking import Looking
from opsuite_healer.application.remediation.mending import Mending
from opsuite_healer.application.remediation.policies import Policies
from opsuite_healer.application.remediation.records import PART
from opsuite_healer.application.remediation.remediations import Remediations
from opsuite_healer.composition.actions import Doing
from opsuite_healer.composition.house import House, Part
from opsuite_kernel.errors import OpsuiteError
from opsuite_rpc.server import Service
from opsuite_runs import events as event_log
from opsuite_runs.attending import Attendants
from opsuite_runs.claims import SqlClaims
from opsuite_runs.keeper import LeaseKeeper
from opsuite_runs.lease import Leases
from opsuite_runs.tokens import FEED
from opsuite_runs.watch import Batch

log = structlog.get_logger(__name__)

BATCH: Final = 256
"""Events that are taken together."""
HEARTBEAT: Final = timedelta(seconds=60)
AGAIN_SECONDS: Final = 1.0


def remediation(
    house: House,
    *,
    doing: Doing,
    health: HealthView,
    quiet: Quiet,
    book_of: Callable[[SqlUnit], IncidentBook],
    messages_of: Callable[[SqlUnit], Messages],
) -> Part:
    """Build it."""
    settings, clock = house.settings, house.clock
    store = house.store.part(lambda unit: SqlRemediations(unit, book_of(unit), messages_of(unit)))
    leases = Leases(tables.remediations, lease=settings.lease)
    keeper = LeaseKeeper(house.database, leases, clock, lease=settings.lease, alone=house.is_alone)
    observer = Observing(house.tracer, house.registry, settings.metrics_namespace)
    looking = Looking(health, quiet, doing.rollouts, clock)
    intake = Intake(store, observer, poll_every=settings.poll_every)
    mending = Mending(
        store=store,
        looking=looking,
        actions=doing.actions,
        health=health,
        leases=keeper,
        observer=observer,
        clock=clock,
        is_draining=lambda: attendants.is_draining,
    )
    attendants = Attendants(
        mending.attend,
        claims=SqlClaims(house.database, leases, house.owner, is_alive=_is_alive),
        leases=keeper,
        poll_every=settings.poll_every,
        alone=house.is_alone,
    )
    keeper.on_lost = attendants.lost

    def hear(run: str) -> None:
        if run:
            attendants.nudge(run)
        else:
            intake.wake()
            attendants.wake()

    house.store.on_nudge(PART, hear)
    house.stack.push_async_callback(attendants.close)
    servicer = HealingServicer(
        Uses(
            Policies(store, doing.actions),
            Remediations(store, looking, doing.actions, observer),
            BrakesOfPeople(store),
            doing.actions,
        ),
        Queries(house.database, house.pages, clock),
        Watches(house.store, house.feeds),
        clock,
    )

    async def tidy(now: datetime) -> None:
        await house.database.write(lambda connection: forget(connection, now - settings.keep_history))

    return Part(
        services=[
            Service(
                servicer,
                healing_service_pb2_grpc.add_HealingServiceServicer_to_server,
                "opsuite.healer.v1.HealingService",
            )
        ],
        background=[
            keeper.run,
            attendants.watch_over,
            intake.watch_over,
            lambda: _hear_of_incidents(house, intake, attendants),
        ],
        recover=[attendants.recover],
        drain=[attendants.drain],
        tidy=[tidy],
    )


def _is_alive() -> sa.ColumnElement[bool]:
    return tables.remediations.c.ended_at.is_(None)


async def _hear_of_incidents(house: House, intake: Intake, attendants: Attendants) -> None:
    """Look as soon as anything is told of an incident, here or by another replica; the poll is the safety net."""
    while not house.draining.is_set():
        try:
            await _follow(house, intake, attendants)
        except OpsuiteError as error:
            log.debug("incidents_followed_anew", why=error.message)
            await asyncio.sleep(AGAIN_SECONDS)


async def _follow(house: House, intake: Intake, attendants: Attendants) -> None:
    """Until the stream ends. Raises what `Hub.follow` does."""
    head = await house.database.read(lambda connection: event_log.head(connection, shared_tables.events))
    intake.wake()
    async with aclosing(house.hub.follow(FEED, head, max_batch=BATCH, heartbeat=HEARTBEAT)) as answers:
        async for answer in answers:
            events = answer.events if isinstance(answer, Batch) else ()
            changed = {id_of(event.resource) for event in events if event.resource.startswith(INCIDENTS)}
            if not changed:
                continue
            intake.wake(changed)
            for run in await house.database.read(partial(_of_incidents, changed)):
                attendants.nudge(run)


def _of_incidents(incidents: Collection[str], connection: sa.Connection) -> Sequence[str]:
    """Ids of the remediations of some incidents that are not over."""
    c = tables.remediations.c
    statement = sa.select(c.id).where(c.incident.in_(incidents), c.ended_at.is_(None))
    return connection.execute(statement).scalars().all()
