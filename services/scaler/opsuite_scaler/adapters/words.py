"""An activity in words, a line for each rule that was applied."""

from __future__ import annotations

from collections.abc import Iterator

from opsuite_scaler.application.records import Activity, Cause, Result
from opsuite_scaler.domain.decision import Verdict

RESULTS = {
    Result.NONE: "nothing was to be done",
    Result.PENDING: "recorded, and not done yet",
    Result.ACCEPTED: "done: the target has accepted it",
    Result.FAILED: "failed",
    Result.DROPPED: "not done",
    Result.DRY_RUN: "only decided: the policy is in dry run",
}


def lines_of(activity: Activity) -> list[str]:
    """What was decided, why, and what became of it."""
    return list(_lines(activity))


def _lines(activity: Activity) -> Iterator[str]:
    decision = activity.decision
    yield f"{_headline(activity)} [{decision.reason}] {decision.message}".rstrip()
    for number, step in enumerate(activity.steps, start=1):
        change = f"{step.before} -> {step.after}" if step.before != step.after else f"stays {step.after}"
        yield f"{number}. {step.rule}: {change} [{step.reason}] {step.message}".rstrip()
    told = RESULTS[activity.result]
    yield f"{told}: {activity.error}" if activity.error else told
    if activity.evaluations > 1:
        yield f"decided {activity.evaluations} times in a row, last at {activity.last_at.isoformat(timespec='seconds')}"


def _headline(activity: Activity) -> str:
    decision = activity.decision
    if activity.cause is Cause.MANUAL:
        return f"{activity.actor} asked for {decision.desired} instead of {decision.current}"
    if activity.cause is Cause.FOREIGN:
        return f"{decision.current} became {decision.desired} by somebody else"
    match decision.verdict:
        case Verdict.SCALE:
            return f"from {decision.current} to {decision.desired}"
        case Verdict.WAIT:
            seconds = decision.remaining.total_seconds()
            return f"stays at {decision.current}; {decision.desired} has to wait for {seconds:.0f} s"
        case _:
            return f"stays at {decision.current}"
