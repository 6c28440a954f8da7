"""Events as plain lines, for pipes and logs: one line for each, with a time, and how long things took. Pure."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from opsuite.deployer.v1.deployment_pb2 import Deployment, DeploymentEvent, LogLine
from opsuite.deployer.v1.rollout_pb2 import RolloutStatus
from opsuite_cli import words
from opsuite_cli.names import short
from opsuite_cli.picture import Picture
from opsuite_cli.rollout_tree import in_short


def line_of(event: DeploymentEvent, picture: Picture) -> str:
    """The line for an event that `picture` has taken."""
    return f"{_time(event.time.ToDatetime(UTC))}  {_said(event, picture)}"


def lines_so_far(deployment: Deployment) -> list[str]:
    """What happened before the snapshot: a line for every step and gate that has begun."""
    lines = []
    for stage in deployment.stages:
        runs: list[tuple[str, Any]] = [(words.part_of(stage), step) for step in stage.steps]
        runs += [("gate", gate) for gate in stage.gates]
        for what, run in runs:
            if (began := words.moment(run, "start_time")) is not None:
                ended = words.moment(run, "end_time")
                standing = words.step_status(run.status) if ended else "started"
                told = _ended(what, f"{stage.name}/{run.name}", standing, run, ended or began)
                lines.append(f"{_time(ended or began)}  {told}")
            if what != "gate" and began is not None and run.HasField("rollout"):
                told = _rollout(f"{stage.name}/{run.name}", run.rollout.message, run.rollout)
                lines.append(f"{_time(words.moment(run.rollout, 'since') or began)}  {told}")
    return lines


def log_line(line: LogLine) -> str:
    """The line for something that a step wrote."""
    return f"{line.stage}/{line.step} | {line.text}"


def _said(event: DeploymentEvent, picture: Picture) -> str:
    kind = words.kind(event.kind)
    if kind.startswith("ROLLOUT"):
        told = event.message or event.reason.lower().replace("_", " ")
        changes = event.HasField("rollout") and event.reason not in _BEFOREHAND
        return _rollout(f"{event.stage}/{event.step}", told, event.rollout if changes else None)
    if kind.startswith(("STAGE_", "STEP_", "GATE_")):
        return _part(event, picture)
    told = _SENTENCES.get(kind, kind.lower().replace("_", " "))
    extra = [event.message]
    if kind == "QUEUED":
        extra = [f"position {event.queue_position}" if event.queue_position else "", event.message]
    elif kind == "ENDED":
        told = words.status(event.status)
        extra = [words.seconds(words.took(picture.deployment, event.time.ToDatetime(UTC))), event.message]
    elif event.related_deployment:
        extra.append(f"by {short(event.related_deployment)}")
    elif event.actor:
        extra.append(f"by {event.actor}")
    return "  ".join([told, *filter(None, extra)])


def _part(event: DeploymentEvent, picture: Picture) -> str:
    what, _, verb = words.kind(event.kind).lower().partition("_")
    name = f"{event.stage}/{event.step or event.gate}" if event.step or event.gate else event.stage
    part = picture.part(event)
    stage = picture.stage(event)
    if stage is not None and stage.is_hooks:
        what = "hooks" if what == "stage" else "hook"
    if verb == "ended" and what not in {"stage", "hooks"} and part is not None:
        return _ended(what, name, event.reason, part, event.time.ToDatetime(UTC))
    return f"{what:<5}  {name} {event.reason or verb}{_attempt(event.attempt)}"


def _rollout(name: str, told: str, rollout: RolloutStatus | None) -> str:
    """What happened to a rollout, and where that leaves its versions."""
    return "  ".join([f"roll   {name}", told, *([f"[{in_short(rollout)}]"] if rollout else [])])


def _ended(what: str, name: str, standing: str, run: Any, at: datetime) -> str:
    """A step or gate with how it stands, how long it took, and why; one that runs takes no time yet."""
    took = words.seconds(words.took(run, at)) if run.HasField("end_time") else ""
    return "  ".join([f"{what:<5}", f"{name} {standing}{_attempt(run.attempt)}", *filter(None, [took, run.message])])


def _attempt(number: int) -> str:
    return f" (attempt {number})" if number > 1 else ""


def _time(at: datetime) -> str:
    """Local time of day, to the millisecond."""
    return at.astimezone().strftime("%H:%M:%S.%f")[:-3]


_BEFOREHAND = {"STARTED", "STRATEGY_SKIPPED", "REPLICAS_WANTED", "GATE_PASSED", "PROMOTING", "PAUSED"}
"""What happens to a rollout while its versions stand as they stood before."""
_SENTENCES = {
    "CREATED": "recorded",
    "QUEUED": "waits in the queue",
    "STARTING": "starting: preflight",
    "STARTED": "started",
    "PAUSED": "PAUSED",
    "RESUMED": "goes on",
    "CANCEL_REQUESTED": "to be cancelled",
    "ROLLBACK_STARTED": "ROLLING_BACK: the old version is being put back",
    "ADOPTED": "taken over by another process of the deployer",
    "WARNING": "warning:",
}
