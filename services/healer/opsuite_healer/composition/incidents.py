"""Builds the part `incidents`: what is open, who is told, and who is woken when the healer can do no more."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Final

from opsuite.healer.v1.escalation_service_pb2_grpc import add_EscalationServiceServicer_to_server
from opsuite.healer.v1.incident_service_pb2_grpc import add_IncidentServiceServicer_to_server
from opsuite_healer.adapters.incidents import tables
from opsuite_healer.adapters.incidents.deliveries import IncidentOutbox
from opsuite_healer.adapters.incidents.escalation_api import EscalationServicer
from opsuite_healer.adapters.incidents.incident_api import IncidentServicer
from opsuite_healer.adapters.incidents.observing import Observing
from opsuite_healer.adapters.incidents.outbox_rows import OUTBOX, SqlMessages
from opsuite_healer.adapters.incidents.queries import Queries
from opsuite_healer.adapters.incidents.tidying import Tidying
from opsuite_healer.adapters.incidents.transaction import SqlIncidents
from opsuite_healer.adapters.incidents.watches import Watches
from opsuite_healer.adapters.unit import SqlUnit
from opsuite_healer.application.incident_book import IncidentBook
from opsuite_healer.application.incidents.addressing import EscalationPolicies, Receivers
from opsuite_healer.application.incidents.book import PART, Book
from opsuite_healer.application.incidents.escalating import Escalating
from opsuite_healer.application.incidents.steering import Incidents as Steering
from opsuite_healer.application.incidents.telling import Wording
from opsuite_healer.application.messages import Messages
from opsuite_healer.application.quiet import Quiet
from opsuite_healer.application.troubles import Troubles
from opsuite_healer.composition.house import House, Part
from opsuite_healer.settings import Settings
from opsuite_notify.dispatcher import Dispatcher
from opsuite_notify.port import EnvSecret, Sender
from opsuite_notify.secrets import SecretSource
from opsuite_notify.senders import ChannelSender
from opsuite_notify.smtp import SmtpMailer, SmtpSettings
from opsuite_rpc.server import Service
from opsuite_runs.attending import Attendants
from opsuite_runs.background import repeat
from opsuite_runs.claims import SqlClaims
from opsuite_runs.keeper import LeaseKeeper
from opsuite_runs.lease import Leases

COUNT_EVERY: Final = timedelta(seconds=15)
"""Pause between two counts of open incidents, for metrics."""


@dataclass(frozen=True, slots=True)
class Incidents:
    """The part, and what others use of it. Each callable makes its port over a unit."""

    part: Part
    troubles_of: Callable[[SqlUnit], Troubles]
    book_of: Callable[[SqlUnit], IncidentBook]
    messages_of: Callable[[SqlUnit], Messages]


def incidents(house: House, quiet: Callable[[], Quiet]) -> Incidents:
    """Build it. `quiet` is asked for when it is needed first: alerts, who know, are built on top of this."""
    wording = Wording(house.settings.public_url)

    def book_of(unit: SqlUnit) -> Book:
        return Book(SqlIncidents(unit), wording)

    observing = Observing(house.tracer, house.registry, house.settings.metrics_namespace)
    attendants, keeper = _attendants(house, quiet, wording, observing)
    sender = ChannelSender(house.secrets, house.clock, smtp=mailer(house.settings, house.secrets))
    outbox = IncidentOutbox(house.store, wording, observing)
    dispatcher = Dispatcher(outbox, sender, house.clock)
    house.store.on_nudge(PART, lambda run: attendants.nudge(run) if run else attendants.wake())
    house.store.on_nudge(OUTBOX, lambda _: dispatcher.wake())

    async def send() -> None:
        if house.is_alone:
            await outbox.release_all()  # whoever was sending is dead: this process holds the data directory
        async with sender:
            await dispatcher.run()

    async def count() -> None:
        await repeat(COUNT_EVERY, lambda: observing.count(house.database), at_once=True)

    async def recover() -> None:
        house.stack.push_async_callback(attendants.close)
        await attendants.recover()

    part = Part(
        services=_services(house, wording, sender),
        background=(keeper.run, attendants.watch_over, send, count),
        recover=(recover,),
        drain=(attendants.drain,),
        tidy=(Tidying(house.database, house.settings.keep_history).run,),
    )
    return Incidents(part, book_of, book_of, SqlMessages)


def _services(house: House, wording: Wording, sender: Sender) -> tuple[Service, Service]:
    store = house.store.part(SqlIncidents)
    queries = Queries(house.database, house.pages)
    watches = Watches(house.store, house.feeds)
    incident_servicer = IncidentServicer(Steering(store, wording), queries, watches, house.clock)
    escalation_servicer = EscalationServicer(
        Receivers(store, sender, house.clock), EscalationPolicies(store), queries, house.clock
    )
    return (
        Service(incident_servicer, add_IncidentServiceServicer_to_server, "opsuite.healer.v1.IncidentService"),
        Service(escalation_servicer, add_EscalationServiceServicer_to_server, "opsuite.healer.v1.EscalationService"),
    )


def _attendants(
    house: House, quiet: Callable[[], Quiet], wording: Wording, observing: Observing
) -> tuple[Attendants, LeaseKeeper]:
    leases = Leases(tables.incidents, lease=house.settings.lease)
    keeper = LeaseKeeper(house.database, leases, house.clock, lease=house.settings.lease, alone=house.is_alone)
    escalating = Escalating(
        house.store.part(SqlIncidents), quiet, wording, observing, is_draining=lambda: attendants.is_draining
    )
    attendants = Attendants(
        escalating.attend,
        claims=SqlClaims(house.database, leases, house.owner, is_alive=lambda: tables.IS_OPEN),
        leases=keeper,
        poll_every=house.settings.poll_every,
        alone=house.is_alone,
    )
    keeper.on_lost = attendants.lost
    return attendants, keeper


def mailer(settings: Settings, secrets: SecretSource) -> SmtpMailer | None:
    """Sends e-mails; None where no server is set."""
    if not settings.smtp_host:
        return None
    smtp = SmtpSettings(settings.smtp_host, settings.smtp_port, settings.smtp_sender, settings.smtp_security)
    if settings.smtp_username:
        smtp = replace(smtp, username=settings.smtp_username, password=EnvSecret(settings.smtp_password_env))
    return SmtpMailer(smtp, secrets)
