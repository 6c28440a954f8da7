"""What happens next to a deployment: one pure function from what is known to what is recorded and done.

`advance` takes a deployment, what has become known since (`Input`s: a step ended, a person wished something, time
passed) and the time, and returns a `Turn`: the deployment after it, the events that tell of it, and the actions that
the world is asked for. The caller records the turn in one transaction and only then acts; so whatever is being done
was written down before, and after a crash `Adopted` is all the next owner has to say.

Failures and wishes to stop set `ending`. From then on nothing new starts; when nothing is executing any more the turn
says `concluded`, and `rollback.conclude` decides how the deployment ends.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Final

from opsuite_deployer.domain import results, rollout_parts, wishes
from opsuite_deployer.domain.deployment import (
    GOING_ON,
    PASSED,
    Deployment,
    PartKind,
    Status,
    StepStatus,
    follow,
    stage_parts,
)
from opsuite_deployer.domain.draft import Draft
from opsuite_deployer.domain.hooks import applies, failure_hooks, is_called
from opsuite_deployer.domain.pipeline import Pipeline, Stage
from opsuite_deployer.domain.rollout_state import Phase
from opsuite_deployer.domain.turn import (
    Adopted,
    EventKind,
    Happened,
    Input,
    Limits,
    PartEnded,
    PreflightEnded,
    RolloutSeen,
    RunPreflight,
    Turn,
    Wish,
)

_PROMOTING: Final = {Phase.PROMOTING, Phase.COMPLETING}


def advance(
    pipeline: Pipeline,
    deployment: Deployment,
    inputs: Iterable[Input],
    now: datetime,
    limits: Limits,
    *,
    hold: bool = False,
) -> Turn:
    """Return what follows for `deployment` from `inputs`, in their order, and from the time (`now` is aware, UTC).

    With `hold` no further step starts: the process that asks is about to stop, and another goes on.
    """
    draft = Draft(pipeline, deployment, now, hold)
    for given in inputs:
        _take(draft, given)
    _enforce_deadlines(draft, limits)
    _start_what_is_due(draft)
    return _finish(draft, limits)


def begin(pipeline: Pipeline, deployment: Deployment, limits: Limits, now: datetime) -> Turn:
    """Return the first turn of a deployment that has just got its slot: preflight."""
    deployment = replace(deployment, status=follow(deployment.status, Status.STARTING))
    deployment = replace(deployment, holds_slot=True)
    happened = (Happened(EventKind.STARTING, Status.STARTING),)
    return Turn(deployment, happened, (RunPreflight(),), wake_at=now + limits.starting)


def deadlines(pipeline: Pipeline, deployment: Deployment, limits: Limits) -> tuple[datetime | None, datetime | None]:
    """Return when its timeout and its max_duration end; None while they do not count (before the start, in a pause)."""
    if deployment.started_at is None:
        return None, None
    absolute = deployment.started_at + pipeline.max_duration
    if deployment.paused_at is not None:
        return None, absolute
    return deployment.started_at + (pipeline.timeout or limits.timeout) + deployment.paused_for, absolute


def _take(draft: Draft, given: Input) -> None:
    if draft.deployment.is_terminal:
        return
    match given:
        case PreflightEnded():
            results.preflight_ended(draft, given)
        case PartEnded():
            results.part_ended(draft, given)
        case RolloutSeen():
            rollout_parts.take_look(draft, given)
        case Adopted():
            results.adopted(draft, given)
        case Wish():
            wishes.grant(draft, given)


def _enforce_deadlines(draft: Draft, limits: Limits) -> None:
    """End what has taken too long."""
    if draft.deployment.ending is not None or draft.deployment.is_terminal:
        return
    soft, hard = deadlines(draft.pipeline, draft.deployment, limits)
    if hard is not None and draft.now >= hard:
        draft.give_up(
            "DEPLOYMENT_TOO_LONG", f"it took longer than {_said(draft.pipeline.max_duration)}, pauses included"
        )
    elif soft is not None and draft.now >= soft:
        draft.give_up("DEPLOYMENT_TIMED_OUT", f"it took longer than {_said(draft.pipeline.timeout or limits.timeout)}")


def _start_what_is_due(draft: Draft) -> None:
    """Start every step and gate whose turn it is."""
    if draft.deployment.ending is not None:
        _start_failure_hooks(draft)
    if not draft.starts_things():
        return
    for index, stage in enumerate(draft.pipeline.stages):
        if _is_due(draft, index, stage):
            _start_in_stage(draft, index)


def _start_failure_hooks(draft: Draft) -> None:
    """Once nothing else is executing any more."""
    place = _failure_hooks_left(draft)
    if place is not None and not draft.hold and _is_quiet(draft, but=place):
        _start_in_stage(draft, place)


def _is_due(draft: Draft, index: int, stage: Stage) -> bool:
    if stage.hooks is not None:
        if is_called(stage):
            return index in draft.called
        if not applies(stage, draft.deployment):
            return False
    return all(draft.stage_passed(needed) for needed in draft.pipeline.needed_before(index))


def _start_in_stage(draft: Draft, index: int) -> None:
    stage = draft.pipeline.stages[index]
    steps, gates = stage_parts(stage, index)
    for key in steps:
        part = draft.deployment.part(key)
        if part.status is StepStatus.PENDING or (part.retry_at is not None and part.retry_at <= draft.now):
            draft.start(key)
        if not stage.parallel and draft.deployment.part(key).status not in PASSED:
            return
    if all(draft.deployment.part(key).status in PASSED for key in steps):
        for key in gates:
            if draft.deployment.part(key).status is StepStatus.PENDING:
                draft.start(key)


def _finish(draft: Draft, limits: Limits) -> Turn:
    """Settle the status and say when to ask again."""
    concluded = _conclude_if_quiet(draft)
    if not concluded and not draft.deployment.is_terminal and draft.deployment.status is not Status.STARTING:
        _settle(draft)
    return Turn(draft.deployment, tuple(draft.happened), tuple(draft.actions), _wake_at(draft, limits), concluded)


def _conclude_if_quiet(draft: Draft) -> bool:
    """Whether it is over: ended by failure or wish with nothing executing, or every stage is through."""
    deployment = draft.deployment
    if deployment.is_terminal or (deployment.status is Status.PAUSED and deployment.ending is None):
        return False
    if deployment.ending is not None:
        return _is_quiet(draft) and _failure_hooks_left(draft) is None
    if deployment.status is Status.STARTING:
        return False
    if not all(draft.stage_passed(index) for index in range(len(draft.pipeline.stages))):
        return False
    draft.deployment = replace(deployment, ending=Status.SUCCEEDED)
    return True


def _is_quiet(draft: Draft, *, but: int | None = None) -> bool:
    """Whether nothing is executing, stage number `but` aside."""
    parts = draft.deployment.parts.items()
    return not any(part.status is StepStatus.RUNNING and key.stage != but for key, part in parts)


def _failure_hooks_left(draft: Draft) -> int | None:
    """The place of the hooks after a failure while they have to run to their end; None if they need not."""
    deployment, place = draft.deployment, failure_hooks(draft.pipeline)
    has_failed = deployment.ending not in {None, Status.SUCCEEDED} and deployment.started_at is not None
    if place is None or not has_failed or deployment.is_terminal:
        return None
    steps, _ = stage_parts(draft.pipeline.stages[place], place)
    return None if all(deployment.part(key).status in PASSED for key in steps) else place


def _settle(draft: Draft) -> None:
    """RUNNING while a step is, PROMOTING while a rollout makes its version stable, VERIFYING while only gates are."""
    if draft.deployment.status not in GOING_ON:
        return
    executing = {key.kind for key, part in draft.deployment.parts.items() if part.status is StepStatus.RUNNING}
    wanted = Status.VERIFYING if executing == {PartKind.GATE} else Status.RUNNING
    if any(run.state.phase in _PROMOTING for _, _, run in rollout_parts.rollouts_under_way(draft.deployment)):
        wanted = Status.PROMOTING
    if wanted is not draft.deployment.status:
        draft.become(wanted)
        # The turn's own events happened in the status that they led to.
        draft.happened = [replace(h, status=wanted) if _opens(h, wanted) else h for h in draft.happened]


def _wake_at(draft: Draft, limits: Limits) -> datetime | None:
    if draft.deployment.is_terminal:
        return None
    is_ending = draft.deployment.ending is not None
    retries = draft.deployment.parts.items() if draft.starts_things() or (is_ending and not draft.hold) else ()
    due = [part.retry_at for key, part in retries if part.retry_at is not None and draft.may_go_on(key)]
    if is_ending:
        return min(due, default=None)
    due += [moment for moment in deadlines(draft.pipeline, draft.deployment, limits) if moment is not None]
    return min(due, default=None)


def _opens(happened: Happened, status: Status) -> bool:
    begins = (
        {EventKind.GATE_STARTED} if status is Status.VERIFYING else {EventKind.STEP_STARTED, EventKind.STAGE_STARTED}
    )
    return happened.kind in begins


def _said(duration: timedelta) -> str:
    seconds = duration.total_seconds()
    return f"{seconds / 60:g} min" if seconds >= 60 else f"{seconds:g} s"
