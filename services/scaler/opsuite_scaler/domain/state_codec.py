"""The state of a target as a plain dict, for JSON columns, and back. All keys are optional."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from opsuite_scaler.domain.decision import MetricMemory, Recommendation, SizeEvent, State


def encoded(state: State) -> dict[str, Any]:
    """Only strings, numbers, booleans, lists and dicts; what is at its default is left out."""
    document: dict[str, Any] = {
        "recommendations": [[_text(entry.at), entry.replicas] for entry in state.recommendations],
        "ups": [[_text(event.at), event.change] for event in state.ups],
        "downs": [[_text(event.at), event.change] for event in state.downs],
        "metrics": {name: _memory(memory) for name, memory in state.metrics.items()},
        "scaled_to_zero": state.scaled_to_zero,
        "last_up": _text(state.last_up),
        "last_down": _text(state.last_down),
        "last_active": _text(state.last_active),
        "reversals": [_text(turned) for turned in state.reversals],
        "last_direction": state.last_direction,
    }
    return {key: value for key, value in document.items() if value}


def decoded(document: Mapping[str, Any]) -> State:
    """The state that `encoded` was given. Raises: KeyError, TypeError, ValueError (it was not)."""
    return State(
        recommendations=tuple(Recommendation(_time(at), int(size)) for at, size in document.get("recommendations", ())),
        ups=tuple(SizeEvent(_time(at), int(change)) for at, change in document.get("ups", ())),
        downs=tuple(SizeEvent(_time(at), int(change)) for at, change in document.get("downs", ())),
        metrics={name: _remembered(memory) for name, memory in document.get("metrics", {}).items()},
        scaled_to_zero=bool(document.get("scaled_to_zero", False)),
        last_up=_optional_time(document.get("last_up")),
        last_down=_optional_time(document.get("last_down")),
        last_active=_optional_time(document.get("last_active")),
        reversals=tuple(_time(turned) for turned in document.get("reversals", ())),
        last_direction=str(document.get("last_direction", "")),
    )


def _memory(memory: MetricMemory) -> dict[str, Any]:
    document = {
        "failures": memory.failures,
        "last_value": memory.last_value,
        "last_at": _text(memory.last_at),
        "drop_seen": memory.drop_seen,
        "drop_at": _text(memory.drop_at),
    }
    return {key: value for key, value in document.items() if value or key == "last_value"}


def _remembered(document: Mapping[str, Any]) -> MetricMemory:
    value = document.get("last_value")
    return MetricMemory(
        failures=int(document.get("failures", 0)),
        last_value=None if value is None else float(value),
        last_at=_optional_time(document.get("last_at")),
        drop_seen=bool(document.get("drop_seen", False)),
        drop_at=_optional_time(document.get("drop_at")),
    )


def _text(at: datetime | None) -> str | None:
    return None if at is None else at.isoformat()


def _optional_time(text: str | None) -> datetime | None:
    return None if text is None else _time(text)


def _time(text: str) -> datetime:
    at = datetime.fromisoformat(text)
    if at.tzinfo is None:
        raise ValueError(f"{text} has no time zone")
    return at
