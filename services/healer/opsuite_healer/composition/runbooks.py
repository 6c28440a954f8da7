"""Builds the part `runbooks`: work of several steps, with people in it where they are wanted."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime

from opsuite.healer.v1 import runbook_service_pb2_grpc
from opsuite_healer.adapters.runbooks import tables
from opsuite_healer.adapters.runbooks.conditions import holds, names_in
from opsuite_healer.adapters.runbooks.observing import Observing
from opsuite_healer.adapters.runbooks.queries import Queries
from opsuite_healer.adapters.runbooks.runbook_api import RunbookServicer
from opsuite_healer.adapters.runbooks.transaction import SqlRunbooks
from opsuite_healer.adapters.runbooks.watches import Watches
from opsuite_healer.adapters.unit import PartStore, SqlUnit
from opsuite_healer.application.actions import Actions
from opsuite_healer.application.incident_book import IncidentBook
from opsuite_healer.application.runbook_runner import RunbookRunner
from opsuite_healer.application.runbooks.catalogue import Catalogue
from opsuite_healer.application.runbooks.executor import Executor
from opsuite_healer.application.runbooks.ports import PART
from opsuite_healer.application.runbooks.steering import Steering
from opsuite_healer.composition.house import House, Part
from opsuite_healer.domain.runbooks.rules import violations
from opsuite_healer.domain.runbooks.runbook import Runbook
from opsuite_kernel.errors import Violation
from opsuite_rpc.server import Service
from opsuite_runs.attending import Attendants
from opsuite_runs.claims import SqlClaims
from opsuite_runs.keeper import LeaseKeeper
from opsuite_runs.lease import Leases


@dataclass(frozen=True, slots=True)
class Runbooks:
    """The part, and what others use of it."""

    part: Part
    runner: RunbookRunner


def runbooks(house: House, actions: Actions, book_of: Callable[[SqlUnit], IncidentBook]) -> Runbooks:
    """Build it."""
    store = house.store.part(lambda unit: SqlRunbooks(unit, book_of(unit)))
    queries, steering = Queries(house.database, house.pages), Steering(store)
    servicer = RunbookServicer(Catalogue(store, _judge(actions)), steering, queries, Watches(steering, house.feeds))
    attendants, keeper = _attendants(house, store, actions)
    house.store.on_nudge(PART, lambda run: attendants.nudge(run) if run else attendants.wake())

    async def recover() -> None:
        house.stack.push_async_callback(attendants.close)
        await attendants.recover()

    async def tidy(now: datetime) -> None:
        await queries.forget_before(now - house.settings.keep_history)

    part = Part(
        services=(
            Service(
                servicer,
                runbook_service_pb2_grpc.add_RunbookServiceServicer_to_server,
                "opsuite.healer.v1.RunbookService",
            ),
        ),
        background=(keeper.run, attendants.watch_over),
        recover=(recover,),
        drain=(attendants.drain,),
        tidy=(tidy,),
    )
    return Runbooks(part, steering)


def _attendants(house: House, store: PartStore[SqlRunbooks], actions: Actions) -> tuple[Attendants, LeaseKeeper]:
    leases = Leases(tables.executions, lease=house.settings.lease)
    keeper = LeaseKeeper(house.database, leases, house.clock, lease=house.settings.lease, alone=house.is_alone)
    executor = Executor(
        store,
        actions,
        holds,
        leases=keeper,
        watcher=Observing(house.tracer, house.registry, house.settings.metrics_namespace),
        is_draining=lambda: attendants.is_draining,
    )
    attendants = Attendants(
        executor.attend,
        claims=SqlClaims(house.database, leases, house.owner, is_alive=lambda: tables.IS_GOING_ON),
        leases=keeper,
        poll_every=house.settings.poll_every,
        alone=house.is_alone,
    )
    keeper.on_lost = attendants.lost
    return attendants, keeper


def _judge(actions: Actions) -> Callable[[Runbook], Sequence[Violation]]:
    return lambda runbook: violations(runbook, actions.violations, names_in)
