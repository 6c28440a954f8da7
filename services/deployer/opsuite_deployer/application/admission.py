"""Transactions at the edges of a deployment's life: it arrives, it gets its slot, it ends and lets the next one in.

Each function here is the body of a transaction or a part of one. It never awaits.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Final

from opsuite_deployer.application.ports import Owned, Tx
from opsuite_deployer.domain.announcement import MOMENTS, Moment, message_for, told
from opsuite_deployer.domain.deployment import Deployment, Status
from opsuite_deployer.domain.errors import PipelineNotFound
from opsuite_deployer.domain.pipeline import Pipeline
from opsuite_deployer.domain.progress import begin
from opsuite_deployer.domain.queue import Arrival, behind
from opsuite_deployer.domain.rollback import conclude, end_with_rollback, rollback_deployment
from opsuite_deployer.domain.turn import EventKind, Happened, Limits, Turn, Verb, Wish


@dataclass(frozen=True, slots=True)
class Rules:
    """What the server's settings say about starting and timing."""

    limits: Limits
    max_concurrent: int
    """Deployments that may be at work at once, over all replicas."""
    new_id: Callable[[datetime], str]


@dataclass(frozen=True, slots=True)
class Started:
    """A deployment that this process has just begun to own, and what it has to do first."""

    owned: Owned
    turn: Turn


class NewWishes(Exception):
    """Somebody wished for something before the end was recorded: decide again."""


@dataclass(frozen=True, slots=True)
class Settled:
    """What the end of a deployment left behind."""

    deployment: Deployment
    started: tuple[Started, ...] = ()


_NOTHING_TO_PUT_BACK: Final = frozenset({Status.SUCCEEDED, Status.CANCELLED, Status.ABORTED})


def admit(tx: Tx, rules: Rules, now: datetime) -> tuple[Started, ...]:
    """Give slots to as many queued deployments as may start now, and take them for this process."""
    tx.serialise_admission()
    free = rules.max_concurrent - tx.active_count()
    if free <= 0:
        return ()
    started = (_start(tx, deployment, rules, now) for deployment in tx.admissible(free))
    return tuple(one for one in started if one is not None)


def next_id(tx: Tx, rules: Rules, now: datetime) -> str:
    """Return the id of a deployment that arrives in this transaction: behind those of all that came before."""
    tx.serialise_admission()
    return behind(tx.newest(), rules.new_id(now))


def record(tx: Tx, owned: Owned, turn: Turn, now: datetime) -> Owned:
    """Record a turn that does not end its deployment, with the notifications that its status asks for."""
    before = owned.deployment.status
    owned = tx.save(owned, turn.deployment, turn.happened)
    if turn.deployment.status is not before and turn.deployment.status is Status.PAUSED:
        announce(tx, turn.deployment, owned.pipeline, Moment.PAUSED, now)
    if any(happened.kind is EventKind.STARTED for happened in turn.happened):
        announce(tx, turn.deployment, owned.pipeline, Moment.STARTED, now)
    return owned


def settle(tx: Tx, owned: Owned, turn: Turn, rules: Rules, now: datetime) -> Settled:
    """Record the turn in which nothing is executing any more, and what follows from it: end, rollback, next in line.

    Raises NewWishes when a wish was acknowledged that the turn does not know of, and then nothing is written.
    """
    tx.serialise_admission()
    deployment = turn.deployment
    target = None if deployment.ending in _NOTHING_TO_PUT_BACK else _rollback_target(tx, deployment)
    last = conclude(owned.pipeline, deployment, target, now)
    if target is not None and last.deployment.status is Status.ROLLING_BACK:
        return _roll_back(tx, owned, turn, last, target, rules, now)
    _save_the_end(tx, owned, last.deployment, (*turn.happened, *last.happened))
    announce(tx, last.deployment, owned.pipeline, MOMENTS[last.deployment.status], now)
    if last.deployment.rollback_of:
        _end_original(tx, last.deployment, now)
    return Settled(last.deployment, admit(tx, rules, now))


def apply_arrival(tx: Tx, arrival: Arrival, newcomer: Deployment, actor: str, now: datetime) -> None:
    """Do what a new deployment does to those that are there already."""
    for waiting in arrival.supersede:
        message = f"{newcomer.name} took its place in the queue"
        ended = replace(waiting, status=Status.SUPERSEDED, reason="SUPERSEDED", message=message, ended_at=now)
        event = Happened(
            EventKind.ENDED, Status.SUPERSEDED, reason="SUPERSEDED", message=message, related=newcomer.name
        )
        tx.change(waiting, ended, [event])
    if arrival.cancel is not None:
        ask(tx, arrival.cancel, Wish(Verb.CANCEL, actor, f"{newcomer.name} takes its place"), now)
    if (barred := arrival.take_slot_of) is not None:
        tx.change(barred, replace(barred, holds_slot=False), [])


def ask(tx: Tx, deployment: Deployment, wish: Wish, now: datetime) -> None:
    """File a wish for the owner of a deployment and tell of it, if it is one that shows at once."""
    tx.file_wish(deployment.id, wish, now)
    if wish.verb in {Verb.CANCEL, Verb.ROLLBACK}:
        event = Happened(
            EventKind.CANCEL_REQUESTED, deployment.status, actor=wish.actor, message=wish.reason, reason=wish.verb.name
        )
        tx.tell(deployment, [event])


def announce(tx: Tx, deployment: Deployment, pipeline: Pipeline, moment: Moment, now: datetime) -> None:
    """Tell whom the pipeline names of `moment`, once this transaction has committed."""
    if rules := told(pipeline, moment):
        tx.tell_people(deployment, rules, message_for(deployment, moment, now))


def _start(tx: Tx, deployment: Deployment, rules: Rules, now: datetime) -> Started | None:
    lease = tx.claim(deployment.id)
    if lease is None:
        return None
    owned = tx.owned(lease)
    turn = begin(owned.pipeline, owned.deployment, rules.limits, now)
    return Started(tx.save(owned, turn.deployment, turn.happened), turn)


def _rollback_target(tx: Tx, deployment: Deployment) -> Deployment | None:
    if deployment.rollback_to:
        named = tx.get(deployment.rollback_to)
        return named.deployment if named else None
    return tx.latest_stable(deployment.pipeline, deployment.environment, before=deployment)


def _roll_back(
    tx: Tx, owned: Owned, turn: Turn, last: Turn, target: Deployment, rules: Rules, now: datetime
) -> Settled:
    """Hand the slot over to a deployment that puts the old version back; it passes the queue."""
    original = last.deployment
    pipeline = recorded_pipeline(tx, target)
    rollback = rollback_deployment(original, target, pipeline, uid=next_id(tx, rules, now), now=now)
    original = replace(original, rolled_back_by=rollback.id)
    events = [replace(event, related=rollback.name) for event in last.happened]
    _save_the_end(tx, owned, original, (*turn.happened, *events))
    tx.add(rollback, [Happened(EventKind.CREATED, Status.QUEUED, related=original.name)])
    started = _start(tx, rollback, rules, now)
    return Settled(original, (started,) if started else ())


def _save_the_end(tx: Tx, owned: Owned, after: Deployment, happened: Sequence[Happened]) -> None:
    """Save and let go. The save holds the row's lock, so a wish is either seen here or finds that it comes too late."""
    tx.save(owned, after, happened)
    if tx.wishes(after.id):
        raise NewWishes
    tx.release(owned.lease)


def _end_original(tx: Tx, rollback: Deployment, now: datetime) -> None:
    standing = tx.get(rollback.rollback_of, lock=True)
    if standing is None or standing.deployment.status is not Status.ROLLING_BACK:
        return
    turn = end_with_rollback(standing.deployment, rollback, now)
    happened = [replace(event, related=rollback.name) for event in turn.happened]
    tx.change(standing.deployment, turn.deployment, happened)
    announce(tx, turn.deployment, recorded_pipeline(tx, standing.deployment), MOMENTS[turn.deployment.status], now)


def recorded_pipeline(tx: Tx, deployment: Deployment) -> Pipeline:
    """The pipeline in the revision that a deployment runs. Raises PipelineNotFound."""
    revision = tx.revision_of(deployment.pipeline, deployment.pipeline_revision)
    if revision is None:
        raise PipelineNotFound(deployment.pipeline)
    return revision.pipeline
