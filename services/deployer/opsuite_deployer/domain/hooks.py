"""Puts the hooks of a pipeline among its stages, and says where they run.

The hooks of one moment become the steps of a stage of their own, so whatever steps have, hooks have: logs, attempts,
events, recovery after a crash, the environment held until the last one has ended. The stages of a pipeline with hooks,
in this order, and what they wait for:

    before:DEPLOYMENT, before:ROLLBACK     nothing; everything waits for them, also where a stage is done already
    before:web                             what `web` waits for; `web` waits for it
    web
    before:PROMOTION:web:shop …            the rollout `shop`, which calls for them and waits for them
    after:web                              `web`; what waits for `web` waits for it
    after:DEPLOYMENT, after:ROLLBACK       all of these
    after:FAILURE                          a deployment that is not going to end well (`progress.py`)

What is recorded of a deployment names stages by their place, so the order must stay as it is.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import replace
from typing import Final

from opsuite_deployer.domain.deployment import Deployment, PartKey
from opsuite_deployer.domain.hook_points import OF_ROLLOUTS, ON_WAYS_BACK, HookPoint, Moment, Phase, moment_name
from opsuite_deployer.domain.pipeline import Hook, OnFailure, Pipeline, Rollout, Stage, Step
from opsuite_deployer.domain.strategy import Canary, moves_replica_by_replica

_FIRST: Final = (HookPoint(Moment.BEFORE, Phase.DEPLOYMENT), HookPoint(Moment.BEFORE, Phase.ROLLBACK))
_LAST: Final = (HookPoint(Moment.AFTER, Phase.DEPLOYMENT), HookPoint(Moment.AFTER, Phase.ROLLBACK))
_FAILURE: Final = HookPoint(Moment.AFTER, Phase.FAILURE)
_BEFORE_STAGE: Final = HookPoint(Moment.BEFORE, Phase.STAGE)
_AFTER_STAGE: Final = HookPoint(Moment.AFTER, Phase.STAGE)


# --- putting them among the stages -----------------------------------------------------------------------------------


def woven(pipeline: Pipeline) -> Pipeline:
    """Return a sound pipeline with its hooks among its stages; the same if it has none."""
    if not pipeline.hooks:
        return pipeline
    first = tuple(stage for point in _FIRST for stage in _hooks_at(pipeline, point))
    stages = list(first)
    for index, stage in enumerate(pipeline.stages):
        needed = (pipeline.stages[position].name for position in pipeline.needed_before(index))
        needs = (*(one.name for one in first), *(_last_of(pipeline, name) for name in needed))
        stages += _with_hooks(pipeline, stage, needs)
    all_of_it = tuple(one.name for one in stages)
    for point in (*_LAST, _FAILURE):
        stages += _hooks_at(pipeline, point, needs=all_of_it)
    return replace(pipeline, stages=tuple(stages))


def _with_hooks(pipeline: Pipeline, stage: Stage, needs: tuple[str, ...]) -> Iterator[Stage]:
    """A stage with the hooks before, in and after it."""
    before = tuple(_hooks_at(pipeline, _BEFORE_STAGE, stage.name, needs=needs))
    yield from before
    yield replace(stage, needs=tuple(one.name for one in before) or needs)
    for step in stage.steps:
        for point in points_of(step):
            for one in _hooks_at(pipeline, point, stage.name, step.name, needs=()):
                yield replace(one, of_rollout=(stage.name, step.name))
    yield from _hooks_at(pipeline, _AFTER_STAGE, stage.name, needs=(stage.name,))


def _hooks_at(pipeline: Pipeline, point: HookPoint, *names: str, needs: tuple[str, ...] = ()) -> Iterator[Stage]:
    """The stage of the hooks of one moment, about the stage and the rollout of these names; none without any."""
    steps = tuple(hook.step for hook in pipeline.hooks if hook.point == point and _is_about(hook, names))
    if steps:
        about = names[0] if names else None
        yield Stage(moment_name(point, *names), steps, needs=needs, hooks=point, about=about)


def _is_about(hook: Hook, names: tuple[str, ...]) -> bool:
    return not names or hook.stage in {"", names[0]}


def _last_of(pipeline: Pipeline, name: str) -> str:
    """The name of what has to end before a stage counts as done: the hooks after it, or itself."""
    return next((one.name for one in _hooks_at(pipeline, _AFTER_STAGE, name)), name)


def points_of(step: Step) -> tuple[HookPoint, ...]:
    """The points that a step comes to while it runs; none unless it is a rollout."""
    if not isinstance(step.kind, Rollout):
        return ()
    strategy = step.kind.strategy
    grows = isinstance(strategy, Canary) and not moves_replica_by_replica(strategy) and step.kind.traffic is not None
    return tuple(point for point in OF_ROLLOUTS if grows or point.phase is Phase.PROMOTION)


def usual_failure(point: HookPoint) -> OnFailure:
    """What a failure does where the hook does not say: it stops what it comes before, never a way back."""
    stops = point.moment is Moment.BEFORE and point.phase not in ON_WAYS_BACK
    return OnFailure.FAIL if stops else OnFailure.CONTINUE


# --- where they run --------------------------------------------------------------------------------------------------


def is_waited_for(stage: Stage, deployment: Deployment) -> bool:
    """Whether a stage has to end before what needs it may start, and before the deployment may end well."""
    return stage.hooks is None or (applies(stage, deployment) and not is_called(stage))


def applies(stage: Stage, deployment: Deployment) -> bool:
    """Whether a stage has anything to do with a deployment: hooks of rollbacks and of others are never both."""
    if stage.hooks is None or stage.hooks.phase in {Phase.STAGE, Phase.FAILURE}:
        return True
    return bool(deployment.rollback_of) == (stage.hooks.phase is Phase.ROLLBACK)


def is_called(stage: Stage) -> bool:
    """Whether a stage runs when something calls for it, not when what it needs has ended."""
    return stage.of_rollout is not None or stage.hooks == _FAILURE


def failure_hooks(pipeline: Pipeline) -> int | None:
    """The place of the hooks after a failure; None without any."""
    last = len(pipeline.stages) - 1
    return last if pipeline.stages[last].hooks == _FAILURE else None


def called_by(pipeline: Pipeline, key: PartKey) -> Mapping[HookPoint, int]:
    """The places of the hooks that a rollout calls for, by point."""
    stage = pipeline.stages[key.stage]
    caller = (stage.name, stage.steps[key.position].name)
    return {
        one.hooks: index
        for index, one in enumerate(pipeline.stages)
        if one.hooks is not None and one.of_rollout == caller
    }


def to_repeat(pipeline: Pipeline, through: Collection[int]) -> Iterator[int]:
    """Places of hooks that run again where a deployment is tried again of which these stages stand.

    Those of the deployment as a whole always do, those at a stage unless the stage itself is done.
    """
    done = {pipeline.stages[index].name for index in through}
    for index, stage in enumerate(pipeline.stages):
        if stage.hooks is not None and (stage.about is None or stage.about not in done):
            yield index


def field_of(pipeline: Pipeline, key: PartKey) -> str:
    """The path of a step where it was written: `stages[0].steps[1]` or `hooks[2]`."""
    stage = pipeline.stages[key.stage]
    if stage.hooks is None:
        before = sum(one.hooks is None for one in pipeline.stages[: key.stage])
        return f"stages[{before}].steps[{key.position}]"
    name = stage.steps[key.position].name
    return f"hooks[{next(index for index, hook in enumerate(pipeline.hooks) if hook.step.name == name)}]"
