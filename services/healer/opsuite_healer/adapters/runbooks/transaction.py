"""One transaction over runbooks: fits `application.runbooks.ports.Tx`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, Final

import sqlalchemy as sa

from opsuite.healer.v1 import runbook_pb2 as pb
from opsuite_healer.adapters.runbooks import tables
from opsuite_healer.adapters.runbooks.execution_messages import event_message
from opsuite_healer.adapters.runbooks.runbook_messages import runbook_message, runbook_of
from opsuite_healer.adapters.runbooks.state_codec import decode, encode
from opsuite_healer.adapters.unit import OverUnit, SqlUnit
from opsuite_healer.application.incident_book import IncidentBook
from opsuite_healer.application.runbooks.errors import RunbookExists
from opsuite_healer.application.runbooks.records import EventKind, ExecutionRecord, Happened, RunbookRecord
from opsuite_healer.domain.runbooks.execution import Execution
from opsuite_healer.domain.runbooks.runbook import Runbook
from opsuite_runs.port import FencedOut, Lease
from opsuite_storage.prepared import Prepared

Row = Mapping[str, Any]

_r, _e, _s = tables.runbooks.c, tables.executions.c, tables.runbook_issues.c
_ID: Final = sa.bindparam("execution", type_=sa.Text)
_RUNBOOK: Final = sa.select(tables.runbooks).where(_r.id == sa.bindparam("runbook", type_=sa.Text))
_EXECUTION: Final = sa.select(tables.executions).where(_e.id == _ID)
_BY_ID: Final = Prepared(_RUNBOOK)
_BY_ID_LOCKED: Final = Prepared(_RUNBOOK.with_for_update())
_READ: Final = Prepared(_EXECUTION)
_LOCKED: Final = Prepared(_EXECUTION.with_for_update())
_MINE: Final = Prepared(_EXECUTION.where(_e.epoch == sa.bindparam("epoch", type_=sa.BigInteger)).with_for_update())
_OF_KEY: Final = Prepared(sa.select(tables.executions).where(_e.key == sa.bindparam("key", type_=sa.Text)))


class SqlRunbooks(OverUnit):
    """The transaction of this part, over a unit."""

    def __init__(self, unit: SqlUnit, book: IncidentBook) -> None:
        super().__init__(unit)
        self.book = book

    # --- runbooks

    def runbook(self, runbook: str) -> RunbookRecord | None:
        """A runbook by its id."""
        row = _BY_ID.row(self.connection, {"runbook": runbook})
        return None if row is None else runbook_record_of(row)

    def lock_runbook(self, runbook: str) -> RunbookRecord | None:
        """The same, and nobody else changes it before this transaction ends."""
        row = _BY_ID_LOCKED.row(self.connection, {"runbook": runbook})
        return None if row is None else runbook_record_of(row)

    def add_runbook(self, record: RunbookRecord) -> None:
        """Record a new runbook. Raises RunbookExists."""
        row = _document(record.runbook) | {
            "number": record.number,
            "created_at": record.created_at,
            "updated_at": record.updated_at,
            "created_by": record.created_by,
        }
        try:
            with self.connection.begin_nested():
                self.connection.execute(sa.insert(tables.runbooks).values(row))
        except sa.exc.IntegrityError as error:
            raise RunbookExists(record.runbook.id) from error
        self._put_issues(record.runbook)

    def put_runbook(self, record: RunbookRecord) -> None:
        """Record a change of a runbook."""
        row = _document(record.runbook) | {"number": record.number, "updated_at": record.updated_at}
        self.connection.execute(sa.update(tables.runbooks).where(_r.id == record.runbook.id).values(row))
        self._put_issues(record.runbook)

    def delete_runbook(self, runbook: str) -> None:
        """Forget a runbook."""
        self.connection.execute(sa.delete(tables.runbook_issues).where(_s.runbook == runbook))
        self.connection.execute(sa.delete(tables.runbooks).where(_r.id == runbook))

    def _put_issues(self, runbook: Runbook) -> None:
        self.connection.execute(sa.delete(tables.runbook_issues).where(_s.runbook == runbook.id))
        if runbook.issues:
            rows = [{"issue": issue, "runbook": runbook.id} for issue in runbook.issues]
            self.connection.execute(sa.insert(tables.runbook_issues), rows)

    # --- executions

    def execution(self, execution: str) -> ExecutionRecord | None:
        """An execution by its id."""
        return self._one(_READ, {"execution": execution})

    def lock(self, execution: str) -> ExecutionRecord | None:
        """The same, and nobody else changes it before this transaction ends."""
        return self._one(_LOCKED, {"execution": execution})

    def lock_mine(self, lease: Lease) -> ExecutionRecord:
        """The same for the owner of a lease. Raises FencedOut."""
        found = self._one(_MINE, {"execution": lease.run, "epoch": lease.epoch})
        if found is None:
            raise FencedOut(lease.run)
        return found

    def of_key(self, key: str) -> ExecutionRecord | None:
        """The execution that was begun with a key."""
        return self._one(_OF_KEY, {"key": key})

    def begun_by(self, actor: str) -> Sequence[ExecutionRecord]:
        """Executions that are not over and were begun by an actor, locked."""
        statement = sa.select(tables.executions).where(tables.IS_GOING_ON, _e.actor == actor).with_for_update()
        return [record_of(dict(row)) for row in self.connection.execute(statement).mappings()]

    def add_execution(self, execution: Execution) -> ExecutionRecord | None:
        """Record a new execution and its first event; None if its key was taken at this moment."""
        fixed = {
            "id": execution.id,
            "runbook": execution.runbook.id,
            "key": execution.key,
            "actor": execution.actor,
            "incident": execution.incident,
            "definition": runbook_message(execution.runbook).SerializeToString(deterministic=True),
            "traceparent": execution.traceparent,
            "created_at": execution.created_at,
            "epoch": 0,
        }
        record = ExecutionRecord(execution, number=1, revision=1)
        try:
            with self.connection.begin_nested():
                self.connection.execute(sa.insert(tables.executions).values(fixed | _changing(record)))
        except sa.exc.IntegrityError:
            return None
        self._tell_of(execution, Happened(EventKind.STARTED, actor=execution.actor), 1)
        return record

    def put_execution(self, record: ExecutionRecord, happened: Sequence[Happened]) -> ExecutionRecord:
        """Record a change of a locked execution, and an event for each thing that happened."""
        after = replace(record, revision=record.revision + len(happened))
        for offset, what in enumerate(happened, 1):
            self._tell_of(record.execution, what, record.revision + offset)
        statement = sa.update(tables.executions).where(_e.id == record.execution.id).values(_changing(after))
        self.connection.execute(statement)
        return after

    def _one(self, statement: Prepared, values: dict[str, Any]) -> ExecutionRecord | None:
        row = statement.row(self.connection, values)
        return None if row is None else record_of(row)

    def _tell_of(self, execution: Execution, what: Happened, revision: int) -> None:
        message = event_message(execution, what, revision)
        message.time.FromDatetime(self.now())
        self.tell(execution.name, revision, message.SerializeToString())


def runbook_record_of(row: Row) -> RunbookRecord:
    """The runbook of a row."""
    return RunbookRecord(
        runbook_of(pb.Runbook.FromString(row["document"])),
        row["number"],
        row["created_at"],
        row["updated_at"],
        row["created_by"],
    )


def record_of(row: Row) -> ExecutionRecord:
    """The execution of a row."""
    runbook = runbook_of(pb.Runbook.FromString(row["definition"]))
    return ExecutionRecord(decode(row, runbook), row["number"], row["revision"])


def _document(runbook: Runbook) -> dict[str, Any]:
    return {"id": runbook.id, "document": runbook_message(runbook).SerializeToString(deterministic=True)}


def _changing(record: ExecutionRecord) -> dict[str, Any]:
    return {
        "status": record.execution.status.value,
        "state": encode(record.execution),
        "ended_at": record.execution.ended_at,
        "number": record.number,
        "revision": record.revision,
    }
