"""The scaler's messages in the words that are printed. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from opsuite.scaler.v1.decision_pb2 import Decision, Reading, ScalingActivity, ScalingStatus, Step
    from opsuite.scaler.v1.policy_pb2 import Metric, ModeSetting, ScaleTargetRef, ScalingPolicy
    from opsuite.scaler.v1.simulation_service_pb2 import BacktestReport


def word(enum: Any, number: int, prefix: str) -> str:
    """A value of an enum without its prefix; a number that this version does not know stays one."""
    try:
        name: str = enum.Name(number)
    except ValueError:
        return str(number)
    return name.removeprefix(prefix)


def mode(setting: ModeSetting) -> str:
    """`ACTIVE`, with its end and author where it has them."""
    from opsuite.scaler.v1.policy_pb2 import ScalingMode

    name = word(ScalingMode, setting.mode, "SCALING_MODE_")
    told = "ACTIVE" if name == "UNSPECIFIED" else name
    until = f" until {setting.until.ToJsonString()}" if setting.HasField("until") else ""
    by = f" by {setting.author}" if setting.author and told != "ACTIVE" else ""
    return told + until + by


def target(ref: ScaleTargetRef) -> str:
    """`process checkout`, `Deployment prod/checkout`."""
    kind = ref.object_kind or ref.platform or ("process" if not ref.address else ref.address)
    return f"{kind} {ref.namespace + '/' if ref.namespace else ''}{ref.name}"


def metric(one: Metric) -> str:
    """A metric and what is wanted of it: `cpu 60 %`."""
    match one.WhichOneof("kind"):
        case "target_cpu":
            return f"{one.name} {one.target_cpu.target_percent} %"
        case "target_memory":
            return f"{one.name} {one.target_memory.target_percent} %"
        case "queue_length":
            return f"{one.name} {one.queue_length.max_items:g} items"
        case "response_time":
            return f"{one.name} {one.response_time.target_ms:g} ms"
        case "custom":
            return f"{one.name} {one.custom.target:g}"
        case _:
            return f"{one.name} {one.general.target:g}"


def policy_row(policy: ScalingPolicy) -> list[str]:
    """One line of a list of policies."""
    low = policy.min_replicas if policy.HasField("min_replicas") else 1
    return [
        policy.name.rpartition("/")[2],
        target(policy.target),
        f"{low}..{policy.max_replicas}",
        ", ".join(metric(one) for one in policy.metrics),
        mode(policy.mode),
    ]


def decision(one: Decision) -> str:
    """`3 → 5 AboveTarget`, `5 NO_CHANGE WithinTolerance`, `5, 3 in 40 s ScaleDownCooldown`."""
    from opsuite.scaler.v1.decision_pb2 import VERDICT_SCALE, VERDICT_WAIT

    if one.verdict == VERDICT_SCALE:
        return f"{one.current_replicas} → {one.desired_replicas} {one.reason}"
    if one.verdict == VERDICT_WAIT:
        rest = one.remaining.ToTimedelta().total_seconds()
        return f"{one.current_replicas}, {one.desired_replicas} in {rest:.0f} s {one.reason}"
    return f"{one.current_replicas} NO_CHANGE {one.reason}"


def step(one: Step) -> str:
    """One rule: what it made of the size, and why."""
    change = f"{one.before} → {one.after}" if one.before != one.after else f"{one.after}"
    return f"  {one.rule:<22} {change:<10} {one.reason}: {one.message}"


def reading(one: Reading) -> str:
    """A value, or why there is none."""
    from opsuite.scaler.v1.decision_pb2 import SAMPLE_KIND_VALUE, SampleKind

    if one.kind != SAMPLE_KIND_VALUE:
        return f"{word(SampleKind, one.kind, 'SAMPLE_KIND_')}: {one.message}"
    if one.by_member:
        return f"{sum(one.by_member.values()):g} over {len(one.by_member)} members"
    return f"{one.total:g}"


def activity_row(one: ScalingActivity) -> list[str]:
    """One line of a list of activities."""
    from opsuite.scaler.v1.decision_pb2 import ActivityCause, ActivityOutcome

    return [
        one.start_time.ToDatetime().strftime("%Y-%m-%d %H:%M:%S"),
        one.name.rpartition("/")[2],
        word(ActivityCause, one.cause, "ACTIVITY_CAUSE_"),
        decision(one.decision),
        word(ActivityOutcome, one.outcome, "ACTIVITY_OUTCOME_"),
        str(one.evaluations),
    ]


def status_lines(status: ScalingStatus) -> Iterator[str]:
    """How a target stands."""
    wanted = str(status.spec_replicas) if status.HasField("spec_replicas") else "not seen yet"
    there = f", {status.status_replicas} there" if status.HasField("status_replicas") else ""
    yield f"{status.policy.rpartition('/')[2]}: {target(status.target)}, {wanted} replicas{there}, {mode(status.mode)}"
    if status.HasField("last_activity"):
        yield f"  last:    {decision(status.last_activity.decision)}"
        yield f"           {status.last_activity.decision.message}"
    for name in sorted(status.readings):
        yield f"  metric:  {name} = {reading(status.readings[name])}"
    if status.HasField("manual_until"):
        yield f"  by hand: kept until {status.manual_until.ToJsonString()}"
    for one in status.conditions:
        yield f"  {one.type}: {'yes' if one.status else 'no'} ({one.reason}) {one.message}".rstrip()
    if not status.attended:
        yield "  nobody looks after it now"
    if status.error:
        yield f"  error:   {status.error}"


def report_row(report: BacktestReport) -> list[str]:
    """One line of the table of a backtest."""
    return [
        report.contender,
        f"{report.violation_minutes:.3g}",
        f"{report.replica_hours:.3g}",
        f"{100 * report.excess_over_optimum:+.0f} %",
        f"{report.cost:.2f}",
        str(report.scale_events),
        str(report.reversals),
        f"{report.mean_time_to_capacity.ToTimedelta().total_seconds():.0f} s",
        f"{report.utilization_p95:.0f} %",
        str(report.peak_replicas),
    ]


REPORT_HEAD = [
    "CONTENDER",
    "SHORT (MIN)",
    "REPLICA-HOURS",
    "OVER OPTIMUM",
    "COST",
    "CHANGES",
    "REVERSALS",
    "TO CAPACITY",
    "P95 BUSY",
    "PEAK",
]
