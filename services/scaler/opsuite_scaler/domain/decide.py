"""The one function that sizes targets: a policy, what was seen, what is remembered; out comes what to do, and why.

It is pure: the time is in the snapshot, and nothing is asked or told. The live loop, dry runs, backtests and every test
call it. The stages, in the order of `STAGES`:

1.  gate              a target switched off at zero; sizes outside of the bounds go back to them, past the next stages
2.  metrics           every metric proposes a size, the largest wins; while one fails nothing shrinks
3.  activation        zero replicas and back
4.  forecast          may raise what is wanted
5.  stabilization     what was wanted a moment ago restrains what is wanted now
6.  rates and bounds  how much may change in a period; min and max
7.  mode              paused, only up, only down
8.  holds             a size set by hand, a rollout under way
9.  reversals         too much back and forth
10. cooldown          rest after a change; the last replica
11. dry run           everything is decided, and nothing is to be done

Stages 2 to 6, 9 and 10 are left out for corrections, as in HPA.

After HPA v2 of Kubernetes 1.37, and KEDA 2.20 where that is silent. With the settings of HPA alone every size is HPA's,
but for this: samples of members that the target does not name never count (`by_members`); a rate of percentages alone
still starts one replica from zero (`rates`); while a metric is active at least one replica is wanted, even when none is
ready (`activation`); and no reading counts that is older than its policy allows (`quality`).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, NamedTuple

from opsuite_scaler.domain.activation import activate
from opsuite_scaler.domain.bounds import bounds_of
from opsuite_scaler.domain.decision import Decision, Outcome, State, Verdict
from opsuite_scaler.domain.draft import Draft
from opsuite_scaler.domain.expressions import Evaluate
from opsuite_scaler.domain.foreseen import raise_floor
from opsuite_scaler.domain.gate import gate
from opsuite_scaler.domain.history import acted
from opsuite_scaler.domain.metrics import ask_all
from opsuite_scaler.domain.modes import keep_to_mode, mode_at, rehearse
from opsuite_scaler.domain.policy import Mode, ScalingPolicy
from opsuite_scaler.domain.rates import limit
from opsuite_scaler.domain.rest import cool_down, hold, limit_reversals
from opsuite_scaler.domain.snapshot import Snapshot
from opsuite_scaler.domain.stabilization import seed, stabilize

__all__ = ["STAGES", "acted", "decide"]


class Stage(NamedTuple):
    """One rule, or a few of one kind."""

    name: str
    apply: Callable[[Draft], None]
    for_corrections: bool = False


STAGES: Final = (
    Stage("gate", gate, for_corrections=True),
    Stage("metrics", ask_all),
    Stage("activation", activate),
    Stage("forecast", raise_floor),
    Stage("stabilization", stabilize),
    Stage("rates and bounds", limit),
    Stage("mode", keep_to_mode, for_corrections=True),
    Stage("holds", hold, for_corrections=True),
    Stage("reversals", limit_reversals),
    Stage("cooldown", cool_down),
    Stage("dry run", rehearse, for_corrections=True),
)


def decide(policy: ScalingPolicy, snapshot: Snapshot, state: State, formulas: Evaluate | None = None) -> Outcome:
    """What to do about the size of a target now.

    `formulas` evaluates FORMULA metrics; without it they fail. The returned state is to be saved with the decision;
    when the target has accepted a SCALE, `acted` gives the state to save after it:

        outcome = decide(policy, snapshot, state)
        state = outcome.state
        if outcome.decision.is_to_be_done:
            await target.scale(outcome.decision.desired)
            state = acted(policy, state, outcome.decision, clock.now())
    """
    draft = Draft(policy, snapshot, state, bounds_of(policy, snapshot), formulas)
    seed(draft)
    for stage in STAGES:
        if not draft.has_ended and (stage.for_corrections or not draft.is_correction):
            stage.apply(draft)
    return Outcome(_decision(draft), _state(draft), tuple(draft.steps))


def _decision(draft: Draft) -> Decision:
    verdict = draft.verdict or (Verdict.NO_CHANGE if draft.wanted == draft.current else Verdict.SCALE)
    desired = draft.withheld if verdict is Verdict.WAIT and draft.withheld is not None else draft.wanted
    settled = draft.settled
    is_dry_run = mode_at(draft.policy.mode, draft.now) is Mode.DRY_RUN
    reason, message = (settled.reason, settled.message) if settled else ("DesiredWithinRange", "")
    return Decision(verdict, draft.current, desired, reason, message, draft.remaining, draft.withheld, is_dry_run)


def _state(draft: Draft) -> State:
    before = draft.state
    return State(
        draft.recommendations,
        before.ups,
        before.downs,
        draft.memories,
        before.scaled_to_zero and draft.current == 0,
        before.last_up,
        before.last_down,
        draft.last_active,
        before.reversals,
        before.last_direction,
    )
