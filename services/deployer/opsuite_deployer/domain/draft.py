"""A turn being worked out: what has changed of a deployment so far, what is told of it, what the world is asked for."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Final

from opsuite_deployer.domain.deployment import (
    GOING_ON,
    PASSED,
    Deployment,
    Failure,
    PartKey,
    PartKind,
    PartRun,
    PauseReason,
    Status,
    StepStatus,
    follow,
    stage_parts,
    stage_status,
)
from opsuite_deployer.domain.hooks import called_by, failure_hooks, is_waited_for
from opsuite_deployer.domain.parts import pauses
from opsuite_deployer.domain.pipeline import Gate, Pipeline, Step
from opsuite_deployer.domain.turn import Action, EventKind, Happened, PartEnded, RunPart, StopPart


@dataclass(slots=True)
class Draft:
    """Everything here is local to one call of `progress.advance`, which makes a `Turn` of it."""

    pipeline: Pipeline
    deployment: Deployment
    now: datetime
    hold: bool
    happened: list[Happened] = field(default_factory=list)
    actions: list[Action] = field(default_factory=list)
    called: set[int] = field(default_factory=set)
    """Places of hooks that a rollout calls for."""
    _parts: dict[PartKey, PartRun] = field(init=False, repr=False)
    """The parts of `deployment`, which are the draft's own: a deployment has many fields, and one copy is enough."""

    def __post_init__(self) -> None:
        self._parts = dict(self.deployment.parts)
        self.deployment = replace(self.deployment, parts=self._parts)

    # going on

    def start(self, key: PartKey) -> None:
        """Begin the next attempt of a step or gate."""
        if self.is_fresh(key.stage):
            self.note(EventKind.STAGE_STARTED, stage=self.pipeline.stages[key.stage].name)
        part = self.deployment.part(key)
        attempt = part.attempt + 1
        self.set(key, PartRun(StepStatus.RUNNING, attempt, started_at=self.now))
        if self.pipeline.hooks and key.kind is PartKind.STEP:
            for place in called_by(self.pipeline, key).values():  # a new attempt of a rollout calls for them anew
                self.forget_ended(place)
        self.note_part(EventKind.STEP_STARTED if key.kind is PartKind.STEP else EventKind.GATE_STARTED, key)
        self.actions.append(RunPart(key, attempt))

    # ending, pausing

    def fail(self, failure: Failure, *, ending: Status = Status.FAILED, spare: int | None = None) -> None:
        """End because of `failure`, unless something ended it already."""
        if self.deployment.ending is None:
            self.deployment = replace(self.deployment, failure=failure, reason=failure.reason, message=failure.message)
            self.end_with(ending, reason=failure.reason, message=failure.message, spare=spare)

    def end_with(self, ending: Status, *, reason: str, message: str, spare: int | None = None) -> None:
        """Start nothing more and stop what is executing, but for stage number `spare`, which runs to its end."""
        if self.deployment.ending is not None:
            return
        self.deployment = replace(self.deployment, ending=ending, reason=reason, message=message)
        for key, part in self.deployment.parts.items():
            if part.status is not StepStatus.RUNNING:
                continue
            if part.retry_at is not None:
                self.set(key, replace(part, status=StepStatus.CANCELLED, retry_at=None, ended_at=self.now))
                self.note_part(_ended(key), key)
            elif key.stage != spare:
                self.stop(key)

    def stop(self, key: PartKey) -> None:
        """Ask for a part to be stopped; one that this very turn wanted to run is not begun first."""
        self.actions = [action for action in self.actions if getattr(action, "key", None) != key]
        self.actions.append(StopPart(key))

    def pause(self, reason: PauseReason, message: str, actor: str = "") -> None:
        """Wait for a person."""
        if self.deployment.status is Status.PAUSED:
            is_shown = self.deployment.pause_reason is PauseReason.INTERRUPTED
            if reason in _BARS_RESUMING and not is_shown:  # the one that bars going on is the one to show
                self.deployment = replace(self.deployment, pause_reason=reason, message=message)
            return
        self.become(Status.PAUSED, pause_reason=reason, reason=reason.value, message=message, paused_at=self.now)
        self.note(EventKind.PAUSED, reason=reason.value, message=message, actor=actor)

    def resume(self, *, actor: str = "", message: str = "") -> None:
        """Go on after a pause."""
        since = self.deployment.paused_at or self.now
        self.become(
            Status.RUNNING,
            pause_reason=None,
            reason="",
            message="",
            paused_at=None,
            paused_for=self.deployment.paused_for + (self.now - since),
        )
        self.note(EventKind.RESUMED, actor=actor, message=message)

    def give_up(self, reason: str, message: str, ending: Status = Status.TIMED_OUT) -> None:
        """End for a reason of the deployment as a whole; tells which part was running."""
        running = next((key for key, part in self.deployment.parts.items() if part.status is StepStatus.RUNNING), None)
        stage = self.pipeline.stages[running.stage].name if running else ""
        step = self.name(running) if running and running.kind is PartKind.STEP else ""
        gate = self.name(running) if running and running.kind is PartKind.GATE else ""
        ending = Status.FAILED if self.deployment.status is Status.STARTING else ending
        self.fail(Failure(reason, message, stage, step, gate), ending=ending)

    # changing and telling

    def become(self, status: Status, **changes: object) -> None:
        """Move to another status."""
        self.deployment = replace(self.deployment, status=follow(self.deployment.status, status), **changes)  # type: ignore[arg-type]  # replace() is checked by the callers' keywords

    def set(self, key: PartKey, part: PartRun) -> None:
        """Change one part."""
        self._parts[key] = part

    def forget_ended(self, stage: int) -> None:
        """Let the steps of a stage that have ended run again when their turn comes."""
        for key in stage_parts(self.pipeline.stages[stage], stage)[0]:
            part = self.deployment.part(key)
            if part.status not in {StepStatus.PENDING, StepStatus.RUNNING}:
                self.set(key, replace(part, status=StepStatus.PENDING))

    def end_part(self, key: PartKey, status: StepStatus, given: PartEnded) -> None:
        """Record the end of a part, and of its stage if that was its last."""
        part = self.deployment.part(key)
        if self.deployment.takeovers:
            self.deployment = replace(self.deployment, takeovers=0)
        self.set(key, replace(part, status=status, ended_at=self.now, exit_code=given.exit_code, message=given.message))
        self.note_part(_ended(key), key, reason=status.value, message=given.message, exit_code=given.exit_code)
        self.note_stage_end(key.stage)

    def note_stage_end(self, index: int) -> None:
        """Tell that a stage has ended, if it has."""
        standing = stage_status(self.deployment, self.pipeline.stages[index], index)
        if standing not in {StepStatus.PENDING, StepStatus.RUNNING}:
            self.note(EventKind.STAGE_ENDED, stage=self.pipeline.stages[index].name, reason=standing.value)

    def warn(self, message: str) -> None:
        """Keep and tell a warning."""
        self.deployment = replace(self.deployment, warnings=(*self.deployment.warnings, message))
        self.note(EventKind.WARNING, message=message)

    def note(self, kind: EventKind, *, stage: str = "", reason: str = "", message: str = "", actor: str = "") -> None:
        """Tell of the deployment or of a stage."""
        self.happened.append(
            Happened(kind, self.deployment.status, stage=stage, reason=reason, message=message, actor=actor)
        )

    def note_part(
        self, kind: EventKind, key: PartKey, *, reason: str = "", message: str = "", exit_code: int | None = None
    ) -> None:
        """Tell of a step or gate."""
        is_gate = key.kind is PartKind.GATE
        self.happened.append(
            Happened(
                kind,
                self.deployment.status,
                stage=self.pipeline.stages[key.stage].name,
                step="" if is_gate else self.name(key),
                gate=self.name(key) if is_gate else "",
                attempt=self.deployment.part(key).attempt,
                reason=reason,
                message=message,
                exit_code=exit_code,
            )
        )

    # asking

    def starts_things(self) -> bool:
        """Whether steps and gates may start now: not in a pause, not on the way to the end, not before a hand-over."""
        at_work = self.deployment.status in GOING_ON
        return at_work and self.deployment.ending is None and not self.hold

    def may_go_on(self, key: PartKey) -> bool:
        """Whether a part may run again: not on the way to the end, unless that is when it runs."""
        return self.deployment.ending is None or key.stage == failure_hooks(self.pipeline)

    def stage_passed(self, index: int) -> bool:
        """Whether what needs the stage may start."""
        stage = self.pipeline.stages[index]
        if not is_waited_for(stage, self.deployment):
            return True
        steps, gates = stage_parts(stage, index)
        return all(self.deployment.part(key).status in PASSED for key in (*steps, *gates))

    def is_fresh(self, index: int) -> bool:
        """Whether nothing of the stage has run yet."""
        steps, gates = stage_parts(self.pipeline.stages[index], index)
        return all(self.deployment.part(key).attempt == 0 for key in (*steps, *gates))

    def is_executing(self) -> bool:
        """Whether anything is being done."""
        return any(part.is_executing for part in self.deployment.parts.values())

    def has_interrupted(self) -> bool:
        """Whether a person has to decide about a step."""
        return any(part.status is StepStatus.INTERRUPTED for part in self.deployment.parts.values())

    def waits_for_hooks(self) -> bool:
        """Whether a person has to decide about a hook that has failed."""
        keys = (key for key in self.deployment.parts if key.kind is PartKind.STEP)
        return any(pauses(self.pipeline, self.deployment, key) for key in keys)

    def step(self, key: PartKey) -> Step:
        """The step that a key names."""
        return self.pipeline.stages[key.stage].steps[key.position]

    def gate(self, key: PartKey) -> Gate | None:
        """The gate that a key names, None if it names a step."""
        return self.pipeline.stages[key.stage].gates[key.position] if key.kind is PartKind.GATE else None

    def name(self, key: PartKey) -> str:
        """The name of a step or gate."""
        gate = self.gate(key)
        return gate.name if gate else self.step(key).name


_BARS_RESUMING: Final = frozenset({PauseReason.INTERRUPTED, PauseReason.HOOK})


def _ended(key: PartKey) -> EventKind:
    return EventKind.STEP_ENDED if key.kind is PartKind.STEP else EventKind.GATE_ENDED
