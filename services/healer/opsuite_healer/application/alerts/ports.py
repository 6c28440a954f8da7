"""What the use cases of alerts need from the world: one transaction, and records as they are kept."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Protocol

from opsuite_healer.application.messages import Messages
from opsuite_healer.application.troubles import Troubles
from opsuite_healer.application.unit import Unit
from opsuite_healer.domain.alerts.alert import Alert
from opsuite_healer.domain.alerts.grouping import FlushReason, Told
from opsuite_healer.domain.alerts.inhibition import Source
from opsuite_healer.domain.alerts.routing import Router, Routing
from opsuite_healer.domain.alerts.silences import Silence


@dataclass(frozen=True, slots=True)
class KnownAlert:
    """An alert, and whether its end was seen yet."""

    alert: Alert
    is_firing: bool


@dataclass(frozen=True, slots=True)
class RoutingRecord:
    """The routing in use."""

    router: Router
    number: int
    """Grows with every change."""
    updated_at: datetime | None
    updated_by: str

    @property
    def routing(self) -> Routing:
        """As it is written down."""
        return self.router.routing

    @property
    def etag(self) -> str:
        """Changes with every change."""
        return str(self.number)


@dataclass(frozen=True, slots=True)
class Group:
    """Alerts that are told together."""

    id: str
    route: str
    labels: Mapping[str, str] = field(hash=False)
    created_at: datetime
    next_flush_at: datetime
    notified_at: datetime | None = None
    """When it was told last."""
    was_looked_at: bool = False
    last_reason: FlushReason | None = None


@dataclass(frozen=True, slots=True)
class GroupMember:
    """An alert in a group."""

    known: KnownAlert
    told: Told


class AlertTx(Protocol):
    """One transaction of this part, over a unit."""

    @property
    def unit(self) -> Unit:
        """What every part has of a transaction."""

    @property
    def troubles(self) -> Troubles:
        """Where alerts are told on."""

    @property
    def messages(self) -> Messages:
        """Where people are told."""

    # the routing
    def routing(self, *, lock: bool = False) -> RoutingRecord:
        """The routing in use. Whoever changes alerts locks it first, so that one of them does so at a time."""

    def put_routing(self, routing: Routing, number: int, by: str) -> None:
        """Use another one."""

    # alerts
    def alerts(self, fingerprints: Sequence[str]) -> dict[str, KnownAlert]:
        """Those that are known, by fingerprint."""

    def alert_of_key(self, key: str) -> KnownAlert | None:
        """The one that goes on with that dedup key."""

    def put_alerts(self, alerts: Sequence[KnownAlert]) -> None:
        """Keep them as they are now."""

    def ended_alerts(self, now: datetime, limit: int) -> Sequence[KnownAlert]:
        """Those whose end has come and was not seen yet."""

    def firing(self) -> Iterator[Alert]:
        """All that go on."""

    # what explains
    def add_sources(self, sources: Sequence[Source]) -> None:
        """Keep what alerts explain."""

    def drop_sources(self, fingerprints: Sequence[str] | None) -> None:
        """Forget what these alerts explain; None: all."""

    def sources(self, commons: Sequence[str]) -> Mapping[str, Sequence[Source]]:
        """By what a target has in common with them."""

    # groups
    def groups(self, ids: Sequence[str]) -> dict[str, Group]:
        """Those that there are, by id."""

    def all_groups(self) -> Sequence[Group]:
        """Every group."""

    def put_groups(self, groups: Sequence[Group]) -> None:
        """Keep them as they are now."""

    def drop_groups(self, ids: Sequence[str]) -> None:
        """Forget them, with their members."""

    def due_groups(self, now: datetime, limit: int) -> Sequence[Group]:
        """Those that are to be looked at, those that wait longest first."""

    def hurry(self, fingerprints: Sequence[str], now: datetime) -> None:
        """Look now at groups that were looked at before and that these alerts are in."""

    def members(self, group: str) -> Sequence[GroupMember]:
        """The alerts in a group, by fingerprint."""

    def memberships(self) -> Iterator[tuple[str, str]]:
        """Every group and alert in it."""

    def join(self, members: Sequence[tuple[str, str]]) -> None:
        """Put alerts into groups (group, fingerprint); those that are there stay as they are."""

    def leave(self, members: Sequence[tuple[str, str]]) -> None:
        """Take alerts out of groups."""

    def put_told(self, group: str, told: Mapping[str, Told]) -> None:
        """Keep what people know of members."""

    # silences
    def silence(self, silence: str, *, lock: bool = False) -> Silence | None:
        """A silence by its id."""

    def put_silence(self, silence: Silence) -> None:
        """Keep it as it is now."""

    def current_silences(self, now: datetime) -> Sequence[Silence]:
        """Those that have begun and have not ended, recurring ones between their times among them."""

    def ended_silences(self, now: datetime) -> Sequence[Silence]:
        """Those that have ended, of which that was not told yet."""

    def end_is_told(self, silences: Iterable[str]) -> None:
        """That they ended was told."""

    def has_matched(self, silences: Iterable[str], now: datetime) -> None:
        """They match something that goes on."""

    # what comes
    def next_due(self) -> datetime | None:
        """When there will be something to look at; None: nothing is in sight."""
