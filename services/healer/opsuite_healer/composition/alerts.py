"""Builds the part `alerts`: what is told together, and what is kept quiet."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial
from typing import Final

import structlog
from prometheus_client import Counter

from opsuite.healer.v1.alert_service_pb2_grpc import add_AlertServiceServicer_to_server
from opsuite.healer.v1.silence_service_pb2_grpc import add_SilenceServiceServicer_to_server
from opsuite_healer.adapters import tables
from opsuite_healer.adapters.alerts.alert_api import AlertServicer
from opsuite_healer.adapters.alerts.http.face import AlertsFace
from opsuite_healer.adapters.alerts.http.guard import Guard
from opsuite_healer.adapters.alerts.queries import Queries
from opsuite_healer.adapters.alerts.silence_api import SilenceServicer
from opsuite_healer.adapters.alerts.tidying import tidy
from opsuite_healer.adapters.alerts.transaction import SqlAlertTx
from opsuite_healer.adapters.unit import SqlUnit
from opsuite_healer.application.alerts.alerts import Alerting
from opsuite_healer.application.alerts.flushing import Flushing, Forgetting
from opsuite_healer.application.alerts.lookout import Lookout
from opsuite_healer.application.alerts.quieting import AlertQuiet
from opsuite_healer.application.alerts.silencing import Silencing
from opsuite_healer.application.alerts.telling import PART, TellingTroubles
from opsuite_healer.application.alerts.writing import Writing
from opsuite_healer.application.quiet import Quiet
from opsuite_healer.application.troubles import Troubles
from opsuite_healer.composition.house import House, Part
from opsuite_healer.composition.incidents import Incidents
from opsuite_rpc.access import AccessControl
from opsuite_rpc.served import access_control, server_settings
from opsuite_rpc.server import Service
from opsuite_rpc.trail import AuditTrail
from opsuite_runs.audit_log import SqlAuditLog
from opsuite_runs.background import repeat

log = structlog.get_logger(__name__)

LISTEN: Final = "127.0.0.1:7603"
NOWHERE: Final = "off"
RELOAD_EVERY: Final = timedelta(seconds=10)


@dataclass(frozen=True, slots=True)
class Alerts:
    """The part, and what others use of it."""

    part: Part
    troubles_of: Callable[[SqlUnit], Troubles]
    """Keeps an alert for each trouble and passes it on to incidents."""
    quiet: Quiet
    face: AlertsFace
    """Where Prometheus and clients of Alertmanager come."""
    transaction: Callable[[SqlUnit], SqlAlertTx]


def alerts(house: House, incidents: Incidents) -> Alerts:
    """Build it."""

    def transaction(unit: SqlUnit) -> SqlAlertTx:
        return SqlAlertTx(unit, incidents.troubles_of(unit), incidents.messages_of(unit))

    store = house.store.part(transaction)
    queries = Queries(store, house.pages)
    alerting, silencing = Alerting(store), Silencing(store)
    lookout = _lookout(house, Flushing(store, Writing(house.settings.public_url)), Forgetting(store))
    house.store.on_nudge(PART, lookout.hear)
    access = access_control(house.settings, house.settings.data_dir, house.clock)
    trail = AuditTrail(SqlAuditLog(house.database, tables.audit, house.clock), house.clock)
    guard = Guard(access, trail, house.tracer, house.clock)
    tls = server_settings(house.settings, ())
    face = AlertsFace(alerting, silencing, queries, guard, house.clock, tls.version)

    async def listen() -> None:
        if house.settings.alerts_listen == NOWHERE:
            return
        house.stack.push_async_callback(trail.close)
        await face.start(house.settings.alerts_listen or LISTEN, tls.tls)
        house.stack.push_async_callback(face.close)
        log.info("alerts_listening", address=face.address)

    async def clear_away(now: datetime) -> None:
        await tidy(house.database, house.settings.keep_history, now)

    part = Part(
        services=(
            Service(
                AlertServicer(alerting, queries), add_AlertServiceServicer_to_server, "opsuite.healer.v1.AlertService"
            ),
            Service(
                SilenceServicer(silencing, queries),
                add_SilenceServiceServicer_to_server,
                "opsuite.healer.v1.SilenceService",
            ),
        ),
        background=(lookout.run, partial(_reload, access)),
        recover=(listen,),
        drain=(face.close,),
        tidy=(clear_away,),
    )
    return Alerts(part, lambda unit: TellingTroubles(transaction(unit)), AlertQuiet(store), face, transaction)


def _lookout(house: House, flushing: Flushing, forgetting: Forgetting) -> Lookout:
    told = Counter(
        "healer_alert_groups_told",
        "Looks at groups of alerts after which people were told, by the reason",
        ["reason"],
        namespace=house.settings.metrics_namespace,
        registry=house.registry,
    )
    return Lookout(
        flushing,
        forgetting,
        clock=house.clock,
        poll_every=house.settings.poll_every,
        on_told=lambda reason: told.labels(reason.name).inc(),
    )


async def _reload(access: AccessControl) -> None:
    """Take a changed policy file into use here too."""
    await repeat(RELOAD_EVERY, lambda: asyncio.to_thread(access.reload))
