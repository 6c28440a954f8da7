"""How many replicas of each version are to stay: what the phase asks for, within the strategy's bounds."""

from __future__ import annotations

from datetime import timedelta

from opsuite_deployer.domain.hook_points import AFTER_PROMOTION
from opsuite_deployer.domain.replicas import Standing, behind_router, beside, split, towards
from opsuite_deployer.domain.rollout_draft import RolloutDraft
from opsuite_deployer.domain.rollout_route import is_settled
from opsuite_deployer.domain.rollout_state import Phase
from opsuite_deployer.domain.rollout_words import GateVerdict, RolloutEvent
from opsuite_deployer.domain.strategy import BlueGreen, Canary, Rolling, RolloutGate, SetWeight
from opsuite_platforms.port import ReplicaPhase


def move(draft: RolloutDraft) -> None:
    """Settle how many replicas of each version are to stay.

    Nothing moves while a person holds the rollout, nor before everything that was there has been asked how it is.
    """
    is_unknown = any(record.from_before for record in draft.state.records.values())
    if draft.state.is_held or draft.state.phase.is_terminal or is_unknown:
        return
    _note_batch(draft)
    goals = _goals(draft)
    kept = _towards(draft, goals) if draft.shifts_replicas else goals
    if kept == draft.state.keep:
        return
    for name in draft.revisions:
        before, after = draft.state.keep[name], kept[name]
        if before != after:
            message = f"{name} from {before} to {after} replicas"
            draft.tell(RolloutEvent.REPLICAS_WANTED, message, revision=name, before=before, after=after)
    has_grown = kept[draft.target] > draft.state.keep[draft.target]
    draft.change(keep=kept, batch_done_at=None if has_grown else draft.state.batch_done_at)


# --- what the phase asks for -----------------------------------------------------------------------------------------


def _goals(draft: RolloutDraft) -> dict[str, int]:
    """Replicas by revision where the phase is to end."""
    wanted = {draft.target: _target_goal(draft)}
    if draft.old is not None:
        wanted[draft.old] = _old_goal(draft, draft.old)
    return wanted


def is_at_goals(draft: RolloutDraft) -> bool:
    """Whether both versions have what the phase asks for."""
    return _goals(draft) == draft.state.keep


def _target_goal(draft: RolloutDraft) -> int:
    state, replicas = draft.state, draft.plan.replicas
    if state.phase is Phase.ABORTING:
        return 0 if draft.shifts_replicas and draft.old is not None else state.keep[draft.target]
    if state.phase is not Phase.PROGRESSING or draft.is_rolling or draft.plan.skips_strategy:
        return replicas
    if state.replicas_set is not None:
        return state.replicas_set
    weight = draft.step.weight if isinstance(draft.step, SetWeight) else state.weight
    if draft.shifts_replicas:
        return _split(draft, weight)[0]
    return behind_router(replicas, max(weight, state.weight), draft.plan.max_weight)


def _old_goal(draft: RolloutDraft, old: str) -> int:
    state = draft.state
    if state.phase is Phase.ABORTING:
        return state.stable_size or 0
    if state.phase is Phase.COMPLETING:
        return 0 if may_old_go(draft) else state.keep[old]
    if draft.shifts_replicas:
        if state.phase is Phase.PROMOTING or draft.is_rolling:
            return 0
        weight = draft.step.weight if isinstance(draft.step, SetWeight) else state.weight
        return _split(draft, weight)[1]
    return _beside(draft, old)


def _split(draft: RolloutDraft, weight: int) -> tuple[int, int]:
    surge = draft.bounds.most - max(draft.plan.replicas, draft.state.stable_size or 0)
    found = split(draft.plan.replicas, weight, surge=surge, max_weight=draft.plan.max_weight)
    return found.canary, found.stable


def _beside(draft: RolloutDraft, old: str) -> int:
    """The old version stays whole, unless it may shrink as the new one is sent requests, acknowledged."""
    strategy, keep = draft.plan.strategy, draft.state.keep[old]
    is_shrinking = isinstance(strategy, Canary) and strategy.dynamic_stable_scale and not draft.plan.skips_strategy
    if not is_shrinking or draft.state.phase is not Phase.PROGRESSING or draft.state.weight == draft.plan.max_weight:
        return keep  # what is left stays for a way back
    wanted = beside(draft.state.stable_size or 0, draft.state.weight, draft.plan.max_weight)
    return wanted if wanted > keep or is_settled(draft) else keep


def may_old_go(draft: RolloutDraft) -> bool:
    """Whether nothing needs the old version any more, once the new one is promoted."""
    promoted_at = draft.state.promoted_at
    if promoted_at is None or draft.state.pause is not None or gate_after(draft) is not None:
        return False
    hooks = draft.seen.hooks.get(AFTER_PROMOTION)
    if hooks is not None and hooks.verdict is not GateVerdict.PASSED:
        return False
    return not draft.waits_until(promoted_at + draft.delay)


def gate_after(draft: RolloutDraft) -> RolloutGate | None:
    """The gate after the promotion, while it has not passed."""
    strategy = draft.plan.strategy
    is_asked = not (draft.plan.skips_strategy or draft.state.skips_rest or draft.state.post_passed)
    return strategy.post_promotion if isinstance(strategy, BlueGreen) and is_asked else None


# --- within the bounds -----------------------------------------------------------------------------------------------


def _towards(draft: RolloutDraft, goals: dict[str, int]) -> dict[str, int]:
    """The next replicas on the way to the goals. What an abort brings back comes first."""
    names = list(reversed(draft.revisions)) if draft.state.phase is Phase.ABORTING else list(draft.revisions)
    standings = [_standing(draft, name, goals[name]) for name in names]
    kept = dict(zip(names, towards(standings, draft.bounds, growth=_growth(draft)), strict=True))
    return {name: kept[name] for name in draft.revisions}


def _standing(draft: RolloutDraft, name: str, goal: int) -> Standing:
    seen, keep = draft.revision(name), draft.state.keep[name]
    existing = sum(replica.phase is not ReplicaPhase.STOPPED for replica in seen.replicas)
    is_given_up = draft.state.is_aborting and name == draft.target
    return Standing(goal, keep, max(seen.desired, existing, keep), draft.available(name), is_given_up)


def _growth(draft: RolloutDraft) -> int | None:
    """How many new replicas may start now besides what the bounds say; None means any number."""
    strategy = draft.plan.strategy
    if not isinstance(strategy, Rolling) or draft.state.is_aborting:
        return None
    pending = draft.state.keep[draft.target] - draft.count_available(draft.target)
    if strategy.pause_between_batches and not draft.state.skips_rest and _is_between_batches(draft, pending):
        return 0
    return None if strategy.max_parallel is None else max(0, strategy.max_parallel - pending)


def _is_between_batches(draft: RolloutDraft, pending: int) -> bool:
    if pending or draft.state.keep[draft.target] == 0:
        return pending > 0
    return is_in_batch_pause(draft)


def is_in_batch_pause(draft: RolloutDraft) -> bool:
    """Whether a batch is done and the next one is not due yet."""
    strategy, done_at = draft.plan.strategy, draft.state.batch_done_at
    pause = strategy.pause_between_batches if isinstance(strategy, Rolling) else timedelta(0)
    return done_at is not None and not draft.state.skips_rest and draft.waits_until(done_at + pause)


def _note_batch(draft: RolloutDraft) -> None:
    """Note when all new replicas became available; a loss in between does not count again."""
    if draft.state.batch_done_at is None and draft.state.keep[draft.target] and draft.target_is_whole:
        draft.change(batch_done_at=draft.now)
