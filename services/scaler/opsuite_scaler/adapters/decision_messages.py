"""Snapshots, decisions, activities and states of targets as messages of the contract."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from typing import Any, Final

from google.protobuf.struct_pb2 import Value

from opsuite.scaler.v1 import decision_pb2 as pb
from opsuite.scaler.v1 import policy_pb2
from opsuite_kernel.errors import InvalidInput, Violation
from opsuite_rpc.values import duration, time_of, timestamp
from opsuite_scaler.adapters.policy_names import POOLS
from opsuite_scaler.adapters.policy_rendering import mode_message, target_message
from opsuite_scaler.application.records import (
    Activity,
    Cause,
    Happened,
    PolicyRecord,
    Result,
    TargetRecord,
    name_of,
)
from opsuite_scaler.domain import state_codec
from opsuite_scaler.domain.conditions import conditions
from opsuite_scaler.domain.decide import acted
from opsuite_scaler.domain.decision import Decision, Outcome, State, Step, Verdict
from opsuite_scaler.domain.modes import mode_at
from opsuite_scaler.domain.policy import ModeSetting, ScalingPolicy
from opsuite_scaler.domain.snapshot import (
    Foreseen,
    Member,
    MemberPhase,
    PoolGrant,
    Reading,
    SampleKind,
    Snapshot,
)

_PHASES: Final = {pb.MEMBER_PHASE_UNSPECIFIED: MemberPhase.RUNNING} | {
    pb.MemberPhase.Value(f"MEMBER_PHASE_{phase.name}"): phase for phase in MemberPhase
}
_PHASE_NUMBERS: Final = {phase: pb.MemberPhase.Value(f"MEMBER_PHASE_{phase.name}") for phase in MemberPhase}
_SAMPLES: Final = {pb.SampleKind.Value(f"SAMPLE_KIND_{kind.name}"): kind for kind in SampleKind}
_SAMPLE_NUMBERS: Final = {kind: number for number, kind in _SAMPLES.items()}
ABLE: Final = "AbleToScale"
_VERDICTS: Final = {verdict: pb.Verdict.Value(f"VERDICT_{verdict.name}") for verdict in Verdict}

# --- snapshots -------------------------------------------------------------------------------------------------------


def snapshot_of(message: pb.Snapshot, now: datetime) -> Snapshot:
    """What a caller says that is seen; `now` where the message names no time."""
    size = message.spec_replicas
    return Snapshot(
        now=time_of(message, "time") or now,
        spec_replicas=size,
        status_replicas=message.status_replicas if message.HasField("status_replicas") else size,
        members=tuple(member_of(one) for one in message.members),
        readings={name: _reading_of(one) for name, one in message.readings.items()},
        rollout_under_way=message.rollout_under_way,
        pool=(
            PoolGrant(message.pool.pool.removeprefix(POOLS), message.pool.max_replicas)
            if message.HasField("pool")
            else None
        ),
        spent=message.spent,
        forecast=_foreseen_of(message.forecast, now) if message.HasField("forecast") else None,
        manual_until=time_of(message, "manual_until"),
    )


def snapshot_message(snapshot: Snapshot) -> pb.Snapshot:
    """What was seen."""
    forecast, pool = snapshot.forecast, snapshot.pool
    return pb.Snapshot(
        time=timestamp(snapshot.now),
        spec_replicas=snapshot.spec_replicas,
        status_replicas=snapshot.status_replicas,
        members=[member_message(one) for one in snapshot.members],
        readings={name: reading_message(one) for name, one in snapshot.readings.items()},
        rollout_under_way=snapshot.rollout_under_way,
        pool=pb.PoolGrant(pool=POOLS + pool.pool, max_replicas=pool.max_replicas) if pool else None,
        spent=snapshot.spent,
        forecast=foreseen_message(forecast) if forecast else None,
        manual_until=timestamp(snapshot.manual_until),
    )


def member_of(message: pb.Member) -> Member:
    """One replica."""
    return Member(
        name=message.name,
        phase=_PHASES[message.phase],
        ready=message.ready if message.HasField("ready") else None,
        started_at=time_of(message, "start_time"),
        ready_changed_at=time_of(message, "ready_change_time"),
        requests=dict(message.requests),
    )


def member_message(member: Member) -> pb.Member:
    """One replica."""
    return pb.Member(
        name=member.name,
        phase=_PHASE_NUMBERS[member.phase],
        ready=member.ready,
        start_time=timestamp(member.started_at),
        ready_change_time=timestamp(member.ready_changed_at),
        requests=member.requests,
    )


def _reading_of(message: pb.Reading) -> Reading:
    by_member = dict(message.by_member)
    return Reading(
        kind=_SAMPLES[message.kind],
        total=message.total or sum(by_member.values()),
        by_member=by_member,
        at=time_of(message, "time"),
        window=message.window.ToTimedelta(),
        message=message.message,
    )


def reading_message(reading: Reading, *, with_members: bool = True) -> pb.Reading:
    """What one metric said."""
    return pb.Reading(
        kind=_SAMPLE_NUMBERS[reading.kind],
        total=reading.total,
        by_member=reading.by_member if with_members else {},
        time=timestamp(reading.at),
        window=duration(reading.window),
        message=reading.message,
    )


def _foreseen_of(message: pb.Foreseen, now: datetime) -> Foreseen:
    return Foreseen(message.replicas, time_of(message, "time") or now, message.usable, message.note)


def foreseen_message(foreseen: Foreseen) -> pb.Foreseen:
    """What a forecast says."""
    return pb.Foreseen(
        replicas=foreseen.replicas, time=timestamp(foreseen.at), usable=foreseen.usable, note=foreseen.note
    )


# --- decisions -------------------------------------------------------------------------------------------------------


def state_of(text: str) -> State:
    """What a caller says that is remembered. Raises InvalidInput (field `state`)."""
    if not text:
        return State()
    try:
        return state_codec.decoded(json.loads(text))
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise InvalidInput([Violation("state", f"is not what an earlier outcome held: {error}")]) from error


def state_text(state: State) -> str:
    """What callers pass on as it is."""
    return json.dumps(state_codec.encoded(state), sort_keys=True, separators=(",", ":"))


def outcome_message(policy: ScalingPolicy, snapshot: Snapshot, outcome: Outcome) -> pb.Outcome:
    """A decision, why, and what to remember whether or not it is carried out."""
    decision = outcome.decision
    after = acted(policy, outcome.state, decision, snapshot.now) if decision.is_to_be_done else outcome.state
    return pb.Outcome(
        decision=decision_message(decision),
        steps=[step_message(one) for one in outcome.steps],
        state=state_text(outcome.state),
        acted_state=state_text(after),
    )


def decision_message(decision: Decision) -> pb.Decision:
    """What to do."""
    return pb.Decision(
        verdict=_VERDICTS[decision.verdict],
        current_replicas=decision.current,
        desired_replicas=decision.desired,
        reason=decision.reason,
        message=decision.message,
        remaining=duration(decision.remaining) if decision.remaining else None,
        withheld_replicas=decision.withheld,
    )


def step_message(step: Step) -> pb.Step:
    """One rule."""
    message = pb.Step(rule=step.rule, before=step.before, after=step.after, reason=step.reason, message=step.message)
    for name, value in step.inputs.items():
        message.inputs[name].CopyFrom(_value(value))
    return message


def _value(value: float | int | str) -> Value:
    return Value(string_value=value) if isinstance(value, str) else Value(number_value=float(value))


def step_of(message: pb.Step) -> Step:
    """One rule."""
    inputs = {name: _plain(value) for name, value in message.inputs.items()}
    return Step(message.rule, message.before, message.after, message.reason, message.message, inputs)


def _plain(value: Value) -> float | int | str:
    if value.WhichOneof("kind") == "string_value":
        return value.string_value
    number = value.number_value
    return int(number) if number.is_integer() else number


def explanation_bytes(steps: Iterable[Step], snapshot: Snapshot | None) -> bytes:
    """Steps and snapshot as an activity keeps them."""
    return pb.ScalingActivity(
        steps=[step_message(one) for one in steps], snapshot=snapshot_message(snapshot) if snapshot else None
    ).SerializeToString()


def explained(data: bytes, now: datetime) -> tuple[tuple[Step, ...], Snapshot | None]:
    """The way back."""
    message = pb.ScalingActivity.FromString(data)
    snapshot = snapshot_of(message.snapshot, now) if message.HasField("snapshot") else None
    return tuple(step_of(one) for one in message.steps), snapshot


# --- activities, states, events --------------------------------------------------------------------------------------


def activity_message(activity: Activity, *, steps: bool = False, snapshot: bool = False) -> pb.ScalingActivity:
    """An activity, with as much of its explanation as is wanted."""
    return pb.ScalingActivity(
        name=activity.name,
        cause=pb.ActivityCause.Value(f"ACTIVITY_CAUSE_{activity.cause.value}"),
        decision=decision_message(activity.decision),
        outcome=pb.ActivityOutcome.Value(f"ACTIVITY_OUTCOME_{activity.result.value}"),
        error=activity.error,
        actor=activity.actor,
        start_time=timestamp(activity.started_at),
        last_time=timestamp(activity.last_at),
        evaluations=activity.evaluations,
        policy_etag=str(activity.policy_number),
        steps=[step_message(one) for one in activity.steps] if steps else [],
        snapshot=snapshot_message(activity.snapshot) if snapshot and activity.snapshot else None,
    )


def event_message(policy: str, happened: Happened, revision: int, at: datetime) -> pb.ScalingEvent:
    """One thing that happened."""
    return pb.ScalingEvent(
        policy=name_of(policy),
        revision=revision,
        time=timestamp(at),
        kind=pb.ScalingEventKind.Value(f"SCALING_EVENT_KIND_{happened.kind.value}"),
        activity=activity_message(happened.activity, steps=True) if happened.activity else None,
        mode=mode_message(happened.mode) if happened.mode else None,
        actor=happened.actor,
        message=happened.message,
    )


def status_message(
    record: PolicyRecord, target: TargetRecord, activity: Activity | None, now: datetime
) -> pb.ScalingStatus:
    """How a target stands."""
    manual_until = target.manual_until if target.manual_until and target.manual_until > now else None
    return pb.ScalingStatus(
        policy=record.name,
        target=target_message(record.policy.target),
        spec_replicas=target.size,
        status_replicas=target.status_size,
        last_activity=activity_message(activity, steps=True) if activity else None,
        last_evaluation_time=timestamp(target.looked_at),
        mode=_mode_now(record.policy.mode, now),
        manual_until=timestamp(manual_until),
        readings={name: reading_message(one, with_members=False) for name, one in target.readings.items()},
        error=target.error,
        conditions=list(_conditions(target, activity)),
        revision=target.revision,
        attended=target.is_attended,
    )


def _mode_now(setting: ModeSetting, now: datetime) -> policy_pb2.ModeSetting:
    return mode_message(setting if mode_at(setting, now) is setting.mode else ModeSetting())


def _conditions(target: TargetRecord, activity: Activity | None) -> Iterable[pb.ScalingCondition]:
    """HPA's, but for those that what was done decides rather than what was thought."""
    if target.error:
        yield pb.ScalingCondition(type=ABLE, reason="FailedGetScale", message=target.error)
        return
    if activity is None or activity.cause is not Cause.POLICY:
        return
    failed = activity.error and activity.result is not Result.ACCEPTED
    if failed:
        yield pb.ScalingCondition(type=ABLE, reason="FailedUpdateScale", message=activity.error)
    for one in conditions(Outcome(activity.decision, target.state or State(), activity.steps)):
        if one.type != ABLE or not failed:
            yield pb.ScalingCondition(type=one.type, status=one.status, reason=one.reason, message=one.message)


# --- readings in JSON columns ----------------------------------------------------------------------------------------


def readings_document(readings: Mapping[str, Reading]) -> dict[str, Any]:
    """Totals for a JSON column."""
    return {
        name: {
            "kind": reading.kind.value,
            "total": reading.total,
            "at": reading.at.isoformat() if reading.at else None,
            "message": reading.message,
        }
        for name, reading in readings.items()
    }


def readings_of(document: Mapping[str, Any]) -> dict[str, Reading]:
    """The way back."""
    return {
        name: Reading(
            kind=SampleKind(one["kind"]),
            total=one["total"],
            at=datetime.fromisoformat(one["at"]).astimezone(UTC) if one["at"] else None,
            message=one["message"],
        )
        for name, one in document.items()
    }
