"""How a deployment ended: an exit status for the shell, three lines for people when it did not end well. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from opsuite.deployer.v1.deployment_pb2 import (
    PAUSE_REASON_HOOK,
    PAUSE_REASON_INCONCLUSIVE,
    PAUSE_REASON_MANUAL,
    PAUSE_REASON_STEP,
    STEP_STATUS_FAILED,
    STEP_STATUS_INTERRUPTED,
    STEP_STATUS_TIMED_OUT,
    Deployment,
)
from opsuite_cli import words
from opsuite_cli.exit_statuses import ENDED_BY_PEOPLE, FAILED, PAUSED, ROLLED_BACK, SUCCEEDED
from opsuite_cli.names import short
from opsuite_cli.rollout_tree import is_under_way, rollouts_of

EXIT_STATUS: Final = {
    "SUCCEEDED": SUCCEEDED,
    "ROLLED_BACK": ROLLED_BACK,
    "FAILED": FAILED,
    "TIMED_OUT": FAILED,
    "ROLLBACK_FAILED": FAILED,
    "PAUSED": PAUSED,
    "CANCELLED": ENDED_BY_PEOPLE,
    "SUPERSEDED": ENDED_BY_PEOPLE,
    "ABORTED": ROLLED_BACK,
}
"""By status of the deployment; others are still under way."""

_FAILED: Final = {STEP_STATUS_FAILED, STEP_STATUS_TIMED_OUT}
_OF_ROLLOUTS: Final = {PAUSE_REASON_STEP, PAUSE_REASON_INCONCLUSIVE}
_NO_FAILURES: Final = {*_OF_ROLLOUTS, PAUSE_REASON_MANUAL}


@dataclass(frozen=True, slots=True)
class Ending:
    """What is to be said at the end. Only a failure has lines."""

    log_lines: tuple[str, ...]
    """The last ones of what failed, oldest first."""
    failed: str
    done: str
    next: str
    heading: str = "failed"

    def lines(self) -> list[str]:
        """All of it; the last three lines are what failed, what was done about it, and what to run next."""
        log = [f"  | {line}" for line in self.log_lines]
        return [*log, f"{self.heading + ':':<7} {self.failed}", f"done:   {self.done}", f"next:   {self.next}"]


def exit_status(deployment: Deployment) -> int:
    """For the shell; 0 also while it is under way."""
    return EXIT_STATUS.get(words.status(deployment.status), SUCCEEDED)


def ending_of(deployment: Deployment) -> Ending | None:
    """What to say of a deployment that needs somebody; None when it ended well or is under way."""
    if exit_status(deployment) == SUCCEEDED:
        return None
    lines = tuple(deployment.failure.last_log_lines) if deployment.HasField("failure") else ()
    heading = (
        "why" if deployment.pause_reason in _NO_FAILURES or words.status(deployment.status) == "ABORTED" else "failed"
    )
    return Ending(lines, _failed(deployment), _done(deployment), _next(deployment), heading)


def _failed(deployment: Deployment) -> str:
    if not deployment.HasField("failure"):
        return _one_line(deployment.message or deployment.reason or words.status(deployment.status).lower())
    failure = deployment.failure
    what = ""
    if failure.reason == "HOOK_FAILED" and failure.step:
        what = f"hook {failure.step} ({failure.stage}): "
    elif failure.step:
        what = f"step {failure.step} of stage {failure.stage}: "
    elif failure.gate:
        what = f"gate {failure.gate} of stage {failure.stage}: "
    return _one_line(f"{what}{failure.message or failure.reason}")


def _one_line(text: str) -> str:
    return " ".join(text.split())


def _done(deployment: Deployment) -> str:
    status = words.status(deployment.status)
    if status == "ROLLED_BACK":
        by = f"by deployment {short(deployment.rolled_back_by)}"
        return f"the version before is back, {by}{_requests_go_to(deployment)}"
    if status == "ROLLBACK_FAILED":
        return f"putting the old version back failed too, in deployment {short(deployment.rolled_back_by)}"
    if status == "PAUSED":
        return f"paused ({words.pause_reason(deployment.pause_reason)}); nothing more starts until somebody decides"
    if status == "ABORTED":
        return f"the rollout went back{_requests_go_to(deployment)}; what ran before it stays done"
    if status == "CANCELLED":
        return "stopped, and everything left as it was at that moment"
    if status == "SUPERSEDED":
        return "a newer deployment took its place; it never started"
    not_rolled_back = [warning for warning in deployment.warnings if warning.startswith("not rolled back")]
    if not deployment.HasField("start_time"):
        return "nothing was changed; it had not started"
    return _one_line(not_rolled_back[-1]) if not_rolled_back else "left as it is; nothing was put back"


def _requests_go_to(deployment: Deployment) -> str:
    """Who had the requests when a rollout had gone back; empty without a rollout that routes them."""
    for _, step in rollouts_of(deployment):
        for track in step.rollout.tracks if words.rollout_phase(step.rollout.phase) == "FAILED" else ():
            if track.weight == 100:
                said = "has" if track.weight_in_force else "is to have"
                return f": {track.version} {said} all requests"
    return ""


def _next(deployment: Deployment) -> str:
    uid, status = deployment.uid, words.status(deployment.status)
    if status == "PAUSED":
        return _after_pause(deployment)
    if status == "SUPERSEDED":
        return f"opsuite history --pipeline {short(deployment.pipeline)} --env {deployment.environment}"
    if status == "ROLLBACK_FAILED":
        return f"opsuite explain {short(deployment.rolled_back_by)}"
    if status == "ABORTED":
        return f"opsuite rollout retry {uid}"
    failure = deployment.failure
    if any(step.name == failure.step for _, step in rollouts_of(deployment)):
        return f"opsuite rollout status {uid} (and: opsuite logs {uid})"
    if failure.reason == "PREFLIGHT_FAILED":
        return f"opsuite plan {short(deployment.pipeline)} {deployment.version} --env {deployment.environment}"
    if failure.step:
        return f"opsuite logs {uid} --stage {failure.stage} --step {failure.step}"
    return f"opsuite trace {uid}" if failure.gate else f"opsuite retry {uid}"


def _after_pause(deployment: Deployment) -> str:
    steps = [(stage, step) for stage in deployment.stages for step in stage.steps]
    interrupted = [(stage.name, step.name) for stage, step in steps if step.status == STEP_STATUS_INTERRUPTED]
    if not interrupted and deployment.pause_reason == PAUSE_REASON_HOOK:
        hook = next(
            (f"{stage.name} {step.name}" for stage, step in steps if stage.is_hooks and step.status in _FAILED), ""
        )
        return f"opsuite resume {deployment.uid} (or: opsuite skip-step {deployment.uid} {hook})"
    if not interrupted and any(is_under_way(step.rollout) for _, step in rollouts_of(deployment)):
        verb = "promote" if deployment.pause_reason in _OF_ROLLOUTS else "resume"
        return f"opsuite rollout {verb} {deployment.uid} (or: opsuite rollout abort {deployment.uid})"
    if not interrupted:
        return f"opsuite resume {deployment.uid} (or: opsuite rollback {deployment.uid})"
    stage, name = interrupted[0]
    where = f"{deployment.uid} {stage} {name}"
    return f"opsuite retry-step {where} (or: opsuite skip-step {where})"
