"""Alerts as they are pushed, and the routing as people change and try it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from opsuite_healer.application.alerts.errors import EtagMismatch
from opsuite_healer.application.alerts.ports import AlertTx, RoutingRecord
from opsuite_healer.application.alerts.quieting import QuietNow
from opsuite_healer.application.alerts.telling import PART, Turn, regroup, tell
from opsuite_healer.application.quiet import Hush
from opsuite_healer.application.unit import Store, begin, finish
from opsuite_healer.domain.alerts.alert import Alert, Pushed, pushed
from opsuite_healer.domain.alerts.inhibition import sources_of
from opsuite_healer.domain.alerts.labels import fingerprint, without_empty
from opsuite_healer.domain.alerts.routing import Router, Routing, Way
from opsuite_kernel.errors import InvalidInput
from opsuite_runs.port import Call

BATCH: Final = 1000
"""Alerts that are grouped anew at once."""


@dataclass(frozen=True, slots=True)
class Taken:
    """What has become of a push."""

    names: tuple[str, ...]
    """Resource names, in the order of the push."""
    begun: int
    ended: int


@dataclass(frozen=True, slots=True)
class Tried:
    """Where labels would go."""

    ways: Sequence[Way]
    hush: Hush


class Alerting:
    """The use cases of alerts and their routing."""

    def __init__(self, store: Store[AlertTx]) -> None:
        self._store = store

    async def push(self, told: Sequence[Pushed], call: Call, traceparent: str = "") -> Taken:
        """Take alerts, all or none. Raises InvalidInput."""
        check_pushed(told)

        def body(tx: AlertTx) -> Taken:
            if begin(tx.unit, call) is not None:
                return Taken(tuple(f"alerts/{fingerprint(without_empty(one.labels))}" for one in told), 0, 0)
            timeout = tx.routing().routing.resolve_timeout
            now = tx.unit.now()
            alerts = [pushed(one, now, timeout, traceparent) for one in told]
            turn = tell(tx, alerts)
            finish(tx.unit, call, PART)
            return _taken(alerts, turn)

        return await self._store.write(body)

    async def routing(self) -> RoutingRecord:
        """The routing in use."""
        return await self._store.read(lambda tx: tx.routing())

    async def set_routing(self, routing: Routing, etag: str, call: Call) -> RoutingRecord:
        """Use another routing; groups that it has too keep what people know. Raises InvalidInput, EtagMismatch."""
        check_routing(routing)

        def body(tx: AlertTx) -> RoutingRecord:
            if begin(tx.unit, call) is not None:
                return tx.routing()
            present = tx.routing(lock=True)
            if etag and etag != present.etag:
                raise EtagMismatch("alertRouting", etag, present.etag)
            tx.put_routing(routing, present.number + 1, call.actor)
            record = tx.routing()
            _group_anew(tx, record.router, tx.unit.now())
            tx.unit.nudge(PART)
            finish(tx.unit, call, PART)
            return record

        return await self._store.write(body)

    async def try_labels(self, labels: Mapping[str, str], routing: Routing | None) -> Tried:
        """Where an alert with these labels would go, and what would keep it quiet now. Raises InvalidInput."""
        if routing is not None:
            check_routing(routing)
        said = without_empty(labels)

        def body(tx: AlertTx) -> Tried:
            router = tx.routing().router if routing is None else Router(routing)
            quiet = QuietNow(tx, router.routing.inhibit_rules, tx.unit.now())
            return Tried(router.ways(said), quiet.of(said, fingerprint(said)).hush)

        return await self._store.read(body)


def check_pushed(told: Sequence[Pushed]) -> None:
    """Raises InvalidInput with all that is wrong."""
    found = [problem.below(f"alerts[{index}]") for index, alert in enumerate(told) for problem in alert.problems()]
    if found:
        raise InvalidInput(found)


def check_routing(routing: Routing) -> None:
    """Raises InvalidInput with all that is wrong."""
    if problems := routing.problems():
        raise InvalidInput([problem.below("routing") for problem in problems])


def _taken(alerts: Sequence[Alert], turn: Turn) -> Taken:
    return Taken(tuple(alert.name for alert in alerts), len(turn.begun), len(turn.ended))


def _group_anew(tx: AlertTx, router: Router, now: datetime) -> None:
    """Put everything that goes on into its groups. What is over and was not told yet is told where its group stays."""
    tx.drop_sources(None)
    before = set(tx.memberships())
    wanted: set[tuple[str, str]] = set()
    firing: set[str] = set()
    batch: list[Alert] = []
    for alert in [*tx.firing()]:
        firing.add(alert.fingerprint)
        batch.append(alert)
        if len(batch) == BATCH:
            wanted |= _take_up(tx, router, batch, now)
            batch = []
    wanted |= _take_up(tx, router, batch, now)
    kept = {group for group, _ in wanted}
    tx.leave(sorted(one for one in before - wanted if one[1] in firing or one[0] not in kept))
    tx.drop_groups(sorted({group.id for group in tx.all_groups()} - kept))


def _take_up(tx: AlertTx, router: Router, alerts: Sequence[Alert], now: datetime) -> set[tuple[str, str]]:
    rules = router.routing.inhibit_rules
    tx.add_sources([source for alert in alerts for source in sources_of(rules, alert.fingerprint, alert.labels)])
    return regroup(tx, router, alerts, now)
