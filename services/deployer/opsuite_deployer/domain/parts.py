"""Parts of a pipeline: found by name, left out from the start, and what their failure means."""

from __future__ import annotations

from collections.abc import Sequence

from opsuite_deployer.domain.deployment import Deployment, PartKey, PartKind, PartRun, StepStatus, stage_parts
from opsuite_deployer.domain.pipeline import KIND_NAMES, OnFailure, Pipeline, Step


def find_step(pipeline: Pipeline, stage: str, step: str) -> PartKey | None:
    """Return the key of a step by the names of its stage and itself, or None."""
    for stage_index, candidate in enumerate(pipeline.stages):
        if candidate.name == stage:
            for index, one in enumerate(candidate.steps):
                if one.name == step:
                    return PartKey(stage_index, PartKind.STEP, index)
    return None


def parts_left_out(pipeline: Pipeline, *, is_rollback: bool, done: Sequence[int] = ()) -> dict[PartKey, PartRun]:
    """Return the parts a new deployment begins with as SKIPPED: `done` stages of a retry, steps a rollback skips."""
    skipped: dict[PartKey, PartRun] = {}
    for index, stage in enumerate(pipeline.stages):
        steps, gates = stage_parts(stage, index)
        if index in done:
            for key in (*steps, *gates):
                skipped[key] = PartRun(StepStatus.SKIPPED, message="done by the deployment that this one tries again")
        elif is_rollback:
            for key in steps:
                if stage.steps[key.position].skip_on_rollback:
                    skipped[key] = PartRun(StepStatus.SKIPPED, message="left out of rollbacks")
    return skipped


def on_failure(pipeline: Pipeline, key: PartKey) -> OnFailure:
    """What it means for a deployment if a part fails, as far as the part itself says."""
    stage = pipeline.stages[key.stage]
    return (stage.steps if key.kind is PartKind.STEP else stage.gates)[key.position].on_failure


def pauses(pipeline: Pipeline, deployment: Deployment, key: PartKey) -> bool:
    """Whether a gate or hook has failed and lets the deployment pause because of it."""
    is_over = deployment.part(key).status in {StepStatus.FAILED, StepStatus.TIMED_OUT}
    return is_over and on_failure(pipeline, key) is OnFailure.PAUSE


def is_asked_about(pipeline: Pipeline, deployment: Deployment, key: PartKey) -> bool:
    """Whether a person has to decide about a step: nobody knows how it ended, or it is a failed hook that pauses."""
    if deployment.part(key).status is StepStatus.INTERRUPTED:
        return True
    return key.kind is PartKind.STEP and pauses(pipeline, deployment, key)


def kind_of(step: Step) -> str:
    """The word for a step's kind."""
    return KIND_NAMES[type(step.kind)]
