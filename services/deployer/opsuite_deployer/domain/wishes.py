"""What a person may wish of a deployment under way, and what follows from it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Final

from opsuite_deployer.domain.deployment import GOING_ON, PartKey, PauseReason, Status, StepStatus
from opsuite_deployer.domain.draft import Draft
from opsuite_deployer.domain.parts import is_asked_about, pauses
from opsuite_deployer.domain.rollout_parts import pass_on, rollouts_under_way
from opsuite_deployer.domain.turn import EventKind, Verb, Wish

_OF_ROLLOUTS: Final = {PauseReason.MANUAL, PauseReason.STEP, PauseReason.INCONCLUSIVE}


def grant(draft: Draft, wish: Wish) -> None:
    """Do what somebody wishes, if the deployment still stands so that it can be done."""
    _GRANTED[wish.verb](draft, wish)


def _cancel(draft: Draft, wish: Wish) -> None:
    draft.end_with(Status.CANCELLED, reason="CANCELLED", message=_by("cancelled", wish))


def _rollback(draft: Draft, wish: Wish) -> None:
    draft.deployment = replace(draft.deployment, rollback_to=wish.target)
    draft.end_with(Status.ROLLING_BACK, reason="ROLLBACK_REQUESTED", message=_by("rollback asked for", wish))


def _pause(draft: Draft, wish: Wish) -> None:
    if draft.deployment.status in GOING_ON and draft.deployment.ending is None:
        draft.pause(PauseReason.MANUAL, _by("paused", wish), wish.actor)
        pass_on(draft, wish)


def _resume_if_asked(draft: Draft, wish: Wish) -> None:
    if draft.deployment.status is not Status.PAUSED or draft.has_interrupted():
        return
    if draft.deployment.pause_reason in {PauseReason.STEP, PauseReason.INCONCLUSIVE}:
        wish = replace(wish, verb=Verb.PROMOTE)  # what it waits for is that a person says: go on
    pass_on(draft, wish)
    _resume(draft, wish)


def _to_rollouts(draft: Draft, wish: Wish) -> None:
    """Promotions and aborts are the rollouts' own affair; one that waited for them goes on."""
    if draft.deployment.ending is not None:
        return
    pass_on(draft, wish)
    waits = any(run.state.pause_reason is not None for _, _, run in rollouts_under_way(draft.deployment))
    if draft.deployment.status is Status.PAUSED and draft.deployment.pause_reason in _OF_ROLLOUTS and not waits:
        _resume(draft, wish)


def _run_again(draft: Draft, wish: Wish) -> None:
    _decide_interrupted(draft, wish, draft.start)


def _go_without(draft: Draft, wish: Wish) -> None:
    _decide_interrupted(draft, wish, lambda key: _skip(draft, key, _by("skipped", wish)))


def _decide_interrupted(draft: Draft, wish: Wish, decide: Callable[[PartKey], None]) -> None:
    if wish.key is None or not is_asked_about(draft.pipeline, draft.deployment, wish.key):
        return
    if draft.deployment.ending is not None:
        return
    decide(wish.key)
    waits = draft.has_interrupted() or draft.waits_for_hooks()
    if draft.deployment.pause_reason in {PauseReason.INTERRUPTED, PauseReason.HOOK} and not waits:
        _resume(draft, wish)


def _skip(draft: Draft, key: PartKey, message: str) -> None:
    part = draft.deployment.part(key)
    draft.set(key, replace(part, status=StepStatus.SKIPPED, ended_at=draft.now, message=message))
    draft.note_part(EventKind.STEP_ENDED, key, reason="SKIPPED", message=message)
    draft.note_stage_end(key.stage)


def _resume(draft: Draft, wish: Wish) -> None:
    """Go on; gates and hooks that paused it are asked again."""
    for key, part in draft.deployment.parts.items():
        if pauses(draft.pipeline, draft.deployment, key):
            draft.set(key, replace(part, status=StepStatus.PENDING))
    draft.resume(actor=wish.actor, message=wish.reason)


def _by(what: str, wish: Wish) -> str:
    return f"{what} by {wish.actor}" + (f": {wish.reason}" if wish.reason else "")


_GRANTED: Final = {
    Verb.CANCEL: _cancel,
    Verb.PAUSE: _pause,
    Verb.RESUME: _resume_if_asked,
    Verb.RETRY_STEP: _run_again,
    Verb.SKIP_STEP: _go_without,
    Verb.ROLLBACK: _rollback,
    Verb.PROMOTE: _to_rollouts,
    Verb.PROMOTE_SKIP_STEP: _to_rollouts,
    Verb.PROMOTE_FULL: _to_rollouts,
    Verb.ABORT: _to_rollouts,
}
