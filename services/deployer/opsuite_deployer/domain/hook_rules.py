"""What must be right about the moments of hooks. What they do is judged as steps are, by `rules.py`."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from opsuite_deployer.domain.hook_points import OF_ROLLOUTS, ON_WAYS_BACK, HookPoint, Moment, Phase
from opsuite_deployer.domain.hooks import points_of
from opsuite_deployer.domain.pipeline import Hook, OnFailure, Pipeline
from opsuite_kernel.errors import Violation

_ONE_SIDED: Final = {
    HookPoint(Moment.AFTER, Phase.TRAFFIC): "there is no after: requests keep coming",
    HookPoint(Moment.AFTER, Phase.INCREASE): "there is no after: the step that follows may look at it",
    HookPoint(Moment.BEFORE, Phase.FAILURE): "there is no before: nobody knows of it yet",
}
_OF_STAGES: Final = frozenset({Phase.STAGE, Phase.TRAFFIC, Phase.INCREASE, Phase.PROMOTION})


def moment_violations(pipeline: Pipeline, hook: Hook) -> Iterator[Violation]:
    """What is wrong with when a hook of the pipeline runs, and with what its failure is to mean."""
    point, step = hook.point, hook.step
    if (reason := _ONE_SIDED.get(point)) is not None:
        yield Violation(point.moment.value, reason, "CONTRADICTORY")
    else:
        yield from _place(pipeline, hook)
    if point.phase in ON_WAYS_BACK and step.on_failure is not OnFailure.CONTINUE:
        yield Violation(
            "on_failure", "nothing stands in the way of a way back: only CONTINUE is right", "CONTRADICTORY"
        )
    if step.skip_on_rollback and point.phase is not Phase.STAGE:
        yield Violation("on_rollback", "is for hooks of stages; the phase says it for all others", "CONTRADICTORY")


def _place(pipeline: Pipeline, hook: Hook) -> Iterator[Violation]:
    phase = hook.point.phase
    if hook.stage and phase not in _OF_STAGES:
        yield Violation("stage", f"{phase.value} is about all stages", "CONTRADICTORY")
        return
    meant = [stage for stage in pipeline.stages if hook.stage in {"", stage.name}]
    if not meant:
        yield Violation("stage", f"{hook.stage} is not a stage of this pipeline", "UNKNOWN")
    elif hook.point in OF_ROLLOUTS and not any(hook.point in points_of(step) for one in meant for step in one.steps):
        wanted = "a rollout" if phase is Phase.PROMOTION else "a rollout by shares of requests: a canary with steps"
        field = "stage" if hook.stage else hook.point.moment.value
        yield Violation(field, f"there is no such moment: it takes {wanted}", "UNKNOWN")
