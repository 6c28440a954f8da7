"""Activities as rows."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from typing import Any, Final

import sqlalchemy as sa

from opsuite_scaler.adapters import tables
from opsuite_scaler.adapters.decision_messages import explained, explanation_bytes
from opsuite_scaler.adapters.transaction import Row, Transaction
from opsuite_scaler.application.records import Activity, Cause, Result
from opsuite_scaler.domain.decision import Decision, Verdict
from opsuite_storage.prepared import Prepared

_a = tables.activities.c
_ONE: Final = Prepared(
    sa.select(tables.activities).where(
        _a.id == sa.bindparam("activity", type_=sa.Text), _a.policy == sa.bindparam("policy", type_=sa.Text)
    )
)
_PENDING: Final = Prepared(
    sa.select(tables.activities)
    .where(_a.policy == sa.bindparam("policy", type_=sa.Text), tables.PENDING)
    .order_by(_a.id)
)
_ADD: Final = Prepared(sa.insert(tables.activities), _a.keys())
_CHANGED: Final = ("outcome", "message", "remaining_seconds", "error", "last_at", "evaluations", "explanation")
_PUT: Final = Prepared(
    sa.update(tables.activities)
    .where(_a.id == sa.bindparam("activity", type_=sa.Text))
    .values({name: sa.bindparam(f"new_{name}", type_=_a[name].type) for name in (*_CHANGED, "policy_number")})
)


class ActivityRows(Transaction):
    """The part of a transaction that is about activities."""

    def activity(self, policy: str, activity: str) -> Activity | None:
        """An activity with its steps and snapshot."""
        row = _ONE.row(self.connection, {"policy": policy, "activity": activity})
        return None if row is None else activity_of(row)

    def add_activity(self, activity: Activity) -> None:
        """Record a new one."""
        _ADD.run(self.connection, [_row(activity)])

    def put_activity(self, activity: Activity) -> None:
        """Record what became of one."""
        row = _row(activity)
        values = {f"new_{name}": row[name] for name in (*_CHANGED, "policy_number")}
        _PUT.run(self.connection, [{"activity": activity.id, **values}])

    def pending(self, policy: str) -> Sequence[Activity]:
        """Those of a policy that are recorded and not carried out, the oldest first."""
        return [activity_of(row) for row in _PENDING.rows(self.connection, {"policy": policy})]


def activity_of(row: Row) -> Activity:
    """What a row says; without an explanation where the row has none."""
    steps, snapshot = explained(row.get("explanation", b""), row["last_at"])
    verdict = Verdict[row["verdict"]]
    return Activity(
        id=row["id"],
        policy=row["policy"],
        cause=Cause(row["cause"]),
        result=Result(row["outcome"]),
        decision=Decision(
            verdict=verdict,
            current=row["current"],
            desired=row["desired"],
            reason=row["reason"],
            message=row["message"],
            remaining=timedelta(seconds=row["remaining_seconds"]),
            withheld=row["withheld"],
            is_dry_run=row["outcome"] == Result.DRY_RUN.value,
        ),
        started_at=row["started_at"],
        last_at=row["last_at"],
        policy_number=row["policy_number"],
        evaluations=row["evaluations"],
        error=row["error"],
        actor=row["actor"],
        steps=steps,
        snapshot=snapshot,
    )


def _row(activity: Activity) -> dict[str, Any]:
    decision = activity.decision
    return {
        "id": activity.id,
        "policy": activity.policy,
        "cause": activity.cause.value,
        "outcome": activity.result.value,
        "verdict": decision.verdict.name,
        "current": decision.current,
        "desired": decision.desired,
        "reason": decision.reason,
        "message": decision.message,
        "remaining_seconds": decision.remaining.total_seconds(),
        "withheld": decision.withheld,
        "error": activity.error,
        "actor": activity.actor,
        "started_at": activity.started_at,
        "last_at": activity.last_at,
        "evaluations": activity.evaluations,
        "policy_number": activity.policy_number,
        "explanation": explanation_bytes(activity.steps, activity.snapshot),
    }
