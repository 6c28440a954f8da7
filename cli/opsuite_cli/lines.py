"""Events as plain lines, for pipes and logs: one line for each, with a time, and how long things took. Pure."""

from __future__ import annotations

from datetime import UTC

from opsuite.deployer.v1.deployment_pb2 import DeploymentEvent, LogLine
from opsuite_cli import words
from opsuite_cli.names import short
from opsuite_cli.picture import Picture


def line_of(event: DeploymentEvent, picture: Picture) -> str:
    """The line for an event that `picture` has taken."""
    at = event.time.ToDatetime(UTC).astimezone().strftime("%H:%M:%S.%f")[:-3]
    return f"{at}  {_said(event, picture)}"


def log_line(line: LogLine) -> str:
    """The line for something that a step wrote."""
    return f"{line.stage}/{line.step} | {line.text}"


def _said(event: DeploymentEvent, picture: Picture) -> str:
    kind = words.kind(event.kind)
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
    again = f" (attempt {event.attempt})" if event.attempt > 1 else ""
    if verb == "started":
        return f"{what:<5}  {name} started{again}"
    part = picture.part(event)
    took = "" if part is None or what == "stage" else words.seconds(words.took(part, event.time.ToDatetime(UTC)))
    return "  ".join([f"{what:<5}", f"{name} {event.reason or 'ended'}{again}", *filter(None, [took, event.message])])


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
