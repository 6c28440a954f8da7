"""One transaction over checks. Fits `application.checks.ports.Tx`."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any, Final

import sqlalchemy as sa

from opsuite.healer.v1 import check_pb2 as pb
from opsuite_healer.adapters import tables as shared
from opsuite_healer.adapters.checks import tables
from opsuite_healer.adapters.checks.check_messages import spec_of
from opsuite_healer.adapters.checks.health_messages import event_message
from opsuite_healer.adapters.checks.subject_codec import decode, encode
from opsuite_healer.adapters.unit import OverUnit, SqlUnit
from opsuite_healer.application.checks.errors import CheckExists, Overtaken
from opsuite_healer.application.checks.records import CheckRecord, Happened
from opsuite_healer.application.names import CHECKS
from opsuite_healer.application.troubles import Troubles
from opsuite_healer.domain.checks.answers import Answer
from opsuite_healer.domain.checks.check import CheckSpec
from opsuite_healer.domain.checks.standing import Standing
from opsuite_healer.domain.checks.subject import Subject
from opsuite_healer.domain.targets import TargetRef
from opsuite_probes.port import Outcome
from opsuite_runs.port import FencedOut, Lease
from opsuite_storage.prepared import Prepared

Row = Mapping[str, Any]

_c, _s, _e = tables.checks.c, tables.subjects.c, shared.events.events.c
_ID: Final = sa.bindparam("check", type_=sa.Text)
_COUNT: Final = sa.bindparam("count", type_=sa.BigInteger)
_BY_ID: Final = Prepared(sa.select(tables.checks).where(_c.id == _ID))
_LOCKED: Final = Prepared(sa.select(tables.checks).where(_c.id == _ID).with_for_update())
_SUBJECTS: Final = Prepared(sa.select(tables.subjects).where(_s.check_id == _ID).order_by(_s.replica))
_ADVANCE: Final = Prepared(
    sa.update(tables.checks)
    .where(
        _c.id == _ID,
        _c.epoch == sa.bindparam("mine", type_=sa.BigInteger),
        _c.changed == sa.bindparam("seen", type_=sa.BigInteger),
    )
    .values(revision=_c.revision + _COUNT)
    .returning(_c.revision)
)
_COUNT_ON: Final = Prepared(
    sa.update(tables.checks).where(_c.id == _ID).values(revision=_c.revision + _COUNT).returning(_c.revision)
)
_DROP: Final = Prepared(
    sa.delete(tables.subjects).where(_s.check_id == _ID, _s.replica == sa.bindparam("dropped", type_=sa.Text))
)
_REPLACE: Final = Prepared(sa.insert(tables.subjects), _s.keys())
_STANDINGS: Final = sa.select(
    _c.id,
    _c.whole,
    _c.replica.label("meant"),
    _s.replica,
    _s.outcome,
    _s.since,
    _s.is_flapping,
    _s.owes_answer,
    _s.message,
).outerjoin_from(tables.checks, tables.subjects, _s.check_id == _c.id)
KEPT: Final = 20_000


class SpecCache:
    """Checks by id and number: building one from its document costs more than reading the row."""

    def __init__(self) -> None:
        self._known: OrderedDict[tuple[str, int, datetime], CheckSpec] = OrderedDict()

    def spec(self, row: Row) -> CheckSpec:
        """The check of a row."""
        key = (row["id"], row["number"], row["created_at"])
        if (known := self._known.get(key)) is None:
            known = self._known[key] = spec_of(pb.Check.FromString(row["document"]))
            while len(self._known) > KEPT:
                self._known.popitem(last=False)
        return known

    def record(self, row: Row) -> CheckRecord:
        """What a row says."""
        return CheckRecord(
            spec=self.spec(row),
            document=row["document"],
            number=row["number"],
            created_at=row["created_at"],
            updated_at=row["updated_at"],
            created_by=row["created_by"],
            revision=row["revision"],
            changed=row["changed"],
            grace_until=row["grace_until"],
        )


class SqlChecks(OverUnit):
    """The transaction of this part, over a unit."""

    def __init__(self, unit: SqlUnit, troubles: Troubles, specs: SpecCache) -> None:
        super().__init__(unit)
        self.troubles = troubles
        self._specs = specs

    # --- reading

    def check(self, check: str) -> CheckRecord | None:
        """A check by its id."""
        row = _BY_ID.row(self.connection, {"check": check})
        return None if row is None else self._specs.record(row)

    def lock(self, check: str) -> CheckRecord | None:
        """A check that nobody else changes before this transaction has ended."""
        row = _LOCKED.row(self.connection, {"check": check})
        return None if row is None else self._specs.record(row)

    def subjects(self, check: str) -> Mapping[str, Subject]:
        """What is known of what it covers, by replica."""
        return {row["replica"]: subject_of(row) for row in _SUBJECTS.rows(self.connection, {"check": check})}

    def checks_of(self, target: TargetRef) -> Sequence[CheckRecord]:
        """Checks that ask a target, by id."""
        statement = sa.select(tables.checks).where(_c.whole == target.whole.canonical).order_by(_c.id)
        found = [self._specs.record(dict(row)) for row in self.connection.execute(statement).mappings()]
        return [one for one in found if _asks(one.spec, target)]

    def ids(self, group: str) -> Sequence[str]:
        """Ids of all checks, or of those of a group."""
        statement = sa.select(_c.id).order_by(_c.id)
        return self.connection.execute(statement.where(_c.group == group) if group else statement).scalars().all()

    def standings_of(self, target: TargetRef) -> Sequence[Standing]:
        """What is known of a target."""
        found = self._standings(_STANDINGS.where(_c.whole == target.whole.canonical))
        return [one for one in found if not target.replica or one.replica == target.replica]

    def standings_in(self, group: str) -> Sequence[Standing]:
        """What is known of the targets of a group; of all without one."""
        return self._standings(_STANDINGS.where(_c.group == group) if group else _STANDINGS)

    def _standings(self, statement: sa.Select[Any]) -> Sequence[Standing]:
        return [_standing(dict(row)) for row in self.connection.execute(statement).mappings()]

    # --- writing

    def add(self, record: CheckRecord) -> None:
        """Record a new check. Raises CheckExists."""
        values = _values(record) | {
            "id": record.spec.id,
            "created_at": record.created_at,
            "created_by": record.created_by,
            # Whoever watched an earlier check of that name goes on with this one.
            "revision": self._last_revision(record.spec.name),
            "changed": 0,
            # Greater than that of any earlier check of that name, whose attendant may still be asking.
            "epoch": int(record.created_at.timestamp() * 1000),
        }
        try:
            with self.connection.begin_nested():
                self.connection.execute(sa.insert(tables.checks).values(values))
        except sa.exc.IntegrityError as error:  # somebody else at the same moment
            raise CheckExists(record.spec.id) from error

    def put(self, record: CheckRecord) -> None:
        """Record a change; the attendant begins anew."""
        values = _values(record) | {"changed": _c.changed + 1}
        self.connection.execute(sa.update(tables.checks).where(_c.id == record.spec.id).values(values))

    def delete(self, check: str) -> None:
        """Forget a check and all but its events."""
        self.connection.execute(sa.delete(tables.subjects).where(_s.check_id == check))
        self.connection.execute(sa.delete(tables.checks).where(_c.id == check))

    def advance(self, lease: Lease, changed: int, events: int) -> int:
        """Let the attendant write: the revision before its next events. Raises FencedOut, Overtaken."""
        values = {"check": lease.run, "mine": lease.epoch, "seen": changed, "count": events}
        last = _ADVANCE.value(self.connection, values)
        if last is not None:
            return int(last) - events
        epoch = self.connection.execute(sa.select(_c.epoch).where(_c.id == lease.run)).scalar_one_or_none()
        if epoch != lease.epoch:
            raise FencedOut(lease.run)
        raise Overtaken

    def count_on(self, check: str, events: int) -> int:
        """The revision before its next events."""
        return int(_COUNT_ON.only_value(self.connection, {"check": check, "count": events})) - events

    def put_subjects(self, record: CheckRecord, subjects: Sequence[Subject]) -> None:
        """Record what is known now."""
        if subjects:
            self.drop_subjects(record.spec.id, [one.replica for one in subjects])
            _REPLACE.run(self.connection, [row_of(record.spec.id, one) for one in subjects])

    def drop_subjects(self, check: str, replicas: Sequence[str]) -> None:
        """Forget what is not there any more."""
        if replicas:
            _DROP.run(self.connection, [{"check": check, "dropped": one} for one in replicas])

    def happened(self, record: CheckRecord, after: int, happened: Sequence[Happened]) -> None:
        """Tell what happened to a check, as its events after that revision."""
        for revision, one in enumerate(happened, start=after + 1):
            payload = event_message(record, one, revision, self.now()).SerializeToString()
            self.tell(record.spec.name, revision, payload)

    def _last_revision(self, name: str) -> int:
        last = sa.select(sa.func.coalesce(sa.func.max(_e.revision), 0)).where(_e.resource == name)
        return int(self.connection.execute(last).scalar_one())


def subject_of(row: Row) -> Subject:
    """What a row says, with its last answer."""
    subject = decode(row["replica"], row)
    if row["asked_at"] is None:
        return subject
    last = Answer(
        outcome=Outcome(row["said"]),
        message=row["message"],
        at=row["asked_at"],
        latency=timedelta(seconds=row["latency_seconds"]),
        value=row["value"],
        issue=row["issue"],
    )
    return replace(subject, last=last)


def row_of(check: str, subject: Subject) -> dict[str, Any]:
    """A subject as it is written down."""
    return {
        "check_id": check,
        "replica": subject.replica,
        "outcome": subject.outcome.value,
        "since": subject.since,
        "is_flapping": subject.flap.is_flapping,
        "owes_answer": subject.owes_answer,
        "state": encode(subject),
        **said_columns(subject),
    }


def said_columns(subject: Subject) -> dict[str, Any]:
    """The last answer as it is written down."""
    last = subject.last
    return {
        "said": (last.outcome if last else Outcome.UNKNOWN).value,
        "message": last.message if last else "",
        "issue": last.issue if last else "",
        "value": last.value if last else None,
        "asked_at": last.at if last else None,
        "latency_seconds": last.latency.total_seconds() if last else 0.0,
    }


def _values(record: CheckRecord) -> dict[str, Any]:
    target = record.spec.target
    return {
        "platform": target.platform,
        "workload": target.workload,
        "whole": target.whole.canonical,
        "replica": target.replica,
        "group": record.spec.group,
        "document": record.document,
        "number": record.number,
        "updated_at": record.updated_at,
        "grace_until": record.grace_until,
    }


def _asks(spec: CheckSpec, target: TargetRef) -> bool:
    """Whether a check of the same workload asks a target: the workload, or the replica that is meant."""
    return not target.replica or spec.target.replica == target.replica or spec.covers_replicas


def _standing(row: Row) -> Standing:
    meant = f"#{row['meant']}" if row["meant"] else ""
    return Standing(
        check=CHECKS + row["id"],
        target=row["whole"] + meant,
        replica=row["meant"] if row["replica"] is None else row["replica"],
        outcome=Outcome(row["outcome"] or Outcome.UNKNOWN.value),
        since=row["since"],
        is_flapping=bool(row["is_flapping"]),
        owes_answer=bool(row["owes_answer"]),
        message=row["message"] or "",
    )
