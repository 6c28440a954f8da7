"""Pipelines and deployments with everything irrelevant filled in."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import Any

from fakes.clock import NOON

from opsuite_deployer.domain.deployment import Deployment, PartKey, PartKind, Status
from opsuite_deployer.domain.pipeline import Check, Command, Gate, HttpTarget, Pipeline, Stage, Step
from opsuite_deployer.domain.progress import advance, begin
from opsuite_deployer.domain.turn import Input, Limits, Outcome, PartEnded, PreflightEnded, RunPart, Turn

LIMITS = Limits(timeout=timedelta(minutes=60), starting=timedelta(seconds=60))


def a_step(name: str = "build", **changes: Any) -> Step:
    return Step(**{"name": name, "kind": Command("make", ("build",)), **changes})


def a_gate(name: str = "answers", **changes: Any) -> Gate:
    check = Check("home", HttpTarget("http://127.0.0.1/health"))
    return Gate(**{"name": name, "checks": (check,), **changes})


def a_stage(name: str = "deliver", *steps: Step, **changes: Any) -> Stage:
    return Stage(**{"name": name, "steps": steps or (a_step(),), **changes})


def a_pipeline(*stages: Stage, **changes: Any) -> Pipeline:
    return Pipeline(
        **{"id": "hello", "environments": ("staging", "production"), "stages": stages or (a_stage(),), **changes}
    )


def a_deployment(**changes: Any) -> Deployment:
    return Deployment(
        **{
            "id": "0000000000000000000000001",
            "pipeline": "hello",
            "pipeline_revision": 1,
            "environment": "staging",
            "version": "1.0.0",
            "created_at": NOON,
            "status": Status.QUEUED,
            **changes,
        }
    )


def step_key(stage: int = 0, position: int = 0) -> PartKey:
    return PartKey(stage, PartKind.STEP, position)


def gate_key(stage: int = 0, position: int = 0) -> PartKey:
    return PartKey(stage, PartKind.GATE, position)


class Play:
    """A deployment played through the pure core, one input after the other."""

    def __init__(self, pipeline: Pipeline, *, now: datetime = NOON, **deployment: Any) -> None:
        self.pipeline = pipeline
        self.now = now
        self.turn = begin(pipeline, a_deployment(**deployment), LIMITS, now)
        self.happened = list(self.turn.happened)

    @property
    def deployment(self) -> Deployment:
        return self.turn.deployment

    @property
    def started(self) -> list[PartKey]:
        """Parts that the last turn started."""
        return [action.key for action in self.turn.actions if isinstance(action, RunPart)]

    def take(self, *inputs: Input, hold: bool = False) -> Turn:
        self.turn = advance(self.pipeline, self.turn.deployment, inputs, self.now, LIMITS, hold=hold)
        self.happened += self.turn.happened
        return self.turn

    def start(self) -> Turn:
        return self.take(PreflightEnded())

    def end(self, key: PartKey, outcome: Outcome = Outcome.SUCCEEDED, **details: Any) -> Turn:
        return self.take(PartEnded(key, self.deployment.part(key).attempt, outcome, **details))

    def later(self, by: timedelta, *inputs: Input) -> Turn:
        self.now += by
        return self.take(*inputs)

    def kinds(self) -> list[str]:
        return [one.kind.value for one in self.happened]


def names(keys: Iterable[PartKey], pipeline: Pipeline) -> list[str]:
    return [pipeline.stages[key.stage].steps[key.position].name for key in keys if key.kind is PartKind.STEP]
