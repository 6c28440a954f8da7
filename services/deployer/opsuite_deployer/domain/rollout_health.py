"""Since when each replica is healthy, and when the new version must not go on.

Health is watched until the rollout ends: one that was good once may still die.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime

from opsuite_deployer.domain.rollout_draft import RolloutDraft, record_key
from opsuite_deployer.domain.rollout_state import ReplicaRecord
from opsuite_deployer.domain.rollout_words import RolloutEvent, SeenReplica
from opsuite_platforms.port import ReplicaPhase

# --- remembering -----------------------------------------------------------------------------------------------------


def remember(draft: RolloutDraft) -> None:
    """Take over what is seen of every replica; forget those that are gone."""
    is_first = not draft.state.keep
    records: dict[str, ReplicaRecord] = {}
    for name in draft.revisions:
        for replica in draft.revision(name).replicas:
            key = record_key(name, replica)
            record = draft.state.records.get(key) or _new_record(draft, replica, from_before=is_first)
            records[key] = _seen_again(draft, record, replica)
            if name == draft.target and record.clock != records[key].clock:
                draft.lost.append(replica.name)
    draft.change(records=records)


def _new_record(draft: RolloutDraft, replica: SeenReplica, *, from_before: bool) -> ReplicaRecord:
    return ReplicaRecord(draft.now, replica.restarts, replica.restarts, from_before=from_before)


def _seen_again(draft: RolloutDraft, record: ReplicaRecord, replica: SeenReplica) -> ReplicaRecord:
    """The record after another look."""
    has_restarted = replica.restarts != record.restarts_seen
    if has_restarted or replica.phase is not ReplicaPhase.RUNNING or replica.healthy is False:
        record = _not_healthy(draft, record, replica)
    if replica.healthy and replica.phase is ReplicaPhase.RUNNING and record.healthy_since is None:
        min_healthy = draft.plan.safety.min_healthy_time
        since = draft.now - min_healthy if record.from_before else draft.now
        record = replace(record, healthy_since=since, from_before=False)
    return record


def _not_healthy(draft: RolloutDraft, record: ReplicaRecord, replica: SeenReplica) -> ReplicaRecord:
    since = record.healthy_since
    was_available = since is not None and since + draft.plan.safety.min_healthy_time <= draft.now
    return replace(
        record,
        clock=draft.now if was_available else record.clock,
        restarts=min(record.restarts, replica.restarts),  # fewer than before: another one of the same name
        restarts_seen=replica.restarts,
        healthy_since=None,
        from_before=False,
    )


def count(draft: RolloutDraft) -> None:
    """Take stock of the target: what is available, whether that is progress."""
    available, wanted = draft.count_available(draft.target), draft.state.keep[draft.target]
    if (available, wanted) != (draft.state.available, draft.state.wanted):
        if available != draft.state.available:
            message = f"{available}/{wanted} replicas of {draft.target} available"
            draft.tell(
                RolloutEvent.REPLICAS_AVAILABLE, message, revision=draft.target, available=available, wanted=wanted
            )
        draft.change(available=available, wanted=wanted)
    if available > draft.state.best:
        draft.got_on(best=available)


# --- judging ---------------------------------------------------------------------------------------------------------


def judge(draft: RolloutDraft) -> None:
    """Abort if the target must not go on."""
    if draft.state.is_aborting:
        return
    for replica in draft.kept(draft.target):
        _judge_replica(draft, replica)
    wanted, available = draft.state.keep[draft.target], draft.count_available(draft.target)
    if draft.lost and not available:  # what is gone altogether was taken away, which is not its fault
        draft.abort("HEALTH_LOST", f"{draft.target} has died: {available}/{wanted} healthy{_said(draft)}")
    if draft.state.frozen_at is None:
        _judge_deadlines(draft)


def _judge_replica(draft: RolloutDraft, replica: SeenReplica) -> None:
    record = draft.state.records[record_key(draft.target, replica)]
    said = f": {replica.message}" if replica.message else ""
    if replica.phase is ReplicaPhase.FAILED:
        draft.abort("REPLICA_FAILED", f"the platform has given up on {replica.name}{said}")
    restarts = replica.restarts - record.restarts
    if restarts > draft.plan.safety.max_restarts:
        draft.abort("RESTARTED_TOO_OFTEN", f"{replica.name} restarted {restarts} times{said}")


def _judge_deadlines(draft: RolloutDraft) -> None:
    safety = draft.plan.safety
    for replica in draft.kept(draft.target):
        if draft.is_available(draft.target, replica):
            continue
        record = draft.state.records[record_key(draft.target, replica)]
        if record.clock + safety.healthy_deadline <= draft.now:
            seconds = safety.healthy_deadline.total_seconds()
            said = f": {replica.message}" if replica.message else ""
            draft.abort("HEALTHY_DEADLINE", f"{replica.name} was not healthy within {seconds:g} s{said}")
    if not draft.state.is_idle and draft.state.progress_at + safety.progress_deadline <= draft.now:
        draft.abort("PROGRESS_DEADLINE", _stuck(draft))


def notice_loss(draft: RolloutDraft) -> None:
    """Tell when the old version, which should still serve, does not."""
    old = draft.old
    is_expected = old is not None and draft.state.keep[old] > 0 and not draft.state.is_aborting
    is_lost = is_expected and old is not None and not draft.count_available(old)
    message = f"{old} has no healthy replica; what is healthy of {draft.target} gets its requests"
    draft.notice(RolloutEvent.STABLE_LOST, is_lost, message, revision=old)


def deadlines(draft: RolloutDraft) -> Iterator[datetime]:
    """When what is waited for has to be there, and when a healthy replica has been so for long enough."""
    safety, state = draft.plan.safety, draft.state
    yield from (one.healthy_since + safety.min_healthy_time for one in state.records.values() if one.healthy_since)
    if state.is_aborting or state.frozen_at is not None:
        return
    for replica in draft.kept(draft.target):
        if not draft.is_available(draft.target, replica):
            yield state.records[record_key(draft.target, replica)].clock + safety.healthy_deadline
    if not state.is_idle:
        yield state.progress_at + safety.progress_deadline


def _stuck(draft: RolloutDraft) -> str:
    seconds = draft.plan.safety.progress_deadline.total_seconds()
    available, wanted = draft.count_available(draft.target), draft.state.keep[draft.target]
    route = draft.seen.route
    silent = f"; silent edges: {', '.join(route.silent)}" if route is not None and route.silent else ""
    return f"nothing got on for {seconds:g} s: {available}/{wanted} replicas of {draft.target} available{silent}"


def _said(draft: RolloutDraft) -> str:
    """What the platform says of the first replica that has anything to say."""
    return next((f": {one.message}" for one in draft.revision(draft.target).replicas if one.message), "")
