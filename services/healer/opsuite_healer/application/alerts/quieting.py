"""What keeps alerts quiet now: silences in force, and alerts that go on and explain others."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from opsuite_healer.application.alerts.ports import AlertTx
from opsuite_healer.application.quiet import Hush
from opsuite_healer.application.unit import Store
from opsuite_healer.domain.alerts.inhibition import Explained, InhibitRule, explained
from opsuite_healer.domain.alerts.labels import fingerprint, without_empty
from opsuite_healer.domain.alerts.silences import Silence


@dataclass(frozen=True, slots=True)
class QuietBy:
    """What keeps one alert quiet."""

    silences: tuple[Silence, ...] = ()
    explained: tuple[Explained, ...] = ()

    @property
    def hides_from_people(self) -> bool:
        """Whether people are not told."""
        scopes = [*(one.scope for one in self.silences), *(one.scope for one in self.explained)]
        return any(scope.covers_notifications for scope in scopes)

    @property
    def hush(self) -> Hush:
        """In the words that all parts share."""
        named = [(one.name, one.scope) for one in self.silences]
        named += [(f"inhibited by alerts/{one.by}", one.scope) for one in self.explained]
        return Hush(
            notifications=tuple(name for name, scope in named if scope.covers_notifications),
            actions=tuple(name for name, scope in named if scope.covers_actions),
        )


class QuietNow:
    """Everything that keeps anything quiet at one moment of a transaction, read once."""

    def __init__(self, tx: AlertTx, rules: Sequence[InhibitRule], now: datetime) -> None:
        self._tx = tx
        self._rules = rules
        self._silences = [silence for silence in tx.current_silences(now) if silence.is_active(now)]

    def of(self, labels: Mapping[str, str], name: str) -> QuietBy:
        """What keeps an alert with these labels and this fingerprint quiet."""
        return self.of_all({name: labels})[name]

    def of_all(self, alerts: Mapping[str, Mapping[str, str]]) -> dict[str, QuietBy]:
        """The same for many, labels by fingerprint, with one question to the database."""
        commons = {rule.common(labels) for labels in alerts.values() for rule in self._rules if rule.is_target(labels)}
        sources = self._tx.sources(sorted(commons)) if commons else {}
        return {
            name: QuietBy(
                tuple(silence for silence in self._silences if silence.covers(labels)),
                tuple(explained(self._rules, labels, lambda common: sources.get(common, ()), name)),
            )
            for name, labels in alerts.items()
        }


class AlertQuiet:
    """Fits `application.quiet.Quiet`."""

    def __init__(self, store: Store[AlertTx]) -> None:
        self._store = store

    async def of(self, labels: Mapping[str, str], now: datetime) -> Hush:
        """What keeps trouble with these labels quiet now."""
        said = without_empty(labels)

        def body(tx: AlertTx) -> Hush:
            rules = tx.routing().routing.inhibit_rules
            return QuietNow(tx, rules, now).of(said, fingerprint(said)).hush

        return await self._store.read(body)
