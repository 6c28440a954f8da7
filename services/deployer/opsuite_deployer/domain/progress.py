"""What happens next to a deployment: one pure function from what is known to what is recorded and done.

`advance` takes a deployment, what has become known since (`Input`s: a step ended, a person wished something, time
passed) and the time, and returns a `Turn`: the deployment after it, the events that tell of it, and the actions that
the world is asked for. The caller records the turn in one transaction and only then acts; so whatever is being done
was written down before, and after a crash `Adopted` is all the next owner has to say.

Failures and wishes to stop set `ending`. From then on nothing new starts; when nothing is executing any more the turn
says `concluded`, and `rollback.conclude` decides how the deployment ends.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Final

from opsuite_deployer.domain.deployment import (
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
from opsuite_deployer.domain.pipeline import (
    KIND_NAMES,
    Command,
    Gate,
    GateFailure,
    Pipeline,
    SiblingPolicy,
    Step,
)
from opsuite_deployer.domain.turn import (
    Action,
    Adopted,
    EventKind,
    Happened,
    Input,
    Limits,
    Outcome,
    PartEnded,
    PreflightEnded,
    RunPart,
    RunPreflight,
    StopPart,
    Turn,
    Verb,
    Wish,
)

MAX_TAKEOVERS: Final = 5
"""Takeovers in a row, without a step ending, after which a deployment is given up: it may be what kills its owners."""


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
    turn = _Turn(pipeline, deployment, now, hold)
    for given in inputs:
        turn.take(given)
    turn.enforce_deadlines(limits)
    turn.start_what_is_due()
    return turn.finish(limits)


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


@dataclass(slots=True)
class _Turn:
    """A turn being worked out. Everything here is local to one call of `advance`."""

    pipeline: Pipeline
    deployment: Deployment
    now: datetime
    hold: bool
    happened: list[Happened] = field(default_factory=list)
    actions: list[Action] = field(default_factory=list)

    def take(self, given: Input) -> None:
        if self.deployment.is_terminal:
            return
        match given:
            case PreflightEnded():
                self._preflight_ended(given)
            case PartEnded():
                self._part_ended(given)
            case Adopted():
                self._adopted(given)
            case Wish():
                _WISHES[given.verb](self, given)

    # inputs

    def _preflight_ended(self, given: PreflightEnded) -> None:
        if self.deployment.status is not Status.STARTING:
            return
        if given.problems:
            self._fail(Failure("PREFLIGHT_FAILED", "; ".join(given.problems)))
            return
        self._become(Status.RUNNING, started_at=self.now)
        self._note(EventKind.STARTED)

    def _part_ended(self, given: PartEnded) -> None:
        part = self.deployment.part(given.key)
        if not part.is_executing or part.attempt != given.attempt:
            return  # a late answer of an attempt that was already decided
        if given.outcome is Outcome.UNKNOWN:
            self._interrupted(given.key, part)
        elif given.outcome is Outcome.SUCCEEDED:
            self._end_part(given.key, StepStatus.SUCCEEDED, given)
        elif given.outcome is Outcome.CANCELLED:
            self._end_part(given.key, StepStatus.CANCELLED, given)
        elif self._may_retry(given.key, part):
            self._retry_later(given.key, part, given)
        else:
            self._part_failed(given)

    def _may_retry(self, key: PartKey, part: PartRun) -> bool:
        return (
            key.kind is PartKind.STEP
            and self.deployment.ending is None
            and part.attempt < self._step(key).retry.attempts
        )

    def _retry_later(self, key: PartKey, part: PartRun, given: PartEnded) -> None:
        due = self.now + self._step(key).retry.delay_after(part.attempt)
        self._set(key, replace(part, retry_at=due, exit_code=given.exit_code, message=given.message))
        self._note_part(EventKind.STEP_ENDED, key, reason="RETRYING", message=given.message, exit_code=given.exit_code)

    def _part_failed(self, given: PartEnded) -> None:
        stage = self.pipeline.stages[given.key.stage]
        timed_out = given.outcome is Outcome.TIMED_OUT
        gate = self._gate(given.key)
        if self.deployment.ending is None and (
            stage.continue_on_failure or (gate and gate.on_failure is GateFailure.CONTINUE)
        ):
            self._end_part(given.key, StepStatus.FAILED_CONTINUED, given)
            self._warn(f"{_what(stage.name, self._name(given.key), gate)}: {given.message or given.outcome.value}")
            return
        self._end_part(given.key, StepStatus.TIMED_OUT if timed_out else StepStatus.FAILED, given)
        if gate and gate.on_failure is GateFailure.PAUSE and self.deployment.ending is None:
            self._pause(PauseReason.GATE, f"gate {gate.name} of stage {stage.name} failed: {given.message}")
            return
        self._fail(
            Failure(
                reason=_failure_reason(gate, timed_out),
                message=given.message or given.outcome.value,
                stage=stage.name,
                step="" if gate else self._name(given.key),
                gate=gate.name if gate else "",
                last_log_lines=given.last_log_lines,
            ),
            spare=given.key.stage if stage.on_sibling_failure is SiblingPolicy.WAIT_ALL else None,
        )

    def _adopted(self, given: Adopted) -> None:
        how = "handed over by a deployer that stopped" if given.given_back else "taken over after its deployer was lost"
        self._note(EventKind.ADOPTED, message=how)
        # What only waits, as in a pause, cannot be what its owners die of.
        is_suspect = self.deployment.status is Status.STARTING or self._executing()
        if is_suspect and not given.given_back:
            self.deployment = replace(self.deployment, takeovers=self.deployment.takeovers + 1)
        if self.deployment.takeovers >= MAX_TAKEOVERS and self.deployment.ending is None:
            said = f"its deployer was lost {MAX_TAKEOVERS} times without progress"
            self._give_up("TAKEN_OVER_TOO_OFTEN", said, Status.FAILED)
        if self.deployment.status is Status.STARTING:
            self.actions.append(RunPreflight())
        for key, part in sorted(self.deployment.parts.items(), key=lambda item: (item[0].stage, item[0].position)):
            if part.is_executing:
                self._recover(key, part)

    def _recover(self, key: PartKey, part: PartRun) -> None:
        """A local process died with its deployer; everything else can be found or asked again under the same name."""
        if key.kind is PartKind.STEP and isinstance(self._step(key).kind, Command):
            self._interrupted(key, part)
        elif self.deployment.ending is not None:
            self._stop(key)
        else:
            self.actions.append(RunPart(key, part.attempt))

    def _interrupted(self, key: PartKey, part: PartRun) -> None:
        message = "its deployer was lost while it ran; how it ended is not known"
        if self.deployment.ending is None and self._step(key).idempotent:
            self._note_part(EventKind.STEP_ENDED, key, reason="INTERRUPTED", message=message)
            self._run(key)
            return
        self._set(key, replace(part, status=StepStatus.INTERRUPTED, ended_at=self.now, message=message))
        self._note_part(EventKind.STEP_ENDED, key, reason="INTERRUPTED", message=message)
        if self.deployment.ending is None:
            stage = self.pipeline.stages[key.stage].name
            self._pause(PauseReason.INTERRUPTED, f"step {self._name(key)} of stage {stage} was interrupted")

    # wishes

    def wish_cancel(self, wish: Wish) -> None:
        self._end_with(Status.CANCELLED, reason="CANCELLED", message=_by("cancelled", wish))

    def wish_rollback(self, wish: Wish) -> None:
        self.deployment = replace(self.deployment, rollback_to=wish.target)
        self._end_with(Status.ROLLING_BACK, reason="ROLLBACK_REQUESTED", message=_by("rollback asked for", wish))

    def wish_pause(self, wish: Wish) -> None:
        if self.deployment.status in {Status.RUNNING, Status.VERIFYING} and self.deployment.ending is None:
            self._pause(PauseReason.MANUAL, _by("paused", wish), wish.actor)

    def wish_resume(self, wish: Wish) -> None:
        if self.deployment.status is not Status.PAUSED or self._has_interrupted():
            return
        self._resume(wish)

    def wish_retry_step(self, wish: Wish) -> None:
        self._decide_interrupted(wish, self._run)

    def wish_skip_step(self, wish: Wish) -> None:
        self._decide_interrupted(wish, lambda key: self._skip(key, _by("skipped", wish)))

    def _decide_interrupted(self, wish: Wish, decide: Callable[[PartKey], None]) -> None:
        if wish.key is None or self.deployment.part(wish.key).status is not StepStatus.INTERRUPTED:
            return
        if self.deployment.ending is not None:
            return
        decide(wish.key)
        if self.deployment.pause_reason is PauseReason.INTERRUPTED and not self._has_interrupted():
            self._resume(wish)

    def _skip(self, key: PartKey, message: str) -> None:
        part = self.deployment.part(key)
        self._set(key, replace(part, status=StepStatus.SKIPPED, ended_at=self.now, message=message))
        self._note_part(EventKind.STEP_ENDED, key, reason="SKIPPED", message=message)
        self._note_stage_end(key.stage)

    # time

    def enforce_deadlines(self, limits: Limits) -> None:
        """End what has taken too long."""
        if self.deployment.ending is not None or self.deployment.is_terminal:
            return
        soft, hard = deadlines(self.pipeline, self.deployment, limits)
        if hard is not None and self.now >= hard:
            self._give_up(
                "DEPLOYMENT_TOO_LONG", f"it took longer than {_said(self.pipeline.max_duration)}, pauses included"
            )
        elif soft is not None and self.now >= soft:
            self._give_up(
                "DEPLOYMENT_TIMED_OUT", f"it took longer than {_said(self.pipeline.timeout or limits.timeout)}"
            )

    def _give_up(self, reason: str, message: str, ending: Status = Status.TIMED_OUT) -> None:
        running = next((key for key, part in self.deployment.parts.items() if part.status is StepStatus.RUNNING), None)
        stage = self.pipeline.stages[running.stage].name if running else ""
        step = self._name(running) if running and running.kind is PartKind.STEP else ""
        gate = self._name(running) if running and running.kind is PartKind.GATE else ""
        ending = Status.FAILED if self.deployment.status is Status.STARTING else ending
        self._fail(Failure(reason, message, stage, step, gate), ending=ending)

    # going on

    def start_what_is_due(self) -> None:
        """Start every step and gate whose turn it is."""
        if not self._starts_things():
            return
        for index in range(len(self.pipeline.stages)):
            if all(self._stage_passed(needed) for needed in self.pipeline.needed_before(index)):
                self._start_in_stage(index)

    def _start_in_stage(self, index: int) -> None:
        stage = self.pipeline.stages[index]
        steps, gates = stage_parts(stage, index)
        for key in steps:
            part = self.deployment.part(key)
            if part.status is StepStatus.PENDING or (part.retry_at is not None and part.retry_at <= self.now):
                self._run(key)
            if not stage.parallel and self.deployment.part(key).status not in PASSED:
                return
        if all(self.deployment.part(key).status in PASSED for key in steps):
            for key in gates:
                if self.deployment.part(key).status is StepStatus.PENDING:
                    self._run(key)

    def _run(self, key: PartKey) -> None:
        if self._is_fresh(key.stage):
            self._note(EventKind.STAGE_STARTED, stage=self.pipeline.stages[key.stage].name)
        part = self.deployment.part(key)
        attempt = part.attempt + 1
        self._set(key, PartRun(StepStatus.RUNNING, attempt, started_at=self.now))
        self._note_part(EventKind.STEP_STARTED if key.kind is PartKind.STEP else EventKind.GATE_STARTED, key)
        self.actions.append(RunPart(key, attempt))

    # the end of the turn

    def finish(self, limits: Limits) -> Turn:
        """Settle the status and say when to ask again."""
        concluded = self._conclude_if_quiet()
        if not concluded and not self.deployment.is_terminal and self.deployment.status is not Status.STARTING:
            self._settle()
        return Turn(self.deployment, tuple(self.happened), tuple(self.actions), self._wake_at(limits), concluded)

    def _conclude_if_quiet(self) -> bool:
        """Whether it is over: ended by failure or wish with nothing executing, or every stage is through."""
        deployment = self.deployment
        if deployment.is_terminal or (deployment.status is Status.PAUSED and deployment.ending is None):
            return False
        if deployment.ending is not None:
            return not any(part.status is StepStatus.RUNNING for part in deployment.parts.values())
        if deployment.status is Status.STARTING:
            return False
        if not all(self._stage_passed(index) for index in range(len(self.pipeline.stages))):
            return False
        self.deployment = replace(deployment, ending=Status.SUCCEEDED)
        return True

    def _settle(self) -> None:
        """RUNNING while a step is, VERIFYING while only gates are."""
        if self.deployment.status not in {Status.RUNNING, Status.VERIFYING}:
            return
        executing = {key.kind for key, part in self.deployment.parts.items() if part.status is StepStatus.RUNNING}
        wanted = Status.VERIFYING if executing == {PartKind.GATE} else Status.RUNNING
        if wanted is not self.deployment.status:
            self._become(wanted)
            # The turn's own events happened in the status that they led to.
            self.happened = [replace(h, status=wanted) if _opens(h, wanted) else h for h in self.happened]

    def _wake_at(self, limits: Limits) -> datetime | None:
        if self.deployment.is_terminal or self.deployment.ending is not None:
            return None
        retries = self.deployment.parts.values() if self._starts_things() else ()
        due = [part.retry_at for part in retries if part.retry_at is not None]
        due += [moment for moment in deadlines(self.pipeline, self.deployment, limits) if moment is not None]
        return min(due, default=None)

    # ending, pausing

    def _fail(self, failure: Failure, *, ending: Status = Status.FAILED, spare: int | None = None) -> None:
        if self.deployment.ending is None:
            self.deployment = replace(self.deployment, failure=failure, reason=failure.reason, message=failure.message)
            self._end_with(ending, reason=failure.reason, message=failure.message, spare=spare)

    def _end_with(self, ending: Status, *, reason: str, message: str, spare: int | None = None) -> None:
        """Start nothing more and stop what is executing, but for stage number `spare`, which runs to its end."""
        if self.deployment.ending is not None:
            return
        self.deployment = replace(self.deployment, ending=ending, reason=reason, message=message)
        for key, part in self.deployment.parts.items():
            if part.status is not StepStatus.RUNNING:
                continue
            if part.retry_at is not None:
                self._set(key, replace(part, status=StepStatus.CANCELLED, retry_at=None, ended_at=self.now))
                self._note_part(_ended(key), key)
            elif key.stage != spare:
                self._stop(key)

    def _stop(self, key: PartKey) -> None:
        """Ask for a part to be stopped; one that this very turn wanted to run is not begun first."""
        self.actions = [action for action in self.actions if getattr(action, "key", None) != key]
        self.actions.append(StopPart(key))

    def _pause(self, reason: PauseReason, message: str, actor: str = "") -> None:
        if self.deployment.status is Status.PAUSED:
            if reason is PauseReason.INTERRUPTED:  # the one that bars resuming is the one to show
                self.deployment = replace(self.deployment, pause_reason=reason, message=message)
            return
        self._become(Status.PAUSED, pause_reason=reason, reason=reason.value, message=message, paused_at=self.now)
        self._note(EventKind.PAUSED, reason=reason.value, message=message, actor=actor)

    def _resume(self, wish: Wish) -> None:
        """Go on; gates that paused it are asked again."""
        for key, part in self.deployment.parts.items():
            if key.kind is PartKind.GATE and part.status in {StepStatus.FAILED, StepStatus.TIMED_OUT}:
                self._set(key, replace(part, status=StepStatus.PENDING))
        since = self.deployment.paused_at or self.now
        self._become(
            Status.RUNNING,
            pause_reason=None,
            reason="",
            message="",
            paused_at=None,
            paused_for=self.deployment.paused_for + (self.now - since),
        )
        self._note(EventKind.RESUMED, actor=wish.actor, message=wish.reason)

    # small things

    def _become(self, status: Status, **changes: object) -> None:
        self.deployment = replace(self.deployment, status=follow(self.deployment.status, status), **changes)  # type: ignore[arg-type]  # replace() is checked by the callers' keywords

    def _set(self, key: PartKey, part: PartRun) -> None:
        self.deployment = replace(self.deployment, parts={**self.deployment.parts, key: part})

    def _end_part(self, key: PartKey, status: StepStatus, given: PartEnded) -> None:
        part = self.deployment.part(key)
        self.deployment = replace(self.deployment, takeovers=0)
        self._set(
            key, replace(part, status=status, ended_at=self.now, exit_code=given.exit_code, message=given.message)
        )
        self._note_part(_ended(key), key, reason=status.value, message=given.message, exit_code=given.exit_code)
        self._note_stage_end(key.stage)

    def _note_stage_end(self, index: int) -> None:
        standing = stage_status(self.deployment, self.pipeline.stages[index], index)
        if standing not in {StepStatus.PENDING, StepStatus.RUNNING}:
            self._note(EventKind.STAGE_ENDED, stage=self.pipeline.stages[index].name, reason=standing.value)

    def _warn(self, message: str) -> None:
        self.deployment = replace(self.deployment, warnings=(*self.deployment.warnings, message))
        self._note(EventKind.WARNING, message=message)

    def _note(self, kind: EventKind, *, stage: str = "", reason: str = "", message: str = "", actor: str = "") -> None:
        self.happened.append(
            Happened(kind, self.deployment.status, stage=stage, reason=reason, message=message, actor=actor)
        )

    def _note_part(
        self, kind: EventKind, key: PartKey, *, reason: str = "", message: str = "", exit_code: int | None = None
    ) -> None:
        is_gate = key.kind is PartKind.GATE
        self.happened.append(
            Happened(
                kind,
                self.deployment.status,
                stage=self.pipeline.stages[key.stage].name,
                step="" if is_gate else self._name(key),
                gate=self._name(key) if is_gate else "",
                attempt=self.deployment.part(key).attempt,
                reason=reason,
                message=message,
                exit_code=exit_code,
            )
        )

    def _starts_things(self) -> bool:
        """Whether steps and gates may start now: not in a pause, not on the way to the end, not before a hand-over."""
        at_work = self.deployment.status in {Status.RUNNING, Status.VERIFYING}
        return at_work and self.deployment.ending is None and not self.hold

    def _stage_passed(self, index: int) -> bool:
        steps, gates = stage_parts(self.pipeline.stages[index], index)
        return all(self.deployment.part(key).status in PASSED for key in (*steps, *gates))

    def _is_fresh(self, index: int) -> bool:
        """Whether nothing of the stage has run yet."""
        steps, gates = stage_parts(self.pipeline.stages[index], index)
        return all(self.deployment.part(key).attempt == 0 for key in (*steps, *gates))

    def _executing(self) -> bool:
        return any(part.is_executing for part in self.deployment.parts.values())

    def _has_interrupted(self) -> bool:
        return any(part.status is StepStatus.INTERRUPTED for part in self.deployment.parts.values())

    def _step(self, key: PartKey) -> Step:
        return self.pipeline.stages[key.stage].steps[key.position]

    def _gate(self, key: PartKey) -> Gate | None:
        return self.pipeline.stages[key.stage].gates[key.position] if key.kind is PartKind.GATE else None

    def _name(self, key: PartKey) -> str:
        gate = self._gate(key)
        return gate.name if gate else self._step(key).name


_WISHES: Final = {
    Verb.CANCEL: _Turn.wish_cancel,
    Verb.PAUSE: _Turn.wish_pause,
    Verb.RESUME: _Turn.wish_resume,
    Verb.RETRY_STEP: _Turn.wish_retry_step,
    Verb.SKIP_STEP: _Turn.wish_skip_step,
    Verb.ROLLBACK: _Turn.wish_rollback,
}


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


def kind_of(step: Step) -> str:
    """The word for a step's kind."""
    return KIND_NAMES[type(step.kind)]


def _ended(key: PartKey) -> EventKind:
    return EventKind.STEP_ENDED if key.kind is PartKind.STEP else EventKind.GATE_ENDED


def _opens(happened: Happened, status: Status) -> bool:
    begins = (
        {EventKind.GATE_STARTED} if status is Status.VERIFYING else {EventKind.STEP_STARTED, EventKind.STAGE_STARTED}
    )
    return happened.kind in begins


def _failure_reason(gate: Gate | None, timed_out: bool) -> str:
    if gate:
        return "HEALTH_GATE_FAILED"
    return "STEP_TIMED_OUT" if timed_out else "STEP_FAILED"


def _what(stage: str, name: str, gate: Gate | None) -> str:
    return f"{'gate' if gate else 'step'} {name} of stage {stage} failed"


def _by(what: str, wish: Wish) -> str:
    return f"{what} by {wish.actor}" + (f": {wish.reason}" if wish.reason else "")


def _said(duration: timedelta) -> str:
    seconds = duration.total_seconds()
    return f"{seconds / 60:g} min" if seconds >= 60 else f"{seconds:g} s"
