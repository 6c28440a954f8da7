"""Alerts that another one explains: nobody has to hear that a shop is slow while its data centre is on fire.

A rule says which alert explains (source), which is explained (target), and what they must have in common. As with
Alertmanager an absent label equals an empty one, and an alert that matches both sides is not kept quiet by another one
that does too: otherwise two of them would keep each other, or one itself, quiet for ever.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum

from opsuite_healer.domain.alerts.labels import asked_of
from opsuite_healer.domain.alerts.matching import Matcher, all_match, problems
from opsuite_kernel.errors import Violation


class Scope(Enum):
    """What is kept quiet."""

    NOTIFICATIONS = "notifications"
    """People are not told."""
    ACTIONS = "actions"
    """The healer does not act."""
    BOTH = "both"

    @property
    def covers_notifications(self) -> bool:
        """Whether people are not told."""
        return self is not Scope.ACTIONS

    @property
    def covers_actions(self) -> bool:
        """Whether the healer does not act."""
        return self is not Scope.NOTIFICATIONS


@dataclass(frozen=True, slots=True)
class InhibitRule:
    """One rule."""

    name: str
    source_matchers: tuple[Matcher, ...]
    target_matchers: tuple[Matcher, ...]
    equal_labels: tuple[str, ...] = ()
    scope: Scope = Scope.BOTH

    def problems(self) -> list[Violation]:
        """What is wrong with it."""
        return [
            *problems(self.source_matchers, "source_matchers"),
            *problems(self.target_matchers, "target_matchers"),
        ]

    def is_source(self, labels: Mapping[str, str]) -> bool:
        """Whether an alert with these labels explains others."""
        return all_match(self.source_matchers, asked_of(labels))

    def is_target(self, labels: Mapping[str, str]) -> bool:
        """Whether an alert with these labels can be explained."""
        return all_match(self.target_matchers, asked_of(labels))

    def common(self, labels: Mapping[str, str]) -> str:
        """The same for all alerts that are equal in what has to be equal."""
        asked = asked_of(labels)
        values = [asked.get(name, "") for name in self.equal_labels]
        return hashlib.sha256("\0".join([self.name, *values]).encode()).hexdigest()[:32]


@dataclass(frozen=True, slots=True)
class Source:
    """An alert that goes on and explains others by one rule."""

    rule: str
    common: str
    fingerprint: str
    is_target_too: bool
    """Whether it matches both sides of the rule."""


def sources_of(rules: Iterable[InhibitRule], fingerprint: str, labels: Mapping[str, str]) -> list[Source]:
    """What an alert that goes on explains, by each rule."""
    return [
        Source(rule.name, rule.common(labels), fingerprint, rule.is_target(labels))
        for rule in rules
        if rule.is_source(labels)
    ]


@dataclass(frozen=True, slots=True)
class Explained:
    """An alert is explained by another one."""

    by: str
    """Fingerprint of that one."""
    scope: Scope


Explaining = Callable[[str], Sequence[Source]]
"""Sources of what a target has in common with them (`InhibitRule.common`)."""


def explained(
    rules: Iterable[InhibitRule], labels: Mapping[str, str], explaining: Explaining, fingerprint: str = ""
) -> list[Explained]:
    """What explains an alert with these labels, one for each rule. It never explains itself."""
    found = []
    for rule in rules:
        if not rule.is_target(labels):
            continue
        is_source_too = rule.is_source(labels)
        for source in explaining(rule.common(labels)):
            if source.fingerprint != fingerprint and not (is_source_too and source.is_target_too):
                found.append(Explained(source.fingerprint, rule.scope))
                break
    return found
