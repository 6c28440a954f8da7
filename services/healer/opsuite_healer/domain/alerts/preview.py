"""Plays alerts through a routing: who would be told what, when, and why. The same rules as the real thing, no clock."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from heapq import heappop, heappush
from typing import Final

from opsuite_healer.domain.alerts.grouping import Flush, Member, Told, first_look, flush
from opsuite_healer.domain.alerts.inhibition import InhibitRule, Source, explained, sources_of
from opsuite_healer.domain.alerts.labels import fingerprint, without_empty
from opsuite_healer.domain.alerts.routing import Router, Way
from opsuite_healer.domain.alerts.silences import Silence

MOST: Final = 10_000
"""Looks that are shown."""
MOST_WORK: Final = 1_000_000
"""Members that are looked at, all looks together: what one request can make a server do stays bounded."""


@dataclass(frozen=True, slots=True)
class Played:
    """An alert of the story."""

    labels: Mapping[str, str] = field(hash=False)
    starts_at: datetime
    ends_at: datetime | None = None
    """None: it goes on to the end of the story."""


@dataclass(frozen=True, slots=True)
class Look:
    """One look at a group."""

    at: datetime
    way: Way
    group_labels: Mapping[str, str] = field(hash=False)
    flush: Flush


@dataclass(slots=True)
class _Group:
    way: Way
    labels: Mapping[str, str]
    members: dict[str, Told] = field(default_factory=dict)
    notified_at: datetime | None = None
    next_at: datetime | None = None
    was_looked_at: bool = False


def play(
    router: Router, alerts: Sequence[Played], silences: Sequence[Silence], duration: timedelta
) -> tuple[list[Look], bool]:
    """Every look in order of time, and whether there are more than can be shown."""
    story = _Story(router, silences)
    until = min(alert.starts_at for alert in alerts) + duration
    looks: list[Look] = []
    for at in story.moments(alerts, until):
        looks += story.looks(at)
        if len(looks) > MOST or story.work > MOST_WORK:
            return looks[:MOST], True
    return looks, False


@dataclass(frozen=True, slots=True)
class _Cast:
    """An alert on the stage, with what is about it at any time."""

    alert: Played
    labels: Mapping[str, str] = field(hash=False)
    silences: tuple[Silence, ...]
    rules: tuple[InhibitRule, ...]
    """Those that it can be explained by."""

    def is_firing(self, at: datetime) -> bool:
        return self.alert.ends_at is None or self.alert.ends_at > at


class _Story:
    def __init__(self, router: Router, silences: Sequence[Silence]) -> None:
        self._router = router
        self._silences = [one for one in silences if one.scope.covers_notifications]
        self._groups: dict[str, _Group] = {}
        self._cast: dict[str, _Cast] = {}
        self._sources: dict[str, dict[str, Source]] = {}
        self._queue: list[datetime] = []
        self.work = 0

    def moments(self, alerts: Sequence[Played], until: datetime) -> Iterator[datetime]:
        """Every moment at which something may happen, after what begins then has begun."""
        waiting = sorted(alerts, key=lambda alert: alert.starts_at)
        for moment in {alert.starts_at for alert in alerts} | {silence.ends_at for silence in self._silences}:
            heappush(self._queue, moment)
        begun = 0
        last: datetime | None = None
        while self._queue and (at := heappop(self._queue)) < until:
            if at == last:
                continue
            last = at
            while begun < len(waiting) and waiting[begun].starts_at <= at:
                self._begin(waiting[begun], at)
                begun += 1
            yield at

    def looks(self, at: datetime) -> Iterator[Look]:
        """The looks that are due."""
        ended = [silence for silence in self._silences if silence.ends_at == at]
        for name, group in sorted(self._groups.items()):
            if ended and group.was_looked_at:
                self._hurry(group, ended, at)
            if group.next_at is None or group.next_at > at:
                continue
            self.work += len(group.members)
            found = flush(group.way, self._members(group, at), group.notified_at, at)
            yield Look(at, group.way, group.labels, found)
            self._settle(name, group, found, at)

    def _begin(self, alert: Played, at: datetime) -> None:
        labels = without_empty(alert.labels)
        name = fingerprint(labels)
        rules = self._router.routing.inhibit_rules
        self._cast[name] = _Cast(
            alert,
            labels,
            tuple(silence for silence in self._silences if silence.covers(labels)),
            tuple(rule for rule in rules if rule.scope.covers_notifications and rule.is_target(labels)),
        )
        for source in sources_of(rules, name, labels):
            self._sources.setdefault(source.common, {})[name] = source
        for way in self._router.ways(labels):
            self._join(way, name, alert, at)

    def _join(self, way: Way, name: str, alert: Played, at: datetime) -> None:
        common = way.group_labels(self._cast[name].labels)
        group = self._groups.setdefault(way.group_id(common), _Group(way, common))
        group.members.setdefault(name, Told.NOTHING)
        look_at = first_look(way, alert.starts_at, at)
        if not group.was_looked_at and (group.next_at is None or look_at == at):
            self._look_later(group, look_at)

    def _look_later(self, group: _Group, at: datetime) -> None:
        group.next_at = at
        heappush(self._queue, at)

    def _hurry(self, group: _Group, ended: Sequence[Silence], at: datetime) -> None:
        """Look at once where a silence ends that kept a member quiet."""
        if any(silence in self._cast[name].silences for silence in ended for name in group.members):
            group.next_at = at

    def _settle(self, name: str, group: _Group, found: Flush, at: datetime) -> None:
        group.was_looked_at = True
        group.members.update(found.now_told)
        for gone in found.gone:
            del group.members[gone]
        if found.is_told:
            group.notified_at = at
        if found.next_at is None:
            del self._groups[name]
        else:
            self._look_later(group, found.next_at)

    def _members(self, group: _Group, at: datetime) -> Iterable[Member]:
        for name, told in sorted(group.members.items()):
            yield Member(name, self._cast[name].is_firing(at), self._is_quiet(name, at), told)

    def _is_quiet(self, name: str, at: datetime) -> bool:
        cast = self._cast[name]
        if any(silence.is_active(at) for silence in cast.silences):
            return True
        return bool(explained(cast.rules, cast.labels, lambda common: self._firing(common, at), name))

    def _firing(self, common: str, at: datetime) -> list[Source]:
        found = self._sources.get(common, {})
        return [source for name, source in found.items() if self._cast[name].is_firing(at)]
