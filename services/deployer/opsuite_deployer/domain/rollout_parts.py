"""Rollouts as parts of a deployment: what one look at the world means for it, and what wishes do to them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime
from typing import Final

from opsuite_deployer.domain.deployment import (
    BROKEN,
    PASSED,
    Deployment,
    PartKey,
    PartKind,
    PartRun,
    PauseReason,
    Status,
    stage_parts,
)
from opsuite_deployer.domain.draft import Draft
from opsuite_deployer.domain.filling import fill_rollout, values_for
from opsuite_deployer.domain.hook_points import BEFORE_INCREASE
from opsuite_deployer.domain.hooks import called_by
from opsuite_deployer.domain.parts import on_failure
from opsuite_deployer.domain.pipeline import OnFailure, Pipeline, Rollout
from opsuite_deployer.domain.revisions import revision_name
from opsuite_deployer.domain.rollout import decide
from opsuite_deployer.domain.rollout_run import RolloutRun, RolloutStart
from opsuite_deployer.domain.rollout_standing import PAUSED_PHASE, standing_of
from opsuite_deployer.domain.rollout_state import begin
from opsuite_deployer.domain.rollout_wishes import RolloutRefused, RolloutVerb, wish
from opsuite_deployer.domain.rollout_words import (
    CANARY_TRACK,
    Decision,
    GateSeen,
    GateVerdict,
    RolloutPlan,
    Verdict,
    VerdictKind,
)
from opsuite_deployer.domain.turn import EventKind, LookAgain, Outcome, PartEnded, Realise, RolloutSeen, Verb, Wish
from opsuite_platforms.traffic.port import Match

ABORTED: Final = "ABORTED"
"""Reason of a rollout that a person aborted."""

_VERBS: Final = {
    Verb.PROMOTE: RolloutVerb.PROMOTE_NEXT_STEP,
    Verb.PROMOTE_SKIP_STEP: RolloutVerb.PROMOTE_SKIP_STEP,
    Verb.PROMOTE_FULL: RolloutVerb.PROMOTE_FULL,
    Verb.ABORT: RolloutVerb.ABORT,
    Verb.PAUSE: RolloutVerb.PAUSE,
    Verb.RESUME: RolloutVerb.RESUME,
}
_SAID: Final = {
    Verb.ABORT: "abort asked for",
    Verb.PROMOTE_FULL: "promoted fully",
    Verb.PROMOTE_SKIP_STEP: "step skipped",
}
_PAUSES: Final = {reason.value: reason for reason in PauseReason}
_OF_ROLLOUTS: Final = {PauseReason.STEP, PauseReason.INCONCLUSIVE}


def rollout_at(pipeline: Pipeline, deployment: Deployment, key: PartKey) -> Rollout | None:
    """The rollout that a key names, its templates filled; None if it names something else."""
    if key.kind is PartKind.GATE:
        return None
    kind = pipeline.stages[key.stage].steps[key.position].kind
    return fill_rollout(kind, values_for(pipeline, deployment)) if isinstance(kind, Rollout) else None


def plan_of(rollout: Rollout, deployment: Deployment, start: RolloutStart) -> RolloutPlan:
    """What a rollout with its templates filled is to do in `deployment`."""
    traffic = rollout.traffic
    testers = traffic.matches if traffic else ()
    return RolloutPlan(
        workload=rollout.workload.workload,
        target=revision_name(rollout.workload),
        stable=start.stable,
        replicas=rollout.workload.replicas if start.replicas is None else start.replicas,
        strategy=rollout.strategy,
        safety=rollout.safety,
        has_router=traffic is not None,
        matches=tuple(Match(CANARY_TRACK, header=one.header, cookie=one.cookie, value=one.value) for one in testers),
        mirror_percent=traffic.mirror_percent if traffic else 0.0,
        is_rollback=bool(deployment.rollback_of),
        within_rollback_window=start.within_rollback_window,
    )


def rollouts_under_way(deployment: Deployment) -> Iterator[tuple[PartKey, PartRun, RolloutRun]]:
    """Rollouts that somebody may still wish something of."""
    for key, part in deployment.parts.items():
        if part.is_executing and part.rollout is not None and not part.rollout.state.phase.is_terminal:
            yield key, part, part.rollout


# --- what a look means -----------------------------------------------------------------------------------------------


def take_look(draft: Draft, given: RolloutSeen) -> None:
    """Decide what the rollout wants, tell what happened, and pause or go on with it."""
    part = draft.deployment.part(given.key)
    rollout = rollout_at(draft.pipeline, draft.deployment, given.key)
    if rollout is None or not part.is_executing or part.attempt != given.attempt:
        return  # a late look at what was already decided
    start = part.rollout.start if part.rollout else given.start
    plan = plan_of(rollout, draft.deployment, start)
    state = part.rollout.state if part.rollout else begin(draft.now)
    hooks = called_by(draft.pipeline, given.key) if draft.pipeline.hooks and not plan.is_rollback else {}
    seen = replace(given.seen, hooks={point: _hooks_seen(draft, place) for point, place in hooks.items()})
    decision = decide(plan, state, seen, draft.now)
    if decision.calls is not None:
        draft.called.add(hooks[decision.calls])
    if decision.state.weight > state.weight and BEFORE_INCREASE in hooks:
        draft.forget_ended(hooks[BEFORE_INCREASE])  # the next one is another
    _remember(draft, given, rollout, plan, start, decision)
    _pause_or_go_on(draft, decision.verdict)
    ended = _ended(given, decision)
    draft.actions.append(Realise(given.key, decision.want, decision.wake_at, ended))


def _hooks_seen(draft: Draft, place: int) -> GateSeen:
    """How the hooks of one moment stand, as the rollout that waits for them sees it."""
    stage = draft.pipeline.stages[place]
    for key in stage_parts(stage, place)[0]:
        part = draft.deployment.part(key)
        if part.status in BROKEN and on_failure(draft.pipeline, key) is OnFailure.FAIL:
            return GateSeen(GateVerdict.FAILED, f"hook {draft.name(key)} ({stage.name}) failed: {part.message}")
        if part.status not in PASSED:
            return GateSeen(GateVerdict.RUNNING)
    return GateSeen(GateVerdict.PASSED)


def _remember(
    draft: Draft, given: RolloutSeen, rollout: Rollout, plan: RolloutPlan, start: RolloutStart, decision: Decision
) -> None:
    part = draft.deployment.part(given.key)
    if part.rollout is not None and part.rollout.state == decision.state and not decision.told:
        is_paused = decision.verdict.kind is VerdictKind.PAUSED  # by a wish, which has changed the state already
        if is_paused == (part.rollout.standing.phase == PAUSED_PHASE):
            return
    said = decision.told[-1].message if decision.told else part.rollout.standing.message if part.rollout else ""
    standing = standing_of(plan, rollout.workload.version, start, decision, given.seen, said, draft.now)
    draft.set(given.key, replace(part, rollout=RolloutRun(start, decision.state, standing)))
    for told in decision.told:
        draft.note_part(EventKind.ROLLOUT, given.key, reason=told.kind.value, message=told.message)
        draft.happened[-1] = replace(draft.happened[-1], rollout=standing)


def _pause_or_go_on(draft: Draft, verdict: Verdict) -> None:
    deployment = draft.deployment
    if deployment.ending is not None:
        return
    if verdict.kind is VerdictKind.PAUSED and verdict.pause_reason is not None:
        draft.pause(_PAUSES[verdict.pause_reason.value], verdict.message)
    elif deployment.status is Status.PAUSED and deployment.pause_reason in _OF_ROLLOUTS and not _any_waits(deployment):
        draft.resume()


def _any_waits(deployment: Deployment) -> bool:
    return any(run.state.pause is not None for _, _, run in rollouts_under_way(deployment))


def _ended(given: RolloutSeen, decision: Decision) -> PartEnded | None:
    verdict = decision.verdict
    if verdict.kind is VerdictKind.SUCCEEDED:
        return PartEnded(given.key, given.attempt, Outcome.SUCCEEDED, message=verdict.message)
    if verdict.kind is not VerdictKind.FAILED:
        return None
    outcome = Outcome.ABORTED if decision.state.abort_reason == ABORTED else Outcome.FAILED
    return PartEnded(given.key, given.attempt, outcome, message=verdict.message)


# --- what wishes do --------------------------------------------------------------------------------------------------


def check_wish(pipeline: Pipeline, deployment: Deployment, given: Wish, now: datetime) -> None:
    """Raise RolloutRefused if no rollout of the deployment can grant the wish, and then nothing has changed."""
    draft = Draft(pipeline, deployment, now, hold=False)
    answers = [_grant(draft, key, run, given) for key, _, run in rollouts_under_way(deployment)]
    refusals = [refused for refused in answers if refused is not None]
    if len(refusals) == len(answers):
        raise refusals[0] if refusals else RolloutRefused("nothing is being rolled out", reason="NO_ROLLOUT")


def pass_on(draft: Draft, given: Wish) -> None:
    """Let every rollout under way do what somebody wishes."""
    for key, _, run in list(rollouts_under_way(draft.deployment)):
        refused = _grant(draft, key, run, given)
        if refused is not None and given.verb not in {Verb.PAUSE, Verb.RESUME}:
            draft.warn(f"{_SAID.get(given.verb, 'promotion')} by {given.actor} refused: {refused.message}")


def _grant(draft: Draft, key: PartKey, run: RolloutRun, given: Wish) -> RolloutRefused | None:
    """Grant a wish to one rollout, or say why not."""
    rollout = rollout_at(draft.pipeline, draft.deployment, key)
    if rollout is None:
        return None
    by = given.actor + (f": {given.reason}" if given.reason else "")
    try:
        plan = plan_of(rollout, draft.deployment, run.start)
        state = wish(plan, run.state, _VERBS[given.verb], draft.now, by=by)
    except RolloutRefused as refused:
        return refused
    if state != run.state:
        draft.set(key, replace(draft.deployment.part(key), rollout=replace(run, state=state)))
        if given.verb not in {Verb.PAUSE, Verb.RESUME}:
            said = f"{_SAID.get(given.verb, 'promoted')} by {by}"
            draft.note_part(EventKind.ROLLOUT_WISH, key, reason=given.verb.name, message=said)
            draft.happened[-1] = replace(draft.happened[-1], actor=given.actor)
        draft.actions.append(LookAgain(key))
    return None
