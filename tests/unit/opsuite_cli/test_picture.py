"""A deployment as events tell it, and the plain lines of those events."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from opsuite.deployer.v1 import deployment_pb2 as pb
from opsuite.deployer.v1 import rollout_pb2
from opsuite_cli import words
from opsuite_cli.lines import line_of, lines_so_far, log_line
from opsuite_cli.picture import Picture

NOON = datetime(2026, 11, 24, 12, tzinfo=UTC)


def a_picture(**fields: Any) -> Picture:
    stage = pb.StageRun(
        name="test",
        status=pb.STEP_STATUS_PENDING,
        steps=[pb.StepRun(name="unit", status=pb.STEP_STATUS_PENDING)],
        gates=[pb.GateRun(name="answers", status=pb.STEP_STATUS_PENDING)],
    )
    return Picture(pb.Deployment(name="a/d1", uid="d1", stages=[stage], **fields))


def an_event(kind: str, *, after: float = 0, status: str = "RUNNING", **fields: Any) -> pb.DeploymentEvent:
    event = pb.DeploymentEvent(
        kind=pb.DeploymentEventKind.Value(f"DEPLOYMENT_EVENT_KIND_{kind}"),
        status=pb.DeploymentStatus.Value(f"DEPLOYMENT_STATUS_{status}"),
        **fields,
    )
    event.time.FromDatetime(NOON + timedelta(seconds=after))
    return event


def told(picture: Picture, event: pb.DeploymentEvent) -> str:
    """The line of an event without its time, which is local."""
    picture.take(event)
    return line_of(event, picture).partition("  ")[2]


def test_a_step_runs_from_its_first_event_to_its_last() -> None:
    picture = a_picture()

    picture.take(an_event("STEP_STARTED", stage="test", step="unit", attempt=1))
    picture.take(an_event("STEP_ENDED", after=2.5, stage="test", step="unit", attempt=1, reason="SUCCEEDED"))

    step = picture.deployment.stages[0].steps[0]
    assert words.step_status(step.status) == "SUCCEEDED"
    assert words.took(step, NOON) == timedelta(seconds=2.5)


def test_a_step_that_will_be_tried_again_is_still_under_way() -> None:
    picture = a_picture()

    picture.take(an_event("STEP_STARTED", stage="test", step="unit", attempt=1))
    picture.take(an_event("STEP_ENDED", stage="test", step="unit", attempt=1, reason="RETRYING", message="exit 1"))
    picture.take(an_event("STEP_STARTED", after=1, stage="test", step="unit", attempt=2))

    step = picture.deployment.stages[0].steps[0]
    assert (words.step_status(step.status), step.attempt) == ("RUNNING", 2)
    assert not step.HasField("end_time")


def test_gates_and_stages_are_followed_like_steps() -> None:
    picture = a_picture()

    picture.take(an_event("STAGE_STARTED", stage="test"))
    picture.take(an_event("GATE_STARTED", stage="test", gate="answers"))
    picture.take(an_event("GATE_ENDED", stage="test", gate="answers", reason="FAILED"))
    picture.take(an_event("STAGE_ENDED", stage="test", reason="FAILED"))

    stage = picture.deployment.stages[0]
    assert words.step_status(stage.gates[0].status) == "FAILED"
    assert words.step_status(stage.status) == "FAILED"


def test_the_standing_of_the_deployment_is_that_of_its_last_event() -> None:
    picture = a_picture()

    picture.take(an_event("ROLLBACK_STARTED", status="ROLLING_BACK", related_deployment="a/d2"))

    assert words.status(picture.deployment.status) == "ROLLING_BACK"
    assert picture.deployment.rolled_back_by == "a/d2"


def test_an_event_about_an_unknown_part_changes_no_part() -> None:
    picture = a_picture()
    before = str(picture.deployment.stages)

    picture.take(an_event("STEP_STARTED", stage="else", step="unit"))

    assert str(picture.deployment.stages) == before


def test_the_snapshot_itself_stays_as_it_is() -> None:
    snapshot = pb.Deployment(name="a/d1")

    Picture(snapshot).take(an_event("STARTED"))

    assert snapshot == pb.Deployment(name="a/d1")


def test_the_line_of_a_step_tells_how_long_it_took() -> None:
    picture = a_picture()

    assert told(picture, an_event("STEP_STARTED", stage="test", step="unit", attempt=1)) == "step   test/unit started"
    ended = an_event("STEP_ENDED", after=12.34, stage="test", step="unit", attempt=1, reason="FAILED", message="exit 1")
    assert told(picture, ended) == "step   test/unit FAILED  12.3 s  exit 1"


def test_the_line_of_a_later_attempt_counts_it() -> None:
    line = told(a_picture(), an_event("STEP_STARTED", stage="test", step="unit", attempt=2))

    assert line == "step   test/unit started (attempt 2)"


@pytest.mark.parametrize(
    ("event", "line"),
    [
        (an_event("QUEUED", status="QUEUED", queue_position=3), "waits in the queue  position 3"),
        (an_event("STARTED"), "started"),
        (an_event("STAGE_ENDED", stage="test", reason="SUCCEEDED"), "stage  test SUCCEEDED"),
        (an_event("PAUSED", status="PAUSED", message="lunch", actor="ada"), "PAUSED  lunch  by ada"),
        (
            an_event("ROLLBACK_STARTED", status="ROLLING_BACK", message="503", related_deployment="a/d2"),
            "ROLLING_BACK: the old version is being put back  503  by d2",
        ),
    ],
)
def test_every_event_has_one_line(event: pb.DeploymentEvent, line: str) -> None:
    assert told(a_picture(), event) == line


def test_the_last_line_tells_how_long_all_of_it_took() -> None:
    picture = a_picture()
    picture.take(an_event("STARTED"))

    assert told(picture, an_event("ENDED", after=75, status="SUCCEEDED")) == "SUCCEEDED  1 min 15 s"


def test_a_kind_of_event_of_a_newer_server_still_has_a_line() -> None:
    event = pb.DeploymentEvent(kind=99, message="something new")  # type: ignore[arg-type]  # that is the point

    assert told(a_picture(), event) == "99  something new"


def test_a_line_that_a_step_wrote_names_the_step() -> None:
    assert log_line(pb.LogLine(stage="test", step="unit", text="ok")) == "test/unit | ok"


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.004, "0.00 s"), (9.99, "9.99 s"), (10, "10.0 s"), (59.9, "59.9 s"), (65, "1 min 05 s"), (7322, "2 h 02 min")],
)
def test_durations_are_told_as_people_say_them(seconds: float, text: str) -> None:
    assert words.seconds(timedelta(seconds=seconds)) == text


def a_rollout_event(reason: str, **fields: Any) -> pb.DeploymentEvent:
    track = rollout_pb2.RolloutTrack(name="canary", version="1.1", replicas=2, available_replicas=1)
    rollout = rollout_pb2.RolloutStatus(strategy="rolling", message="step 1 of 2", tracks=[track])
    return an_event("ROLLOUT", stage="test", step="unit", reason=reason, rollout=rollout, **fields)


def test_a_step_stands_as_the_last_event_of_its_rollout_says() -> None:
    picture = a_picture()

    picture.take(a_rollout_event("WEIGHT_SET"))

    assert picture.deployment.stages[0].steps[0].rollout.tracks[0].available_replicas == 1


def test_an_event_of_a_rollout_is_told_with_where_its_versions_stand() -> None:
    assert told(a_picture(), a_rollout_event("REPLICAS_AVAILABLE", message="1/2 replicas available")) == (
        "roll   test/unit  1/2 replicas available  [1.1 1/2]"
    )


def test_what_changes_no_version_yet_is_told_without_them() -> None:
    assert told(a_picture(), a_rollout_event("GATE_PASSED", message="gate passed")) == "roll   test/unit  gate passed"


def test_a_promotion_is_told_with_who_asked_for_it() -> None:
    event = an_event(
        "ROLLOUT_WISH", stage="test", step="unit", reason="PROMOTE", message="promoted by ada", actor="ada"
    )

    assert told(a_picture(), event) == "roll   test/unit  promoted by ada"


def test_a_rollout_that_was_under_way_before_is_told_with_where_it_stands() -> None:
    picture = a_picture()
    picture.take(an_event("STEP_STARTED", stage="test", step="unit", attempt=1))
    picture.take(a_rollout_event("WEIGHT_SET"))

    assert [line.partition("  ")[2] for line in lines_so_far(picture.deployment)] == [
        "step   test/unit started",
        "roll   test/unit  step 1 of 2  [1.1 1/2]",
    ]
