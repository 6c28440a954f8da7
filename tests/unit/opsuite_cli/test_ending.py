"""Exit statuses, and the three lines at the end of a failure."""

from __future__ import annotations

from typing import Any

import pytest

from opsuite.deployer.v1 import deployment_pb2 as pb
from opsuite.deployer.v1 import rollout_pb2
from opsuite_cli.ending import ending_of, exit_status

NAME = "pipelines/web/environments/staging/deployments/d2"


def a_deployment(status: str, **fields: Any) -> pb.Deployment:
    given = {"name": NAME, "uid": "d2", "pipeline": "pipelines/web", "version": "1.2.0", "environment": "staging"}
    return pb.Deployment(status=pb.DeploymentStatus.Value(f"DEPLOYMENT_STATUS_{status}"), **(given | fields))


def a_failure(**fields: Any) -> pb.Failure:
    given = {"stage": "test", "step": "unit", "reason": "STEP_FAILED", "message": "exited with status 1"}
    return pb.Failure(**(given | fields))


def last_three(deployment: pb.Deployment) -> list[str]:
    ending = ending_of(deployment)
    assert ending is not None
    return ending.lines()[-3:]


@pytest.mark.parametrize(
    ("status", "expected"),
    [
        ("SUCCEEDED", 0),
        ("ROLLED_BACK", 3),
        ("FAILED", 4),
        ("TIMED_OUT", 4),
        ("ROLLBACK_FAILED", 4),
        ("PAUSED", 5),
        ("CANCELLED", 6),
        ("SUPERSEDED", 6),
        ("ABORTED", 3),
        ("RUNNING", 0),
    ],
)
def test_the_exit_status_tells_how_it_ended(status: str, expected: int) -> None:
    assert exit_status(a_deployment(status)) == expected


@pytest.mark.parametrize("status", ["SUCCEEDED", "RUNNING", "QUEUED", "ROLLING_BACK"])
def test_nothing_is_said_of_what_has_not_failed(status: str) -> None:
    assert ending_of(a_deployment(status)) is None


def test_a_step_that_failed_is_told_with_its_last_lines_and_where_the_others_are() -> None:
    start = {"start_time": {"seconds": 1}}
    failure = a_failure(last_log_lines=["E   assert 1 == 2"])
    ending = ending_of(a_deployment("FAILED", failure=failure, **start))

    assert ending is not None
    assert ending.lines() == [
        "  | E   assert 1 == 2",
        "failed: step unit of stage test: exited with status 1",
        "done:   left as it is; nothing was put back",
        "next:   opsuite logs d2 --stage test --step unit",
    ]


def test_a_rollback_is_told_with_the_deployment_that_did_it() -> None:
    failure = a_failure(step="", gate="answers", message="503")
    back = NAME.replace("d2", "d3")

    assert last_three(a_deployment("ROLLED_BACK", failure=failure, rolled_back_by=back)) == [
        "failed: gate answers of stage test: 503",
        "done:   the version before is back, by deployment d3",
        "next:   opsuite trace d2",
    ]


def test_a_failed_rollback_leads_to_the_deployment_that_failed() -> None:
    back = NAME.replace("d2", "d3")

    assert last_three(a_deployment("ROLLBACK_FAILED", failure=a_failure(), rolled_back_by=back))[2] == (
        "next:   opsuite explain d3"
    )


def test_what_kept_it_from_going_back_is_told() -> None:
    warning = "not rolled back: no successful deployment came before it here"
    deployment = a_deployment("FAILED", failure=a_failure(), warnings=[warning], start_time={"seconds": 1})

    assert last_three(deployment)[1] == f"done:   {warning}"


def test_a_preflight_that_failed_changed_nothing_and_leads_to_the_plan() -> None:
    failure = pb.Failure(reason="PREFLIGHT_FAILED", message="tool cargo is missing")

    assert last_three(a_deployment("FAILED", failure=failure)) == [
        "failed: tool cargo is missing",
        "done:   nothing was changed; it had not started",
        "next:   opsuite plan web 1.2.0 --env staging",
    ]


def test_an_interrupted_step_may_run_again_or_count_as_done() -> None:
    stages = [pb.StageRun(name="run", steps=[pb.StepRun(name="migrate", status=pb.STEP_STATUS_INTERRUPTED)])]
    deployment = a_deployment(
        "PAUSED", pause_reason=pb.PAUSE_REASON_INTERRUPTED, message="step migrate was interrupted", stages=stages
    )

    assert last_three(deployment) == [
        "failed: step migrate was interrupted",
        "done:   paused (INTERRUPTED); nothing more starts until somebody decides",
        "next:   opsuite retry-step d2 run migrate (or: opsuite skip-step d2 run migrate)",
    ]


def test_a_pause_for_another_reason_can_be_resumed() -> None:
    deployment = a_deployment("PAUSED", pause_reason=pb.PAUSE_REASON_MANUAL)

    assert last_three(deployment)[2] == "next:   opsuite resume d2 (or: opsuite rollback d2)"


@pytest.mark.parametrize(
    ("status", "done", "following"),
    [
        ("CANCELLED", "stopped", "opsuite retry d2"),
        ("SUPERSEDED", "never started", "opsuite history --pipeline web --env staging"),
    ],
)
def test_what_people_ended_is_told_too(status: str, done: str, following: str) -> None:
    lines = last_three(a_deployment(status))

    assert done in lines[1]
    assert lines[2] == f"next:   {following}"


def test_a_message_of_many_lines_stays_on_its_own() -> None:
    failure = a_failure(message="first\nsecond")

    assert len(last_three(a_deployment("FAILED", failure=failure))[0].splitlines()) == 1


def a_rolled_out(status: str, phase: str, *, in_force: bool = True, **fields: Any) -> pb.Deployment:
    """A deployment with one step, a rollout whose old version has all requests."""
    tracks = [
        rollout_pb2.RolloutTrack(name="stable", version="1.1.0", weight=100, weight_in_force=in_force),
        rollout_pb2.RolloutTrack(name="canary", version="1.2.0", weight_in_force=in_force),
    ]
    number = rollout_pb2.RolloutPhase.Value(f"ROLLOUT_PHASE_{phase}")
    rollout = rollout_pb2.RolloutStatus(phase=number, strategy="canary", tracks=tracks)
    stage = pb.StageRun(name="run", steps=[pb.StepRun(name="roll", rollout=rollout)])
    return a_deployment(status, stages=[stage], **fields)


def test_an_aborted_rollout_says_why_who_has_the_requests_and_how_to_begin_anew() -> None:
    assert last_three(a_rolled_out("ABORTED", "FAILED", message="aborted by ada: looks odd")) == [
        "why:    aborted by ada: looks odd",
        "done:   the rollout went back: 1.1.0 has all requests; what ran before it stays done",
        "next:   opsuite rollout retry d2",
    ]


def test_requests_that_no_edge_has_acknowledged_are_not_said_to_be_back() -> None:
    assert "1.1.0 is to have all requests" in last_three(a_rolled_out("ABORTED", "FAILED", in_force=False))[1]


def test_a_rollout_that_failed_and_was_rolled_back_leads_to_its_tree() -> None:
    failure = pb.Failure(stage="run", step="roll", message="gate few-errors: 9 of 9 requests failed")
    back = "pipelines/web/environments/staging/deployments/d3"

    assert last_three(a_rolled_out("ROLLED_BACK", "FAILED", failure=failure, rolled_back_by=back)) == [
        "failed: step roll of stage run: gate few-errors: 9 of 9 requests failed",
        "done:   the version before is back, by deployment d3: 1.1.0 has all requests",
        "next:   opsuite rollout status d2 (and: opsuite logs d2)",
    ]


@pytest.mark.parametrize(("reason", "verb"), [("STEP", "promote"), ("INCONCLUSIVE", "promote"), ("MANUAL", "resume")])
def test_a_rollout_that_waits_says_how_it_goes_on(reason: str, verb: str) -> None:
    number = pb.PauseReason.Value(f"PAUSE_REASON_{reason}")

    lines = last_three(a_rolled_out("PAUSED", "PROGRESSING", pause_reason=number, message="step 2 of 3 waits"))

    assert lines[0] == "why:    step 2 of 3 waits"
    assert lines[2] == f"next:   opsuite rollout {verb} d2 (or: opsuite rollout abort d2)"
