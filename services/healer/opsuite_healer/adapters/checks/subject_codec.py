"""What is known of a subject, as a document that outlives the process."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from opsuite_healer.domain.checks.flapping import FlapState
from opsuite_healer.domain.checks.replicas import RestartHistory
from opsuite_healer.domain.checks.subject import Subject, Told
from opsuite_probes.hysteresis import HealthState
from opsuite_probes.port import Outcome


def encode(subject: Subject) -> dict[str, Any]:
    """What columns do not hold."""
    told, restarts = subject.told, subject.restarts
    return {
        "first_seen_at": subject.first_seen_at.isoformat(),
        "verdict": subject.health.verdict.value if subject.health.verdict else None,
        "successes": subject.health.successes,
        "failures": subject.health.failures,
        "history": "".join("1" if is_good else "0" for is_good in subject.flap.history),
        "flapping_since": _text(subject.flapping_since),
        "suppressed": subject.suppressed,
        "told": [told.issue, told.at.isoformat(), told.traceparent] if told else None,
        "proven_start": _text(subject.proven_start),
        "grace_until": _text(subject.grace_until),
        "restarts": [[one.isoformat() for one in restarts.times], restarts.count, _text(restarts.started_at)],
    }


def decode(replica: str, row: Mapping[str, Any]) -> Subject:
    """The subject of a row, without its last answer."""
    state: Mapping[str, Any] = row["state"]
    times, count, started_at = state["restarts"]
    return Subject(
        replica=replica,
        first_seen_at=datetime.fromisoformat(state["first_seen_at"]),
        health=HealthState(
            Outcome(state["verdict"]) if state["verdict"] else None, state["successes"], state["failures"]
        ),
        since=row["since"],
        flap=FlapState(tuple(one == "1" for one in state["history"]), is_flapping=row["is_flapping"]),
        flapping_since=_time(state["flapping_since"]),
        suppressed=state["suppressed"],
        told=_told(state["told"]),
        proven_start=_time(state["proven_start"]),
        grace_until=_time(state["grace_until"]),
        owes_answer=row["owes_answer"],
        restarts=RestartHistory(tuple(map(datetime.fromisoformat, times)), count, _time(started_at)),
    )


def _told(told: tuple[str, str, str] | None) -> Told | None:
    if told is None:
        return None
    issue, at, traceparent = told
    return Told(issue, datetime.fromisoformat(at), traceparent)


def _text(moment: datetime | None) -> str | None:
    return moment.isoformat() if moment else None


def _time(text: str | None) -> datetime | None:
    return datetime.fromisoformat(text) if text else None
