"""What platforms say of replicas, in the words that Docker, supervisord and Kubernetes have for it."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from fakes.clock import NOON

from opsuite_healer.domain.checks.replicas import RestartHistory, seen_restarts, state_answer, state_answers
from opsuite_platforms.port import Replica, ReplicaPhase, WorkloadStatus
from opsuite_probes.port import Outcome

GOOD, BAD, NOTHING = Outcome.HEALTHY, Outcome.UNHEALTHY, Outcome.UNKNOWN


def a_replica(phase: ReplicaPhase = ReplicaPhase.RUNNING, message: str = "", **fields: Any) -> Replica:
    return Replica(fields.pop("name", "shop-0"), "1", phase, {}, message=message, **fields)


def a_status(*replicas: Replica, desired: int | None = None) -> WorkloadStatus:
    return WorkloadStatus("shop", "1", len(replicas) if desired is None else desired, replicas)


@pytest.mark.parametrize(
    ("phase", "message", "outcome", "issue", "is_crash"),
    [
        (ReplicaPhase.RUNNING, "pid 4, uptime 0:01:00", GOOD, "", False),
        (ReplicaPhase.STARTING, "runs, but is not ready", BAD, "UNREADY", False),
        (ReplicaPhase.STARTING, "it has no container (yet)", BAD, "UNREADY", False),
        (ReplicaPhase.BACKOFF, "it ended with status 1", BAD, "CRASHED", True),
        (ReplicaPhase.BACKOFF, "out of memory", BAD, "OOM_KILLED", True),
        (ReplicaPhase.STOPPED, "out of memory", BAD, "OOM_KILLED", True),
        (ReplicaPhase.BACKOFF, "CrashLoopBackOff: back-off; ended with 137 (OOMKilled)", BAD, "OOM_KILLED", True),
        (ReplicaPhase.BACKOFF, "CrashLoopBackOff: back-off 5m0s restarting", BAD, "RESTART_LOOP", True),
        (ReplicaPhase.BACKOFF, "ImagePullBackOff: no such image", BAD, "UNREADY", False),
        (ReplicaPhase.FAILED, "ProgressDeadlineExceeded: …; runs, but is not ready", BAD, "UNREADY", False),
        (ReplicaPhase.FAILED, "can't find command", BAD, "CRASHED", True),
        (ReplicaPhase.STOPPED, "Not started", BAD, "STOPPED", False),
        (ReplicaPhase.STOPPED, "about to be replaced", NOTHING, "", False),
    ],
)
def test_a_phase_means(phase: ReplicaPhase, message: str, outcome: Outcome, issue: str, is_crash: bool) -> None:
    answer = state_answer(a_replica(phase, message), NOON)

    assert (answer.outcome, answer.issue, answer.is_crash) == (outcome, issue, is_crash)
    assert message in answer.message


def test_each_replica_is_answered_for_and_the_workload_as_a_whole() -> None:
    status = a_status(a_replica(), a_replica(ReplicaPhase.BACKOFF, name="shop-1"))

    answers = state_answers(status, "", NOON)

    assert {name: one.outcome for name, one in answers.items()} == {"": GOOD, "shop-0": GOOD, "shop-1": BAD}


def test_replicas_that_are_not_there_are_missed() -> None:
    whole = state_answers(a_status(a_replica(), desired=3), "", NOON)[""]

    assert (whole.outcome, whole.issue, whole.message) == (BAD, "MISSING", "only 1 of 3 replicas are there")


def test_none_wanted_and_none_there_is_well() -> None:
    assert state_answers(a_status(), "", NOON)[""].outcome is GOOD


def test_only_the_replica_that_is_meant_is_answered_for() -> None:
    status = a_status(a_replica(), a_replica(ReplicaPhase.BACKOFF, name="shop-1"))

    assert list(state_answers(status, "shop-1", NOON)) == ["shop-1"]
    gone = state_answers(status, "shop-7", NOON)["shop-7"]
    assert (gone.outcome, gone.issue) == (BAD, "MISSING")


def answer(restarts: int | None, seconds: float, started: float | None = 0) -> Any:
    at = NOON + timedelta(seconds=seconds)
    start = None if started is None else NOON + timedelta(seconds=started)
    replica = state_answer(a_replica(restarts=restarts or 0, started_at=start), at)
    return replica if restarts is not None else state_answer(a_replica(), at)


@pytest.mark.parametrize(
    ("looks", "seen"),
    [
        ([(4, 0, 0)], 0),  # what was before the first look is nobody's business
        ([(4, 0, 0), (4, 30, 0)], 0),
        ([(4, 0, 0), (5, 30, 20)], 1),
        ([(4, 0, 0), (6, 30, 20)], 2),
        ([(0, 0, 0), (0, 30, 20)], 1),  # a platform that does not count is believed by the start
        ([(7, 0, 0), (0, 30, 0)], 0),  # one that counts anew has seen none
        ([(0, 0, 0), (50, 30, 20)], 3),  # no more are remembered than are asked for
    ],
)
def test_restarts_are_counted(looks: list[tuple[int, float, float]], seen: int) -> None:
    history = RestartHistory()
    for restarts, seconds, started in looks:
        history = seen_restarts(history, answer(restarts, seconds, started), limit=3)

    assert len(history.times) == seen
