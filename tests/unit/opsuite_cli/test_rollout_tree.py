"""A rollout as lines: whole, below a step, and beside an event."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from opsuite.deployer.v1 import deployment_pb2, rollout_pb2, workload_pb2
from opsuite_cli.rollout_tree import compact, in_short, plain, rollouts_of, whole

NOON = datetime(2026, 11, 24, 12, tzinfo=UTC)


def a_replica(
    name: str, *, phase: str = "running", available: bool = True, **fields: Any
) -> workload_pb2.ReplicaStatus:
    return workload_pb2.ReplicaStatus(name=name, phase=phase, available=available, **fields)


def a_track(name: str, version: str, weight: int, *replicas: workload_pb2.ReplicaStatus, **fields: Any) -> Any:
    given: dict[str, Any] = {
        "revision": f"shop-{version}",
        "weight_in_force": True,
        "replicas": len(replicas),
        "available_replicas": sum(one.available for one in replicas),
    }
    return rollout_pb2.RolloutTrack(
        name=name, version=version, weight=weight, replica_statuses=replicas, **(given | fields)
    )


def an_edge(name: str = "local", **fields: Any) -> workload_pb2.RouteEdge:
    return workload_pb2.RouteEdge(id=name, **({"connected": True, "applied": True} | fields))


def a_rollout(*tracks: rollout_pb2.RolloutTrack, phase: str = "PROGRESSING", **fields: Any) -> Any:
    two = (a_track("stable", "1.0", 90, a_replica("a")), a_track("canary", "1.1", 10, a_replica("b")))
    given: dict[str, Any] = {"strategy": "canary", "edges": [an_edge()]}
    number = rollout_pb2.RolloutPhase.Value(f"ROLLOUT_PHASE_{phase}")
    return rollout_pb2.RolloutStatus(tracks=tracks or two, phase=number, **(given | fields))


def shown(rollout: rollout_pb2.RolloutStatus) -> list[str]:
    step = deployment_pb2.StepRun(name="roll", rollout=rollout)
    return [plain(line).rstrip() for line in whole("run", step, NOON)]


def test_the_whole_rollout_is_a_tree_of_versions_replicas_and_edges() -> None:
    rollout = a_rollout(step=2, step_count=4, message="gate few-errors")
    rollout.since.FromDatetime(NOON - timedelta(seconds=3))

    assert shown(rollout) == [
        "run/roll  canary  PROGRESSING  step 2 of 4  for 3.00 s",
        "gate few-errors",
        "├─ stable 1.0   90 %  1/1 replicas  shop-1.0",
        "│  └─ ● a  healthy",
        "├─ canary 1.1   10 %  1/1 replicas  shop-1.1",
        "│  └─ ● b  healthy",
        "└─ edges",
        "   └─ ✓ local  applied",
    ]


@pytest.mark.parametrize(
    ("replica", "line"),
    [
        (a_replica("b", endpoint="127.0.0.1:20001"), "● b  healthy  127.0.0.1:20001"),
        (a_replica("b", available=False, message="pid 7, uptime 0:00:01"), "○ b  not healthy yet"),
        (a_replica("b", restarts=1), "● b  healthy  1 restart"),
        (a_replica("b", restarts=2), "● b  healthy  2 restarts"),
        (
            a_replica("b", phase="backoff", available=False, message="exited too quickly"),
            "✗ b  backoff  exited too quickly",
        ),
    ],
)
def test_each_replica_says_how_it_is(replica: workload_pb2.ReplicaStatus, line: str) -> None:
    assert f"   └─ {line}" in shown(a_rollout(a_track("canary", "1.1", 100, replica), edges=[]))


@pytest.mark.parametrize(
    ("edge", "line"),
    [
        (an_edge(applied=False), "○ local  has not applied it yet"),
        (an_edge(applied=False, rejection="no such cluster"), "✗ local  refuses it: no such cluster"),
        (an_edge(connected=False), "? local  silent: what it sends where is not known"),
    ],
)
def test_each_edge_says_whether_it_has_the_route(edge: workload_pb2.RouteEdge, line: str) -> None:
    rollout = a_rollout(edges=[edge])

    assert shown(rollout)[-1].strip("└─ ") == line
    assert "applied by 0 of 1" in plain(compact(rollout)[-1])


def test_an_edge_that_is_not_there_is_named_below_a_step() -> None:
    lines = compact(a_rollout(edges=[an_edge("one"), an_edge("two", connected=False)]))

    assert plain(lines[-1]) == "└─ edges  applied by 1 of 2; two silent: what it sends where is not known"


def test_a_share_that_is_only_asked_for_is_marked_and_no_edge_is_said_to_have_it() -> None:
    asked = a_rollout(a_track("stable", "1.0", 50, weight_in_force=False), a_track("canary", "1.1", 50))

    assert "50 % asked" in plain(compact(asked)[0])
    assert "applied by 0 of 1" in plain(compact(asked)[-1])


def test_without_a_router_nothing_is_said_about_shares() -> None:
    lines = [plain(line) for line in compact(a_rollout(a_track("stable", "1.0", 0, a_replica("a")), edges=[]))]

    assert lines == ["└─ stable 1.0  1/1 replicas  ●"]


def test_replicas_that_are_not_there_yet_are_shown_as_missing() -> None:
    track = a_track("canary", "1.1", 0, a_replica("b"), replicas=3)

    assert plain(compact(a_rollout(track, edges=[]))[0]) == "└─ new    1.1  1/3 replicas  ●○○"


@pytest.mark.parametrize(
    ("strategy", "phase", "names"),
    [
        ("canary", "PROGRESSING", ["stable", "canary"]),
        ("canary", "FAILED", ["stable", "canary"]),
        ("canary", "SUCCEEDED", ["old", "new"]),
        ("rolling", "PROGRESSING", ["old", "new"]),
        ("blue_green", "PAUSED", ["old", "new"]),
    ],
)
def test_versions_are_called_by_what_they_are(strategy: str, phase: str, names: list[str]) -> None:
    lines = compact(a_rollout(strategy=strategy, phase=phase))

    assert [plain(line).split()[1] for line in lines[:2]] == names


def test_beside_an_event_the_versions_stand_on_one_line() -> None:
    shrinking = a_track("stable", "1.0", 0, a_replica("a"), replicas=0)

    assert in_short(a_rollout(shrinking, a_track("canary", "1.1", 100))) == "1.0 0 % 1 → 0, 1.1 100 % 0/0"


def test_steps_without_a_rollout_are_passed_over() -> None:
    steps = [deployment_pb2.StepRun(name="test"), deployment_pb2.StepRun(name="roll", rollout=a_rollout())]
    deployment = deployment_pb2.Deployment(stages=[deployment_pb2.StageRun(name="run", steps=steps)])

    assert [(stage, step.name) for stage, step in rollouts_of(deployment)] == [("run", "roll")]
