"""What is known of checks, as messages of the contract."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from typing import Final

from opsuite.healer.v1 import check_pb2 as pb
from opsuite.healer.v1 import health_check_service_pb2 as service_pb
from opsuite_healer.adapters.checks.outcomes import OUTCOMES
from opsuite_healer.adapters.target_messages import target_message
from opsuite_healer.application.checks.records import CheckRecord, EventKind, Happened
from opsuite_healer.application.names import CHECKS
from opsuite_healer.domain.checks.answers import Answer
from opsuite_healer.domain.checks.standing import Standing, together
from opsuite_healer.domain.checks.subject import Subject
from opsuite_rpc.values import duration, timestamp

KINDS: Final = {kind: pb.CheckEventKind.Value(f"CHECK_EVENT_KIND_{kind.name}") for kind in EventKind}


def check_message(record: CheckRecord, subjects: Iterable[Subject]) -> pb.Check:
    """A check as it was given, with what the server knows of it."""
    message = pb.Check.FromString(record.document)
    message.name = CHECKS + record.spec.id
    message.etag = record.etag
    message.created_by = record.created_by
    message.create_time.FromDatetime(record.created_at)
    message.update_time.FromDatetime(record.updated_at)
    message.health.CopyFrom(health_message(record, subjects))
    return message


def health_message(record: CheckRecord, subjects: Iterable[Subject]) -> pb.CheckHealth:
    """How a check stands."""
    known = sorted(subjects, key=lambda one: one.replica)
    outcome, _ = together([standing_of(record, one) for one in known])
    return pb.CheckHealth(
        name=record.spec.name,
        revision=record.revision,
        outcome=OUTCOMES[outcome],
        subjects=[subject_message(one) for one in known],
    )


def standing_of(record: CheckRecord, subject: Subject) -> Standing:
    """A subject as far as its health goes."""
    return Standing(
        record.spec.name,
        record.spec.target.canonical,
        subject.replica,
        subject.outcome,
        subject.since,
        subject.flap.is_flapping,
        subject.owes_answer,
        subject.last.message if subject.last else "",
    )


def subject_message(subject: Subject) -> pb.SubjectHealth:
    """How one thing stands."""
    return pb.SubjectHealth(
        replica=subject.replica,
        outcome=OUTCOMES[subject.outcome],
        since=timestamp(subject.since),
        is_flapping=subject.flap.is_flapping,
        failures=subject.health.failures,
        successes=subject.health.successes,
        last=answer_message(subject.last) if subject.last else None,
        grace_until=timestamp(subject.grace_until),
        issue=subject.told.issue if subject.told else "",
    )


def answer_message(answer: Answer) -> pb.CheckAnswer:
    """What was said once."""
    return pb.CheckAnswer(
        outcome=OUTCOMES[answer.outcome],
        message=answer.message,
        time=timestamp(answer.at),
        latency=duration(answer.latency),
        value=answer.value,
        issue=answer.issue,
    )


def event_message(record: CheckRecord, happened: Happened, revision: int, now: datetime) -> pb.CheckEvent:
    """One thing that happened."""
    return pb.CheckEvent(
        name=record.spec.name,
        revision=revision,
        time=timestamp(now),
        kind=KINDS[happened.kind],
        target=target_message(record.spec.target),
        subject=subject_message(happened.subject) if happened.subject else None,
        message=happened.message,
    )


def flap_state_message(subject: Subject) -> service_pb.FlapState:
    """Why something flaps, or does not."""
    return service_pb.FlapState(
        replica=subject.replica,
        history=[
            pb.HEALTH_OUTCOME_HEALTHY if is_good else pb.HEALTH_OUTCOME_UNHEALTHY for is_good in subject.flap.history
        ],
        percent=subject.flap.percent,
        is_flapping=subject.flap.is_flapping,
        since=timestamp(subject.flapping_since),
        suppressed=subject.suppressed,
    )
