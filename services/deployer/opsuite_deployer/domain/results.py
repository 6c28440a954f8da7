"""What follows from what became known: preflight or a step ended, or this process took the deployment over."""

from __future__ import annotations

from dataclasses import replace
from typing import Final

from opsuite_deployer.domain.deployment import Failure, PartKey, PartKind, PartRun, PauseReason, Status, StepStatus
from opsuite_deployer.domain.draft import Draft
from opsuite_deployer.domain.parts import on_failure
from opsuite_deployer.domain.pipeline import Command, Gate, OnFailure, SiblingPolicy, Stage
from opsuite_deployer.domain.turn import Adopted, EventKind, Outcome, PartEnded, PreflightEnded, RunPart, RunPreflight

MAX_TAKEOVERS: Final = 5
"""Takeovers in a row, without a step ending, after which a deployment is given up: it may be what kills its owners."""


def preflight_ended(draft: Draft, given: PreflightEnded) -> None:
    """Begin with the steps, or end because of the problems."""
    if draft.deployment.status is not Status.STARTING:
        return
    if given.problems:
        draft.fail(Failure("PREFLIGHT_FAILED", "; ".join(given.problems)))
        return
    draft.become(Status.RUNNING, started_at=draft.now)
    draft.note(EventKind.STARTED)


def part_ended(draft: Draft, given: PartEnded) -> None:
    """Record how an attempt ended, and what its failure means for the deployment."""
    part = draft.deployment.part(given.key)
    if not part.is_executing or part.attempt != given.attempt:
        return  # a late answer of an attempt that was already decided
    if given.outcome is Outcome.UNKNOWN:
        _interrupted(draft, given.key, part)
    elif given.outcome is Outcome.SUCCEEDED:
        draft.end_part(given.key, StepStatus.SUCCEEDED, given)
    elif given.outcome is Outcome.CANCELLED:
        draft.end_part(given.key, StepStatus.CANCELLED, given)
    elif given.outcome is Outcome.ABORTED:
        draft.end_part(given.key, StepStatus.CANCELLED, given)
        draft.end_with(Status.ABORTED, reason="ABORTED", message=given.message)
    elif _may_retry(draft, given.key, part):
        _retry_later(draft, given.key, part, given)
    else:
        _part_failed(draft, given)


def _may_retry(draft: Draft, key: PartKey, part: PartRun) -> bool:
    return key.kind is PartKind.STEP and draft.may_go_on(key) and part.attempt < draft.step(key).retry.attempts


def _retry_later(draft: Draft, key: PartKey, part: PartRun, given: PartEnded) -> None:
    due = draft.now + draft.step(key).retry.delay_after(part.attempt)
    draft.set(key, replace(part, retry_at=due, exit_code=given.exit_code, message=given.message))
    draft.note_part(EventKind.STEP_ENDED, key, reason="RETRYING", message=given.message, exit_code=given.exit_code)


def _part_failed(draft: Draft, given: PartEnded) -> None:
    stage = draft.pipeline.stages[given.key.stage]
    timed_out = given.outcome is Outcome.TIMED_OUT
    gate, policy = draft.gate(given.key), on_failure(draft.pipeline, given.key)
    what = f"{_what(stage, draft.name(given.key), gate)} failed: {given.message or given.outcome.value}"
    if draft.may_go_on(given.key) and (stage.continue_on_failure or policy is OnFailure.CONTINUE):
        draft.end_part(given.key, StepStatus.FAILED_CONTINUED, given)
        draft.warn(what)
        return
    draft.end_part(given.key, StepStatus.TIMED_OUT if timed_out else StepStatus.FAILED, given)
    if policy is OnFailure.PAUSE and draft.deployment.ending is None:
        draft.pause(PauseReason.GATE if gate else PauseReason.HOOK, what)
        return
    if stage.of_rollout is not None:
        return  # the rollout that has called for it goes back first; then it fails
    draft.fail(
        Failure(
            reason="HOOK_FAILED" if stage.hooks else _failure_reason(gate, timed_out),
            message=given.message or given.outcome.value,
            stage=stage.name,
            step="" if gate else draft.name(given.key),
            gate=gate.name if gate else "",
            last_log_lines=given.last_log_lines,
        ),
        spare=given.key.stage if stage.on_sibling_failure is SiblingPolicy.WAIT_ALL else None,
    )


def adopted(draft: Draft, given: Adopted) -> None:
    """Take up again what the owner before was doing, unless the deployment is what its owners die of."""
    how = "handed over by a deployer that stopped" if given.given_back else "taken over after its deployer was lost"
    draft.note(EventKind.ADOPTED, message=how)
    # What only waits, as in a pause, cannot be what its owners die of.
    is_suspect = draft.deployment.status is Status.STARTING or draft.is_executing()
    if is_suspect and not given.given_back:
        draft.deployment = replace(draft.deployment, takeovers=draft.deployment.takeovers + 1)
    if draft.deployment.takeovers >= MAX_TAKEOVERS and draft.deployment.ending is None:
        said = f"its deployer was lost {MAX_TAKEOVERS} times without progress"
        draft.give_up("TAKEN_OVER_TOO_OFTEN", said, Status.FAILED)
    if draft.deployment.status is Status.STARTING:
        draft.actions.append(RunPreflight())
    for key, part in sorted(draft.deployment.parts.items(), key=lambda item: (item[0].stage, item[0].position)):
        if part.is_executing:
            _recover(draft, key, part)


def _recover(draft: Draft, key: PartKey, part: PartRun) -> None:
    """A local process died with its deployer; everything else can be found or asked again under the same name."""
    if key.kind is PartKind.STEP and isinstance(draft.step(key).kind, Command):
        _interrupted(draft, key, part)
    elif not draft.may_go_on(key):
        draft.stop(key)
    else:
        draft.actions.append(RunPart(key, part.attempt))


def _interrupted(draft: Draft, key: PartKey, part: PartRun) -> None:
    message = "its deployer was lost while it ran; how it ended is not known"
    if draft.may_go_on(key) and draft.step(key).idempotent and draft.deployment.takeovers < MAX_TAKEOVERS:
        draft.note_part(EventKind.STEP_ENDED, key, reason="INTERRUPTED", message=message)
        draft.start(key)
        return
    if draft.deployment.ending is not None and draft.may_go_on(key):  # nobody is asked any more
        draft.end_part(key, StepStatus.FAILED_CONTINUED, PartEnded(key, part.attempt, Outcome.UNKNOWN, message=message))
        draft.warn(f"{_what(draft.pipeline.stages[key.stage], draft.name(key), None)} was interrupted")
        return
    draft.set(key, replace(part, status=StepStatus.INTERRUPTED, ended_at=draft.now, message=message))
    draft.note_part(EventKind.STEP_ENDED, key, reason="INTERRUPTED", message=message)
    if draft.deployment.ending is None:
        what = _what(draft.pipeline.stages[key.stage], draft.name(key), None)
        draft.pause(PauseReason.INTERRUPTED, f"{what} was interrupted")


def _failure_reason(gate: Gate | None, timed_out: bool) -> str:
    if gate:
        return "HEALTH_GATE_FAILED"
    return "STEP_TIMED_OUT" if timed_out else "STEP_FAILED"


def _what(stage: Stage, name: str, gate: Gate | None) -> str:
    if stage.hooks is not None:
        return f"hook {name} ({stage.name})"
    return f"{'gate' if gate else 'step'} {name} of stage {stage.name}"
