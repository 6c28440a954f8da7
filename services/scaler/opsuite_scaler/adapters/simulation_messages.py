"""Traces, contenders, plants and backtests as messages of the contract, both ways."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Final

from google.protobuf.duration_pb2 import Duration
from google.protobuf.message import Message
from google.protobuf.timestamp_pb2 import Timestamp

from opsuite.scaler.v1 import simulation_service_pb2 as pb
from opsuite_kernel.errors import InvalidInput, Violation
from opsuite_rpc.values import moment
from opsuite_scaler.adapters.calls import policy_id
from opsuite_scaler.application.rehearsal import BacktestRecord, BacktestState, KeptTrace, Played, Series, Span
from opsuite_scaler.application.trace_sources import Asked, Made, Recorded, Wanted
from opsuite_scaler.domain.policy import ScalingPolicy
from opsuite_scaler.domain.simulation.generators import Shape
from opsuite_scaler.domain.simulation.plant import Observable, Site
from opsuite_scaler.domain.simulation.report import Parting
from opsuite_scaler.domain.simulation.traces import METRIC_FAULTS, Mark, Trace, read

BACKTESTS, TRACES = "backtests/", "traces/"
NEW_YEAR: Final = datetime(2026, 1, 1, tzinfo=UTC)
STEP: Final = timedelta(seconds=15)
STATES: Final = {
    BacktestState.RUNNING: pb.BACKTEST_STATE_RUNNING,
    BacktestState.SUCCEEDED: pb.BACKTEST_STATE_SUCCEEDED,
    BacktestState.FAILED: pb.BACKTEST_STATE_FAILED,
    BacktestState.CANCELLED: pb.BACKTEST_STATE_CANCELLED,
}


# --- traces ----------------------------------------------------------------------------------------------------------


def wanted_of(message: pb.TraceSource) -> Wanted:
    """Which trace is meant. Raises InvalidInput."""
    match message.WhichOneof("source"):
        case "inline":
            return KeptTrace("", message.inline.metric or "load", trace_of(message.inline))
        case "name":
            return message.name.removeprefix(TRACES)
        case "generator":
            made = message.generator
            usual = Shape()
            shape = Shape(
                _duration(made, "duration", usual.duration),
                _duration(made, "step", usual.step),
                scale=made.scale if made.HasField("scale") else usual.scale,
            )
            return Made(made.name, made.seed, shape)
        case "recorded":
            seen = message.recorded
            return Recorded(policy_id(seen.policy), seen.metric, moment(seen, "start_time"), moment(seen, "end_time"))
        case _:
            asked = message.prometheus
            start, end = moment(asked, "start_time"), moment(asked, "end_time")
            assert start is not None  # noqa: S101  # required by the contract
            assert end is not None  # noqa: S101
            return Asked(asked.source, asked.query, Span(start, end, _duration(asked, "step", STEP)))


def trace_of(message: pb.Trace, name: str = "inline") -> Trace:
    """The trace of a message. Raises InvalidInput (values that are no load, ranges outside of it)."""
    values = tuple(message.values)
    found = [
        Violation(f"trace.values[{index}]", "must be finite and not below 0")
        for index, value in enumerate(values)
        if not 0 <= value < float("inf")
    ]
    marks = bytearray(len(values))
    for index, one in enumerate(message.missing):
        if not one.begin < one.end <= len(values):
            found.append(Violation(f"trace.missing[{index}]", f"must be a range within the {len(values)} values"))
        marks[one.begin : min(one.end, len(values))] = bytes([Mark.GAP]) * max(0, min(one.end, len(values)) - one.begin)
    if found:
        raise InvalidInput(found[:20], reason="TRACE_INVALID")
    start = moment(message, "start_time") or NEW_YEAR
    return Trace(name, message.step.ToTimedelta(), values, bytes(marks) if any(marks) else b"", start)


def imported(request: pb.ImportTraceRequest) -> KeptTrace:
    """The trace that is to be kept. Raises InvalidInput."""
    name = request.name.removeprefix(TRACES)
    if request.WhichOneof("content") == "trace":
        return KeptTrace(name, request.trace.metric or "load", trace_of(request.trace, name))
    try:
        text = request.csv.decode()
    except UnicodeDecodeError as error:
        raise InvalidInput([Violation("csv", "is not UTF-8")], reason="TRACE_INVALID") from error
    return KeptTrace(name, "load", read(name, text, NEW_YEAR))


def trace_message(kept: KeptTrace) -> pb.Trace:
    """A trace as a message: every fault of the metric is a missing range there."""
    trace = kept.trace
    message = pb.Trace(metric=kept.metric, values=trace.values)
    message.step.FromTimedelta(trace.step)
    message.start_time.FromDatetime(trace.start)
    for index, mark in enumerate(trace.marks):
        if mark not in METRIC_FAULTS:
            continue
        if message.missing and message.missing[-1].end == index:
            message.missing[-1].end = index + 1
        else:
            message.missing.add(begin=index, end=index + 1)
    return message


# --- plants ----------------------------------------------------------------------------------------------------------


def site_of(message: pb.Plant, policy: ScalingPolicy) -> Site:
    """How load and replicas become metrics."""
    return Site(
        capacity=message.capacity_per_replica if message.HasField("capacity_per_replica") else 1.0,
        startup=_duration(message, "startup_delay", timedelta(seconds=30)),
        initial_replicas=message.initial_replicas
        if message.HasField("initial_replicas")
        else max(1, policy.min_replicas),
        lag=_duration(message, "metric_lag", timedelta(0)),
        tolerated_percent=message.violation_percent if message.HasField("violation_percent") else 90.0,
        price_per_replica_hour=message.price_per_replica_hour if message.HasField("price_per_replica_hour") else 1.0,
        service_seconds=message.service_seconds if message.HasField("service_seconds") else 0.1,
        observable=Observable(message.observable) if message.observable else None,
    )


# --- backtests -------------------------------------------------------------------------------------------------------


def backtest_message(record: BacktestRecord) -> pb.Backtest:
    """A backtest."""
    return pb.Backtest(
        name=BACKTESTS + record.id,
        display_name=record.display_name,
        state=STATES[record.state],
        error=record.error,
        progress=record.progress,
        create_time=_timestamp(record.created_at),
        end_time=None if record.ended_at is None else _timestamp(record.ended_at),
        created_by=record.created_by,
        reports=[report_message(one) for one in record.played],
        ticks=record.ticks,
    )


def report_message(played: Played) -> pb.BacktestReport:
    """How a contender did."""
    found, best = played.measures, played.best.replica_hours
    wait = Duration()
    wait.FromTimedelta(timedelta(seconds=found.time_to_capacity_mean_seconds))
    return pb.BacktestReport(
        contender=played.contender,
        replica_hours=found.replica_hours,
        cost=found.cost,
        violation_minutes=found.violation_minutes,
        under_provisioned_replica_hours=found.under_provision,
        over_provisioned_replica_hours=found.over_provision,
        scale_events=found.scale_ups + found.scale_downs,
        reversals=found.reversals,
        flap_score=found.reversals_per_day,
        mean_time_to_capacity=wait,
        utilization_p50=found.utilization_p50_percent,
        utilization_p95=found.utilization_p95_percent,
        utilization_p99=found.utilization_p99_percent,
        excess_over_optimum=found.replica_hours / best - 1 if best else 0.0,
        peak_replicas=found.peak_replicas,
        reasons=dict(played.reasons),
        series=[] if played.series is None else _points(played.series, found.capacity_per_replica),
    )


def difference_messages(partings: Sequence[Parting], start: datetime) -> list[pb.PolicyDifference]:
    """Where two policies parted ways."""
    return [
        pb.PolicyDifference(
            time=_timestamp(start + timedelta(seconds=one.from_seconds)),
            first_replicas=one.first,
            second_replicas=one.second,
            first_reason=one.first_reason,
            second_reason=one.second_reason,
        )
        for one in partings
    ]


def _points(series: Series, capacity: float) -> list[pb.BacktestPoint]:
    rows = zip(series.load, series.serving, series.desired, series.reason, strict=True)
    return [
        pb.BacktestPoint(
            time=_timestamp(series.start + index * series.step),
            load=load,
            ready_replicas=serving,
            desired_replicas=desired,
            observed=100 * load / (max(serving, 1) * capacity),
            reason=reason,
        )
        for index, (load, serving, desired, reason) in enumerate(rows)
    ]


def _duration(message: Message, field: str, default: timedelta) -> timedelta:
    if not message.HasField(field):
        return default
    value: Duration = getattr(message, field)
    return value.ToTimedelta()


def _timestamp(at: datetime) -> Timestamp:
    found = Timestamp()
    found.FromDatetime(at)
    return found
