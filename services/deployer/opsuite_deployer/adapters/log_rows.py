"""What people wish, what steps wrote and what people are told, in a transaction."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite

from opsuite_deployer.adapters import tables
from opsuite_deployer.adapters.rows import Row
from opsuite_deployer.adapters.transaction import WAKE_CHANNEL, WISH, Transaction
from opsuite_deployer.application.ports import FiledWish, StepLine
from opsuite_deployer.domain.deployment import Deployment, PartKey, PartKind
from opsuite_deployer.domain.pipeline import NotificationRule
from opsuite_deployer.domain.turn import Verb, Wish
from opsuite_notify.outbox import deliveries_of
from opsuite_notify.port import Message
from opsuite_runs.outbox import add_deliveries
from opsuite_storage.listen import notify
from opsuite_storage.prepared import Prepared

_LINE = ("deployment", "sequence", "time", "stage", "step", "attempt", "stream", "text")
_KEEP_LINES = {  # a line that is there already was written by a commit whose answer was lost
    "sqlite": Prepared(sqlite.insert(tables.log_lines).on_conflict_do_nothing(), _LINE),
    "postgresql": Prepared(postgresql.insert(tables.log_lines).on_conflict_do_nothing(), _LINE),
}
_w = tables.wishes.c
_WISHES = Prepared(sa.select(tables.wishes).where(_w.deployment == sa.bindparam("uid")).order_by(_w.id))


class LogRows(Transaction):
    """Part of `SqlTx`."""

    # wishes

    def file_wish(self, uid: str, wish: Wish, now: datetime) -> None:
        """Put a wish where the owner finds it."""
        self.connection.execute(
            sa.insert(tables.wishes).values(
                deployment=uid,
                verb=wish.verb.value,
                actor=wish.actor,
                reason=wish.reason,
                stage=wish.key.stage if wish.key else None,
                position=wish.key.position if wish.key else None,
                target=wish.target,
                created_at=now,
            )
        )
        notify(self.connection, WAKE_CHANNEL, f"{WISH} {uid}")

    def wishes(self, uid: str) -> Sequence[FiledWish]:
        """Wishes not struck off, oldest first."""
        return [FiledWish(row["id"], _wish(row)) for row in _WISHES.rows(self.connection, {"uid": uid})]

    def strike_off(self, ids: Sequence[int]) -> None:
        """Remove wishes that were taken in."""
        self.connection.execute(sa.delete(tables.wishes).where(tables.wishes.c.id.in_(ids)))

    def with_wishes(self, uids: Sequence[str]) -> Sequence[str]:
        """Those of `uids` that have wishes."""
        w = tables.wishes.c
        return self.connection.execute(sa.select(w.deployment).distinct().where(w.deployment.in_(uids))).scalars().all()

    # logs and notifications

    def add_lines(self, uid: str, first: int, lines: Sequence[StepLine]) -> None:
        """Record log lines, numbered from `first`."""
        _KEEP_LINES[self.database.dialect].run(
            self.connection,
            [
                {
                    "deployment": uid,
                    "sequence": first + offset,
                    "time": line.line.time,
                    "stage": line.stage,
                    "step": line.step,
                    "attempt": line.attempt,
                    "stream": line.line.stream.value,
                    "text": line.line.text,
                }
                for offset, line in enumerate(lines)
            ],
        )

    def count_lines(self, uid: str, stage: str, step: str, attempt: int) -> int:
        """Lines recorded of one attempt of a step."""
        c = tables.log_lines.c
        query = sa.select(sa.func.count()).where(
            c.deployment == uid, c.stage == stage, c.step == step, c.attempt == attempt
        )
        count: int = self.connection.execute(query).scalar_one()
        return count

    def last_line(self, uid: str) -> int:
        """Number of the last log line; 0 if there is none."""
        c = tables.log_lines.c
        last = self.connection.execute(sa.select(sa.func.max(c.sequence)).where(c.deployment == uid)).scalar_one()
        return last or 0

    def tell_people(self, deployment: Deployment, rules: Sequence[NotificationRule], message: Message) -> None:
        """Put a message in the outbox, once for each rule."""
        self.has_told_people = True
        channels = {rule.name: rule.channel for rule in rules}
        deliveries = deliveries_of(message, channels, message.time)
        add_deliveries(self.connection, tables.notification_outbox, deployment.id, deliveries, message.time)


def _wish(row: Row) -> Wish:
    key = None if row["stage"] is None else PartKey(row["stage"], PartKind.STEP, row["position"])
    return Wish(Verb(row["verb"]), row["actor"], row["reason"], key, row["target"])
