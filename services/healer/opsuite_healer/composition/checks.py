"""Builds the part `checks`: what is healthy, and what is not."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from typing import Final

import sqlalchemy as sa

from opsuite.healer.v1 import health_check_service_pb2_grpc
from opsuite_healer.adapters.checks import tables
from opsuite_healer.adapters.checks.commands import Commands
from opsuite_healer.adapters.checks.health_check_api import HealthCheckServicer
from opsuite_healer.adapters.checks.observing import Observing
from opsuite_healer.adapters.checks.queries import Queries
from opsuite_healer.adapters.checks.recorder import LastAnswers
from opsuite_healer.adapters.checks.replica_states import ReplicaStates
from opsuite_healer.adapters.checks.tidying import clear_events
from opsuite_healer.adapters.checks.transaction import SpecCache, SqlChecks
from opsuite_healer.adapters.checks.watches import Watches
from opsuite_healer.adapters.checks.world import AskingWorld
from opsuite_healer.adapters.unit import SqlUnit
from opsuite_healer.application.checks.checks import ALL, PART
from opsuite_healer.application.checks.checks import Checks as CheckCases
from opsuite_healer.application.checks.health import StoredHealth
from opsuite_healer.application.checks.looks import Looks
from opsuite_healer.application.checks.rounds import Rounds
from opsuite_healer.application.health_view import HealthView
from opsuite_healer.application.troubles import Troubles
from opsuite_healer.composition.house import House, Part
from opsuite_probes.prober import NetworkProber
from opsuite_rpc.server import Service
from opsuite_runs.attending import Attendants
from opsuite_runs.background import repeat
from opsuite_runs.claims import SqlClaims
from opsuite_runs.keeper import LeaseKeeper
from opsuite_runs.lease import Leases

WRITE_LAST_ANSWERS_EVERY: Final = timedelta(seconds=5)


@dataclass(frozen=True, slots=True)
class Checks:
    """The part, and what others use of it."""

    part: Part
    health: HealthView


def checks(house: House, troubles_of: Callable[[SqlUnit], Troubles]) -> Checks:
    """Build it."""
    specs = SpecCache()

    def transaction(unit: SqlUnit) -> SqlChecks:
        return SqlChecks(unit, troubles_of(unit), specs)

    store = house.store.part(transaction)
    commands = Commands(house.spawner, house.commands)
    world = _world(house, commands)
    observing = Observing(house.tracer, house.registry, house.settings.metrics_namespace)
    answers = LastAnswers(house.database)
    looks = Looks(store=store, world=world, recorder=answers, watcher=observing, clock=house.clock)
    attendants, keeper = _attendants(house, looks)
    observing.attended.set_function(lambda: attendants.count)
    house.store.on_nudge(PART, lambda run: _hear(attendants, keeper, run))
    servicer = HealthCheckServicer(
        CheckCases(store, world, commands.judge, house.clock),
        Queries(house.database, house.pages, specs),
        Watches(house.store, transaction, house.feeds),
    )
    part = Part(
        services=[
            Service(
                servicer,
                health_check_service_pb2_grpc.add_HealthCheckServiceServicer_to_server,
                "opsuite.healer.v1.HealthCheckService",
            )
        ],
        background=[
            keeper.run,
            attendants.watch_over,
            lambda: repeat(WRITE_LAST_ANSWERS_EVERY, answers.flush),
        ],
        recover=[attendants.recover],
        drain=[lambda: _let_go(attendants, keeper), attendants.close, answers.flush],
        tidy=[lambda now: clear_events(house.database, now - house.settings.keep_results)],
    )
    return Checks(part, StoredHealth(store, ReplicaStates(house.workloads, house.clock)))


def _world(house: House, commands: Commands) -> AskingWorld:
    prober = NetworkProber(commands=commands.ask, clock=house.clock)
    house.stack.push_async_callback(prober.close)
    return AskingWorld(
        prober=prober,
        workloads=house.workloads,
        commands=commands,
        secrets=house.secrets,
        prometheus_url=house.settings.prometheus_url,
        clock=house.clock,
    )


def _attendants(house: House, looks: Looks) -> tuple[Attendants, LeaseKeeper]:
    """One attendant for each check, and what keeps their leases."""
    leases = Leases(tables.checks, lease=house.settings.lease)
    keeper = LeaseKeeper(house.database, leases, house.clock, lease=house.settings.lease, alone=house.is_alone)
    rounds = Rounds(
        looks,
        house.clock,
        at_once=house.settings.checks_at_once,
        is_draining=lambda: attendants.is_draining,
    )
    attendants = Attendants(
        rounds.attend,
        claims=SqlClaims(house.database, leases, house.owner, is_alive=sa.true),
        leases=keeper,
        poll_every=house.settings.poll_every,
        alone=house.is_alone,
    )
    keeper.on_lost = attendants.lost
    return attendants, keeper


async def _let_go(attendants: Attendants, keeper: LeaseKeeper) -> None:
    """Give every check back, without waiting for answers: one that is lost is asked for again by whoever is next."""
    for lease in keeper.held():
        attendants.lost(lease)
    await attendants.drain()


def _hear(attendants: Attendants, keeper: LeaseKeeper, run: str) -> None:
    """Somebody wants a check to look; of all, or when nobody knows which, every one reads its row anew and looks.

    A look that changes nothing is not written, so what was done to a row has to be heard of.
    """
    if run in {ALL, ""}:
        for lease in keeper.held():
            attendants.nudge(lease.run)
        attendants.wake()
    else:
        attendants.nudge(run)
