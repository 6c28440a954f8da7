"""Last answers that change nothing, written down together every few seconds.

Only what people look at is written: what the next answer is judged by stands in the row already. A crash loses some
seconds of it, and nothing that decides.
"""

from __future__ import annotations

from typing import Final

import sqlalchemy as sa

from opsuite_healer.adapters.checks import tables
from opsuite_healer.adapters.checks.transaction import said_columns
from opsuite_healer.domain.checks.subject import Subject
from opsuite_runs.port import Lease
from opsuite_storage.prepared import Prepared
from opsuite_storage.store import Store

_c, _s = tables.checks.c, tables.subjects.c
_SAID: Final = ("said", "message", "issue", "value", "asked_at", "latency_seconds")
_MINE: Final = (
    sa.exists()
    .where(_c.id == sa.bindparam("check", type_=sa.Text), _c.epoch == sa.bindparam("mine", type_=sa.BigInteger))
    .correlate(None)
)
_WRITE: Final = Prepared(
    sa.update(tables.subjects)
    .where(
        _s.check_id == sa.bindparam("check", type_=sa.Text),
        _s.replica == sa.bindparam("name", type_=sa.Text),
        _MINE,
    )
    .values({name: sa.bindparam(f"new_{name}", type_=_s[name].type) for name in _SAID})
)


class LastAnswers:
    """Fits `application.checks.ports.Recorder`."""

    def __init__(self, database: Store) -> None:
        self._database = database
        self._noted: dict[str, dict[str, tuple[Lease, Subject]]] = {}

    def note(self, lease: Lease, subject: Subject) -> None:
        """This was said last of a subject."""
        self._noted.setdefault(lease.run, {})[subject.replica] = (lease, subject)

    def forget(self, check: str) -> None:
        """What was noted of a check is out of date."""
        self._noted.pop(check, None)

    async def flush(self) -> None:
        """Write down what was noted. Raises Unavailable; then it is lost."""
        noted, self._noted = self._noted, {}
        rows = [_row(lease, subject) for those in noted.values() for lease, subject in those.values()]
        if rows:
            await self._database.write(lambda connection: _WRITE.run(connection, rows))


def _row(lease: Lease, subject: Subject) -> dict[str, object]:
    said = {f"new_{name}": value for name, value in said_columns(subject).items()}
    return {"check": lease.run, "mine": lease.epoch, "name": subject.replica, **said}
