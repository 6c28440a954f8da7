"""What becomes of alerts that are told: kept, put into groups, told on to incidents. All inside one transaction."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Final

from opsuite_healer.application.alerts.ports import AlertTx, Group, KnownAlert
from opsuite_healer.domain.alerts.alert import Alert, merged, of_trouble, trouble_of
from opsuite_healer.domain.alerts.grouping import first_look
from opsuite_healer.domain.alerts.inhibition import sources_of
from opsuite_healer.domain.alerts.routing import Router, Way
from opsuite_healer.domain.trouble import Trouble
from opsuite_runs.faults import declare

TAKEN: Final = declare("healer.alerts_taken", "alerts are kept, grouped and told on, nothing is committed")
ENDED: Final = declare("healer.alerts_ended", "the end of alerts is told on, nothing is committed")

PART: Final = "alerts"
"""What is nudged when there is something to look at."""


@dataclass(slots=True)
class Turn:
    """What has become of alerts."""

    begun: list[Alert] = field(default_factory=list)
    going: list[Alert] = field(default_factory=list)
    """Those that go on as before."""
    ended: list[Alert] = field(default_factory=list)


def tell(tx: AlertTx, alerts: Sequence[Alert], troubles: Mapping[str, Trouble] | None = None) -> Turn:
    """Keep what is told. `troubles`: what alerts (by fingerprint) are told on as, where that is more than they say."""
    record = tx.routing(lock=True)
    now = tx.unit.now()
    known = tx.alerts(sorted({alert.fingerprint for alert in alerts}))
    latest: dict[str, Alert] = {}
    for alert in alerts:
        before = latest.get(alert.fingerprint)
        if before is None and alert.fingerprint in known:
            before = known[alert.fingerprint].alert
        latest[alert.fingerprint] = alert if before is None else merged(before, alert)
    turn = _turn(latest.values(), known, now)
    tx.put_alerts([KnownAlert(alert, not alert.is_over(now)) for alert in latest.values()])
    _begin(tx, record.router, turn.begun, now)
    for alert in (*turn.begun, *turn.going):
        if any(way.opens_incidents for way in record.router.ways(alert.labels)):
            told = (troubles or {}).get(alert.fingerprint) or trouble_of(alert)
            tx.troubles.found(told)
    end(tx, turn.ended, "it is told to be over")
    if turn.begun:
        tx.unit.nudge(PART)
    TAKEN.hit()
    return turn


def _turn(alerts: Iterable[Alert], known: Mapping[str, KnownAlert], now: datetime) -> Turn:
    turn = Turn()
    for alert in alerts:
        was_firing = alert.fingerprint in known and known[alert.fingerprint].is_firing
        if not alert.is_over(now):
            (turn.going if was_firing else turn.begun).append(alert)
        elif was_firing:
            turn.ended.append(alert)
    return turn


def end(tx: AlertTx, alerts: Sequence[Alert], reason: str) -> None:
    """Tell on that alerts, which are kept as over already, have ended."""
    if not alerts:
        return
    tx.drop_sources([alert.fingerprint for alert in alerts])
    for alert in alerts:
        tx.troubles.gone(alert.key, alert.ends_at or tx.unit.now(), reason)
    ENDED.hit()


def _begin(tx: AlertTx, router: Router, alerts: Sequence[Alert], now: datetime) -> None:
    rules = router.routing.inhibit_rules
    tx.add_sources([source for alert in alerts for source in sources_of(rules, alert.fingerprint, alert.labels)])
    regroup(tx, router, alerts, now)


def regroup(tx: AlertTx, router: Router, alerts: Sequence[Alert], now: datetime) -> set[tuple[str, str]]:
    """Put alerts into their groups, which come up where there are none; the memberships that result."""
    members: list[tuple[str, str]] = []
    wanted: dict[str, tuple[Way, Mapping[str, str]]] = {}
    looks: dict[str, datetime] = {}
    for alert in alerts:
        for way in router.ways(alert.labels):
            labels = way.group_labels(alert.labels)
            group = way.group_id(labels)
            members.append((group, alert.fingerprint))
            wanted[group] = way, labels
            look = first_look(way, alert.starts_at, now)
            looks[group] = min(looks.get(group, look), look)
    there = tx.groups(sorted(wanted))
    new = [Group(name, way.id, labels, now, looks[name]) for name, (way, labels) in wanted.items() if name not in there]
    # Later alerts never put a first look off; one that is old enough brings it forward.
    hurried = [
        replace(group, next_flush_at=now)
        for name, group in there.items()
        if not group.was_looked_at and looks[name] <= now < group.next_flush_at
    ]
    tx.put_groups([*new, *hurried])
    tx.join(members)
    return set(members)


class TellingTroubles:
    """Fits `application.troubles.Troubles`: keeps an alert for each trouble, and passes it on."""

    def __init__(self, tx: AlertTx) -> None:
        self._tx = tx

    def found(self, trouble: Trouble) -> None:
        """There is trouble, or it still goes on."""
        alert = of_trouble(trouble, self._tx.unit.now())
        told = replace(trouble, key=alert.key, labels=alert.labels)
        tell(self._tx, [alert], {alert.fingerprint: told})

    def gone(self, key: str, at: datetime, reason: str) -> None:
        """The trouble of that key is over; one that is not known is fine."""
        self._tx.routing(lock=True)
        known = self._tx.alert_of_key(key)
        if known is None:
            self._tx.troubles.gone(key, at, reason)
            return
        now = self._tx.unit.now()
        over = replace(known.alert, ends_at=min(at, now), is_timeout=False, updated_at=now)
        self._tx.put_alerts([KnownAlert(over, is_firing=False)])
        end(self._tx, [over], reason)
