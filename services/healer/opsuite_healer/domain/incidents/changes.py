"""What a change of an incident is: the incident after it, and what its timeline tells of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from opsuite_healer.domain.incidents.incident import TRANSITIONS, Entry, Incident, Status, Step


@dataclass(frozen=True, slots=True)
class Changed:
    """An incident after something happened, and what its timeline tells of it."""

    incident: Incident
    entries: Sequence[Entry] = ()


class IllegalStep(Exception):
    """The incident stands where that cannot happen."""

    def __init__(self, incident: Incident, step: Step) -> None:
        super().__init__(f"{step.value} cannot happen to {incident.name}, which is {incident.status.value}")
        self.incident = incident
        self.step = step


def follow(incident: Incident, step: Step) -> Status:
    """The status after a step. Raises IllegalStep."""
    try:
        return TRANSITIONS[incident.status, step]
    except KeyError:
        raise IllegalStep(incident, step) from None


def changed_with(incident: Incident, *entries: Entry) -> Changed:
    """An incident with that much more on its timeline."""
    return Changed(replace(incident, revision=incident.revision + len(entries)), entries)


def joined(first: Sequence[str], second: Sequence[str]) -> tuple[str, ...]:
    """Both, each once, in order."""
    return tuple(dict.fromkeys([*first, *second]))


def filled(facts: Mapping[str, str]) -> dict[str, str]:
    """Facts without those that are empty."""
    return {name: value for name, value in facts.items() if value}
