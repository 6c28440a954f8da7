"""What a platform says of a workload, as answers of a check. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from opsuite_healer.domain.checks.answers import Answer
from opsuite_healer.domain.checks.check import CRASHED, MISSING, OOM_KILLED, RESTART_LOOP, STOPPED, UNREADY
from opsuite_platforms.port import Replica, ReplicaPhase, WorkloadStatus
from opsuite_probes.port import Outcome

_OUT_OF_MEMORY: Final = re.compile(r"OOMKilled|out of memory", re.IGNORECASE)
_NOT_READY: Final = re.compile(r"not ready|ImagePull|ErrImage|InvalidImageName|Unschedulable|not created")


@dataclass(frozen=True, slots=True)
class RestartHistory:
    """Restarts of a replica that were seen, the oldest first, and what was seen last."""

    times: tuple[datetime, ...] = ()
    count: int | None = None
    """Restarts as the platform counted them last; None before the first look."""
    started_at: datetime | None = None


def state_answers(status: WorkloadStatus, only: str, now: datetime) -> Mapping[str, Answer]:
    """An answer for each replica (or for the one that is meant), and for the workload as a whole (empty name)."""
    found = {one.name: state_answer(one, now) for one in status.replicas if not only or one.name == only}
    if only:
        return found or {only: Answer(Outcome.UNHEALTHY, "there is no such replica", now, issue=MISSING, is_crash=True)}
    return {"": whole_answer(status, now), **found}


def whole_answer(status: WorkloadStatus, now: datetime) -> Answer:
    """Whether there are as many replicas as there should be, whatever becomes of each."""
    there, wanted = len(status.replicas), status.desired_replicas
    if there >= wanted:
        return Answer(Outcome.HEALTHY, f"{there} of {wanted} replicas are there", now)
    return Answer(Outcome.UNHEALTHY, f"only {there} of {wanted} replicas are there", now, issue=MISSING)


def state_answer(replica: Replica, now: datetime) -> Answer:
    """What a phase means. A crash is one however young the replica is; what is only not ready yet may have time."""
    outcome, issue = _meaning(replica)
    told = f"{replica.phase.value}: {replica.message}" if replica.message else replica.phase.value
    return Answer(
        outcome,
        told,
        now,
        issue=issue,
        is_crash=issue in {CRASHED, OOM_KILLED, RESTART_LOOP},
        started_at=replica.started_at,
        restarts=replica.restarts,
    )


def _meaning(replica: Replica) -> tuple[Outcome, str]:
    match replica.phase:
        case ReplicaPhase.RUNNING:
            return Outcome.HEALTHY, ""
        case ReplicaPhase.STARTING:
            return Outcome.UNHEALTHY, UNREADY
        case ReplicaPhase.STOPPED if "about to be replaced" in replica.message:
            return Outcome.UNKNOWN, ""
        case ReplicaPhase.STOPPED if not _OUT_OF_MEMORY.search(replica.message):
            return Outcome.UNHEALTHY, STOPPED
        case _:
            return Outcome.UNHEALTHY, _why_down(replica.message)


def _why_down(message: str) -> str:
    if _OUT_OF_MEMORY.search(message):
        return OOM_KILLED
    if "CrashLoopBackOff" in message:
        return RESTART_LOOP
    return UNREADY if _NOT_READY.search(message) else CRASHED


def seen_restarts(history: RestartHistory, answer: Answer, limit: int) -> RestartHistory:
    """The history after one more look; of more restarts than `limit` the oldest are forgotten.

    A platform that has counted anew has seen none; one that does not count is believed by when the replica started.
    """
    if answer.restarts is None:
        return history
    more = max(0, answer.restarts - history.count) if history.count is not None else 0
    was_replaced = None not in (history.started_at, answer.started_at) and answer.started_at != history.started_at
    if not more and was_replaced:
        more = 1
    times = (*history.times, *[answer.at] * min(more, limit))[-limit:]
    return RestartHistory(times, answer.restarts, answer.started_at or history.started_at)
