"""Deploying, steering and going back: each verb records a wish and returns; runners make it true."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime

from opsuite_deployer.application.admission import Rules, Started, admit, apply_arrival, ask, next_id, recorded_pipeline
from opsuite_deployer.application.entry import Chosen, DeployWish, admit_to, choose
from opsuite_deployer.application.fleet import Fleet
from opsuite_deployer.application.ports import Problem, Revision, Standing, Store, Tx
from opsuite_deployer.application.preflight import PlannedStep, Preflight, planned
from opsuite_deployer.application.rollout_records import would_start
from opsuite_deployer.domain.deployment import (
    FAILED_ENDINGS,
    GOING_ON,
    Deployment,
    PartKey,
    PauseReason,
    Status,
    StepStatus,
    follow,
    stage_status,
)
from opsuite_deployer.domain.errors import (
    DeploymentNotFound,
    EnvironmentLocked,
    EnvironmentOccupied,
    EtagMismatch,
    NoRollbackTarget,
    NotPromotedYet,
    PipelineNotFound,
    RollbackUnderWay,
    StepNotFound,
    StepNotInterrupted,
    WrongState,
)
from opsuite_deployer.domain.hooks import to_repeat
from opsuite_deployer.domain.parts import find_step, is_asked_about, parts_left_out
from opsuite_deployer.domain.pipeline import ConcurrencyPolicy, Pipeline, Rollout
from opsuite_deployer.domain.queue import Arrival, arrive, behind
from opsuite_deployer.domain.rollback import check_target, rollback_deployment
from opsuite_deployer.domain.rollout_parts import check_wish, plan_of
from opsuite_deployer.domain.turn import EventKind, Happened, Verb, Wish
from opsuite_kernel.clock import Clock
from opsuite_runs.port import AuditEntry, Replay


@dataclass(frozen=True, slots=True)
class Call:
    """Who calls, and what only the call knows."""

    actor: str
    trace_id: str = ""
    span_id: str = ""
    replay: Replay | None = None
    audit: AuditEntry | None = None
    """What the audit log keeps of the call if it succeeds; None: somebody else sees to that."""


@dataclass(frozen=True, slots=True)
class Reference:
    """Names a deployment the way callers do: all three parts have to fit."""

    pipeline: str
    environment: str
    uid: str

    @property
    def name(self) -> str:
        """The resource name."""
        return f"pipelines/{self.pipeline}/environments/{self.environment}/deployments/{self.uid}"


@dataclass(frozen=True, slots=True)
class Place:
    """Where a deployment would stand on its arrival, and what it would do to those that are there."""

    arrival: Arrival = field(default_factory=Arrival)
    refusal: EnvironmentLocked | NotPromotedYet | EnvironmentOccupied | None = None
    """It would not arrive at all."""
    queue_position: int = 0
    """Behind those that it leaves in the queue; 0 if it would start at once."""


@dataclass(frozen=True, slots=True)
class Plan:
    """What a deployment would do."""

    revision: Revision
    version: str
    checks: tuple[Problem, ...]
    steps: tuple[PlannedStep, ...]
    place: Place
    rollback_version: str


class Deployments:
    """The use cases of DeploymentService that change or plan something."""

    def __init__(self, *, store: Store, fleet: Fleet, preflight: Preflight, clock: Clock, rules: Rules) -> None:
        self._store = store
        self._fleet = fleet
        self._preflight = preflight
        self._clock = clock
        self._rules = rules

    async def deploy(self, wish: DeployWish, call: Call) -> Standing:
        """Record a deployment.

        Raises PipelineNotFound, EnvironmentNotListed, UnknownVariable, NotStableThere, EnvironmentLocked,
        NotPromotedYet, EnvironmentOccupied.
        """
        return await self._start(call, lambda tx, now: deploy(tx, wish, call, self._rules, now), audits_new=True)

    async def plan(self, wish: DeployWish, actor: str) -> Plan:
        """Say what `deploy` would do, and change nothing. Raises what `deploy` does, but for what is there already."""
        now = self._clock.now()

        def look(tx: Tx) -> tuple[Revision, Deployment, Place, Deployment | None, Sequence[PlannedStep]]:
            chosen = choose(tx, wish)
            uid = behind(tx.newest(), self._rules.new_id(now))
            deployment = _wished(chosen.wish, chosen.revision, Call(actor), uid, now)
            place = _place(tx, deployment, chosen, self._rules)
            return (
                chosen.revision,
                deployment,
                place,
                tx.latest_stable(wish.pipeline, wish.environment, before=deployment),
                [_with_rollout(tx, deployment, one) for one in planned(chosen.revision.pipeline, deployment)],
            )

        revision, deployment, place, stable, steps = await self._store.read(look)
        checks = tuple(await self._preflight.look(revision.pipeline, deployment))
        return Plan(revision, deployment.version, checks, tuple(steps), place, stable.version if stable else "")

    async def retry(self, reference: Reference, reason: str, call: Call) -> Standing:
        """Start a new deployment that begins with the stage that failed, or at the start if nothing stands any more.

        Raises DeploymentNotFound, WrongState, EnvironmentLocked, NotPromotedYet.
        """
        return await self._start(call, lambda tx, now: retry(tx, reference, reason, call, self._rules, now))

    async def rollback(self, reference: Reference, to: Reference | None, reason: str, call: Call) -> Standing:
        """Put an earlier version back: as a new deployment, or for one under way as its end.

        Raises DeploymentNotFound, NoPreviousDeployment, NoRollbackTarget, RollbackIsNoOp, RollbackUnderWay, WrongState.
        """
        standing = await self._start(call, lambda tx, now: rollback(tx, reference, to, reason, call, self._rules, now))
        self._fleet.nudge(reference.uid)
        return standing

    async def cancel(self, reference: Reference, reason: str, etag: str, call: Call) -> Standing:
        """Stop a deployment and leave things as they are. Raises DeploymentNotFound, WrongState, EtagMismatch."""
        return await self._steer(
            reference, etag, call, lambda tx, d, now: cancel(tx, d, _wish(Verb.CANCEL, reason, call), now)
        )

    async def pause(self, reference: Reference, reason: str, etag: str, call: Call) -> Standing:
        """Let the running steps end and start nothing more. Raises DeploymentNotFound, WrongState, EtagMismatch."""

        def body(tx: Tx, deployment: Deployment, now: datetime) -> None:
            _require(deployment, GOING_ON)
            ask(tx, deployment, _wish(Verb.PAUSE, reason, call), now)

        return await self._steer(reference, etag, call, body)

    async def resume(self, reference: Reference, reason: str, etag: str, call: Call) -> Standing:
        """Let a paused deployment go on. Raises DeploymentNotFound, WrongState, EtagMismatch."""

        def body(tx: Tx, deployment: Deployment, now: datetime) -> None:
            _require(deployment, {Status.PAUSED})
            if deployment.pause_reason is PauseReason.INTERRUPTED:
                raise WrongState(
                    deployment.name, "PAUSED (INTERRUPTED)", "free of interrupted steps: RetryStep or SkipStep them"
                )
            ask(tx, deployment, _wish(Verb.RESUME, reason, call), now)

        return await self._steer(reference, etag, call, body)

    async def steer_rollout(self, verb: Verb, reference: Reference, reason: str, etag: str, call: Call) -> Standing:
        """Promote the rollout that is under way, or bring it back, as `verb` says.

        Raises DeploymentNotFound, WrongState, RolloutRefused, EtagMismatch.
        """

        def body(tx: Tx, deployment: Deployment, now: datetime) -> None:
            _require(deployment, GOING_ON | {Status.PAUSED})
            _refuse_if_ending(deployment)
            wish = _wish(verb, reason, call)
            check_wish(recorded_pipeline(tx, deployment), deployment, wish, now)
            ask(tx, deployment, wish, now)

        return await self._steer(reference, etag, call, body)

    async def decide_step(
        self, verb: Verb, reference: Reference, step: tuple[str, str], reason: str, etag: str, call: Call
    ) -> Standing:
        """Run an interrupted step (stage, name) again, or count it as done, as `verb` says.

        Raises DeploymentNotFound, StepNotFound, StepNotInterrupted, EtagMismatch.
        """

        def body(tx: Tx, deployment: Deployment, now: datetime) -> None:
            key = _interrupted(tx, deployment, *step)
            ask(tx, deployment, replace(_wish(verb, reason, call), key=key), now)

        return await self._steer(reference, etag, call, body)

    async def _start(
        self,
        call: Call,
        body: Callable[[Tx, datetime], tuple[str, tuple[Started, ...]]],
        *,
        audits_new: bool = False,
    ) -> Standing:
        """With `audits_new` the audit log names the deployment that is made, rather than what the request names."""

        def once(tx: Tx, now: datetime) -> tuple[str, tuple[Started, ...]]:
            if call.replay and (earlier := tx.replayed(call.replay)):
                return earlier, ()
            uid, started = body(tx, now)
            if call.replay:
                tx.remember(call.replay, uid, now)
            return uid, started

        def whole(tx: Tx) -> tuple[Standing, tuple[Started, ...]]:
            tx.serialise_admission()  # before anything is looked at
            uid, started = once(tx, self._clock.now())
            standing = _found(tx.get(uid), uid)
            if call.audit:
                tx.audit(replace(call.audit, resource=standing.deployment.name) if audits_new else call.audit)
            return standing, started

        standing, _ = await self._store.write(whole, lambda done: self._fleet.launch(done[1]))
        return standing

    async def _steer(
        self, reference: Reference, etag: str, call: Call, body: Callable[[Tx, Deployment, datetime], None]
    ) -> Standing:
        def whole(tx: Tx) -> Standing:
            tx.serialise_admission()  # before the row's lock, as everywhere
            now = self._clock.now()
            if call.audit:
                tx.audit(call.audit)
            if call.replay and tx.replayed(call.replay) is not None:
                return find(tx, reference)
            standing = find(tx, reference, lock=True)
            if etag and etag != standing.etag:
                raise EtagMismatch(reference.name, etag, standing.etag)
            body(tx, standing.deployment, now)
            if call.replay:
                tx.remember(call.replay, reference.uid, now)
            return find(tx, reference)

        def wake(standing: Standing) -> None:
            self._fleet.nudge(reference.uid)
            if standing.deployment.is_terminal:
                self._fleet.wake()

        return await self._store.write(whole, wake)


# --- bodies of transactions ------------------------------------------------------------------------------------------


def deploy(tx: Tx, wish: DeployWish, call: Call, rules: Rules, now: datetime) -> tuple[str, tuple[Started, ...]]:
    """Record a deployment and let in whoever may start now. Raises what Deployments.deploy says."""
    chosen = choose(tx, wish)
    wanted = _wished(chosen.wish, chosen.revision, call, next_id(tx, rules, now), now)
    deployment = admit_to(tx, wanted, chosen.latest, skip_order=wish.skip_order)
    _enqueue(tx, deployment, chosen.revision, now)
    return deployment.id, admit(tx, rules, now)


def retry(
    tx: Tx, reference: Reference, reason: str, call: Call, rules: Rules, now: datetime
) -> tuple[str, tuple[Started, ...]]:
    """Record a deployment that begins where an ended one failed. Raises what Deployments.retry says."""
    failed = find(tx, reference).deployment
    _require(failed, FAILED_ENDINGS)
    revision = tx.revision_of(failed.pipeline, failed.pipeline_revision)
    latest = tx.revision_of(failed.pipeline)
    if revision is None or latest is None or latest.deleted:
        raise PipelineNotFound(failed.pipeline)
    # What was done counts only while it still stands: not after a rollback, nor once another has been there.
    undone = failed.status in {Status.ROLLED_BACK, Status.ROLLBACK_FAILED} or tx.is_touched_since(failed)
    done = [] if undone else _stages_through(failed, revision.pipeline)
    wish = DeployWish(
        failed.pipeline, failed.version, failed.environment, failed.variables, reason, priority=failed.priority
    )
    again = _wished(wish, revision, call, next_id(tx, rules, now), now)
    # A rollback that is tried again still is one: what must not be repeated stays left out.
    parts = parts_left_out(revision.pipeline, is_rollback=bool(failed.rollback_of), done=done)
    again = replace(again, retry_of=failed.id, rollback_of=failed.rollback_of, parts=parts)
    again = admit_to(tx, again, latest.pipeline, skip_order=failed.order_skipped)
    _enqueue(tx, again, revision, now)
    return again.id, admit(tx, rules, now)


def rollback(
    tx: Tx, reference: Reference, to: Reference | None, reason: str, call: Call, rules: Rules, now: datetime
) -> tuple[str, tuple[Started, ...]]:
    """Ask a deployment under way to go back, or record one that takes an ended one back."""
    if to and (to.pipeline, to.environment) != (reference.pipeline, reference.environment):
        raise NoRollbackTarget(
            to.name, "is of another pipeline or environment"
        )  # before anything elsewhere is looked at
    original = find(tx, reference, lock=True).deployment
    target = (
        find(tx, to).deployment if to else tx.latest_stable(original.pipeline, original.environment, before=original)
    )
    if target is not None and to is not None:
        _require(target, {Status.SUCCEEDED})
    target = check_target(original, target)
    if not original.is_terminal:
        _require(original, GOING_ON | {Status.PAUSED})
        _refuse_if_ending(original)
        wish = replace(_wish(Verb.ROLLBACK, reason, call), target=target.id if to else "")
        ask(tx, original, wish, now)
        return original.id, ()
    _refuse_second_rollback(tx, original)
    revision = tx.revision_of(target.pipeline, target.pipeline_revision)
    if revision is None:
        raise PipelineNotFound(target.pipeline)
    uid = next_id(tx, rules, now)
    back = rollback_deployment(original, target, revision.pipeline, uid=uid, now=now, actor=call.actor)
    back = replace(back, trace_id=call.trace_id, span_id=call.span_id, request_reason=reason or back.request_reason)
    if (holder := tx.holder(original.pipeline, original.environment)) and holder.status is Status.ROLLBACK_FAILED:
        tx.change(holder, replace(holder, holds_slot=False), [])
        original = original if holder.id != original.id else replace(original, holds_slot=False)
    tx.change(original, replace(original, rolled_back_by=uid), [])
    tx.add(back, _arrived(tx, back, related=original.name))
    return uid, admit(tx, rules, now)


def cancel(tx: Tx, deployment: Deployment, wish: Wish, now: datetime) -> None:
    """End a queued deployment at once; ask the owner of one that is at work. Raises WrongState."""
    if deployment.status is Status.QUEUED:
        message = f"cancelled by {wish.actor}" + (f": {wish.reason}" if wish.reason else "")
        ended = replace(
            deployment,
            status=follow(deployment.status, Status.CANCELLED),
            reason="CANCELLED",
            message=message,
            ended_at=now,
        )
        event = Happened(EventKind.ENDED, Status.CANCELLED, reason="CANCELLED", message=message, actor=wish.actor)
        tx.change(deployment, ended, [event])
        return
    _require(deployment, GOING_ON | {Status.STARTING, Status.PAUSED})
    if deployment.ending is not Status.CANCELLED:
        _refuse_if_ending(deployment)
    ask(tx, deployment, wish, now)


def find(tx: Tx, reference: Reference, *, lock: bool = False) -> Standing:
    """Return a deployment by its whole name. Raises DeploymentNotFound, also when only the last part fits."""
    standing = _found(tx.get(reference.uid, lock=lock), reference.name)
    deployment = standing.deployment
    if (deployment.pipeline, deployment.environment) != (reference.pipeline, reference.environment):
        raise DeploymentNotFound(reference.name)
    return standing


def _found(standing: Standing | None, name: str) -> Standing:
    if standing is None:
        raise DeploymentNotFound(name)
    return standing


def _wished(wish: DeployWish, revision: Revision, call: Call, uid: str, now: datetime) -> Deployment:
    return Deployment(
        id=uid,
        pipeline=wish.pipeline,
        pipeline_revision=revision.number,
        environment=wish.environment,
        version=wish.version,
        created_at=now,
        variables={**revision.pipeline.variables, **wish.variables},
        requested_by=call.actor,
        request_reason=wish.reason,
        trace_id=call.trace_id,
        span_id=call.span_id,
        priority=wish.priority,
    )


def _enqueue(tx: Tx, deployment: Deployment, revision: Revision, now: datetime) -> None:
    """Let a deployment arrive as its pipeline's policy says. Raises EnvironmentOccupied."""
    tx.serialise_admission()
    holder = tx.holder(deployment.pipeline, deployment.environment)
    apply_arrival(tx, _arrival(tx, deployment, revision, holder), deployment, deployment.requested_by, now)
    tx.add(deployment, _arrived(tx, deployment))


def _arrival(tx: Tx, deployment: Deployment, revision: Revision, holder: Deployment | None) -> Arrival:
    """What a deployment would do to those that are there. Raises EnvironmentOccupied."""
    policy = revision.pipeline.policy_in(deployment.environment)
    # A queue that only grows is not looked through, however long it is.
    is_only_joined = policy is ConcurrencyPolicy.QUEUE
    waiting = () if is_only_joined else tx.waiting(deployment.pipeline, deployment.environment)
    return arrive(policy, holder, waiting)


def _with_rollout(tx: Tx, deployment: Deployment, step: PlannedStep) -> PlannedStep:
    if not isinstance(step.kind, Rollout):
        return step
    return replace(step, rollout=plan_of(step.kind, deployment, would_start(tx, step.kind)))


def _place(tx: Tx, deployment: Deployment, chosen: Chosen, rules: Rules) -> Place:
    holder = tx.holder(deployment.pipeline, deployment.environment)
    try:
        admit_to(tx, deployment, chosen.latest, skip_order=chosen.wish.skip_order)
        arrival = _arrival(tx, deployment, chosen.revision, holder)
    except (EnvironmentLocked, NotPromotedYet, EnvironmentOccupied) as refusal:
        return Place(refusal=refusal)
    ahead = tx.place_of(deployment) - sum(one.priority >= deployment.priority for one in arrival.supersede)
    is_occupied = holder is not None and arrival.take_slot_of is None
    has_to_wait = is_occupied or ahead or tx.active_count() >= rules.max_concurrent
    return Place(arrival, queue_position=ahead + 1 if has_to_wait else 0)


def _arrived(tx: Tx, deployment: Deployment, related: str = "") -> list[Happened]:
    created = Happened(EventKind.CREATED, Status.QUEUED, actor=deployment.requested_by, related=related)
    if deployment.order_skipped:
        created = replace(created, reason="ORDER_SKIPPED", message=deployment.request_reason)
    waiting = tx.queue_length(deployment.pipeline, deployment.environment)
    if not waiting and tx.holder(deployment.pipeline, deployment.environment) is None:
        return [created]
    return [created, Happened(EventKind.QUEUED, Status.QUEUED, queue_position=tx.place_of(deployment) + 1)]


def _refuse_second_rollback(tx: Tx, original: Deployment) -> None:
    if original.rolled_back_by:
        earlier = tx.get(original.rolled_back_by)
        if earlier is not None and not earlier.deployment.is_terminal:
            raise RollbackUnderWay(original.name, earlier.deployment.name)


def _stages_through(deployment: Deployment, pipeline: Pipeline) -> list[int]:
    through = {StepStatus.SUCCEEDED, StepStatus.SKIPPED, StepStatus.FAILED_CONTINUED}
    found = {index for index, stage in enumerate(pipeline.stages) if stage_status(deployment, stage, index) in through}
    return sorted(found - set(to_repeat(pipeline, found)))


def _interrupted(tx: Tx, deployment: Deployment, stage: str, step: str) -> PartKey:
    revision = tx.revision_of(deployment.pipeline, deployment.pipeline_revision)
    key = find_step(revision.pipeline, stage, step) if revision else None
    if key is None:
        raise StepNotFound(stage, step)
    if revision is None or deployment.is_terminal or not is_asked_about(revision.pipeline, deployment, key):
        raise StepNotInterrupted(stage, step, deployment.part(key).status.value)
    return key


def _refuse_if_ending(deployment: Deployment) -> None:
    """Nothing can be wished of a deployment whose end is decided and only waits for its steps to stop."""
    if deployment.ending is not None:
        present = f"{deployment.status.value}, on its way to {deployment.ending.value}"
        raise WrongState(deployment.name, present, "still open to a decision")


def _require(deployment: Deployment, allowed: frozenset[Status] | set[Status]) -> None:
    if deployment.status not in allowed:
        raise WrongState(deployment.name, deployment.status.value, " or ".join(sorted(one.value for one in allowed)))


def _wish(verb: Verb, reason: str, call: Call) -> Wish:
    return Wish(verb, call.actor, reason)
