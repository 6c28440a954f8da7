"""Hooks as people are shown them: in lines, in the live view, in endings, below a rollout."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from rich.console import Console

from opsuite.deployer.v1 import deployment_pb2 as pb
from opsuite.deployer.v1 import rollout_pb2
from opsuite_cli import words
from opsuite_cli.documents import parse
from opsuite_cli.ending import ending_of
from opsuite_cli.lines import line_of, lines_so_far
from opsuite_cli.live import LiveView
from opsuite_cli.picture import Picture
from opsuite_cli.rollout_tree import hooks_of, plain

NOON = datetime(2026, 11, 24, 12, tzinfo=UTC)
DOCUMENT = """
apiVersion: opsuite.dev/v1
kind: Pipeline
metadata: {name: web}
spec:
  environments: [staging]
  stages:
    - {name: web, steps: [{name: run, wait: {duration: 1s}}]}
  hooks:
    - {name: announce, before: deployment, on_failure: PAUSE, webhook: {url: "http://chat.test/"}}
    - {name: warm, after: STAGE, stage: web, timeout: 30s, command: {command: make, args: [warm]}}
"""


def a_hook(name: str, status: str = "SUCCEEDED", **fields: Any) -> pb.StepRun:
    hook = pb.StepRun(name=name, status=pb.StepStatus.Value(f"STEP_STATUS_{status}"), **fields)
    if hook.attempt:
        hook.start_time.FromDatetime(NOON)
        hook.end_time.FromDatetime(NOON + timedelta(seconds=2))
    return hook


def hooks(moment: str, *steps: pb.StepRun) -> pb.StageRun:
    return pb.StageRun(name=moment, is_hooks=True, status=steps[0].status, steps=steps)


def a_deployment(*stages: pb.StageRun, **fields: Any) -> pb.Deployment:
    return pb.Deployment(name="a/d1", uid="d1", pipeline="pipelines/web", stages=stages, **fields)


def test_hooks_are_written_as_one_says_them() -> None:
    first, second = parse(DOCUMENT).hooks

    assert (first.WhichOneof("moment"), first.before) == ("before", 1)
    assert (second.WhichOneof("moment"), second.after, second.stage) == ("after", 2, "web")
    assert first.webhook.url == "http://chat.test/"


def test_a_hook_is_called_one_in_every_line() -> None:
    picture = Picture(a_deployment(hooks("before:web", a_hook("warm", "PENDING"))))
    told = []
    for kind, step in (("STAGE_STARTED", ""), ("STEP_STARTED", "warm"), ("STEP_ENDED", "warm"), ("STAGE_ENDED", "")):
        event = pb.DeploymentEvent(
            kind=pb.DeploymentEventKind.Value(f"DEPLOYMENT_EVENT_KIND_{kind}"),
            stage="before:web",
            step=step,
            reason="SUCCEEDED" if kind.endswith("ENDED") else "",
        )
        event.time.FromDatetime(NOON)
        picture.take(event)
        told.append(line_of(event, picture).partition("  ")[2])

    assert told == [
        "hooks  before:web started",
        "hook   before:web/warm started",
        "hook   before:web/warm SUCCEEDED  0.00 s",
        "hooks  before:web SUCCEEDED",
    ]
    (line,) = lines_so_far(a_deployment(hooks("after:web", a_hook("tell", attempt=1))))
    assert line.partition("  ")[2] == "hook   after:web/tell SUCCEEDED  2.00 s"


def test_the_live_view_shows_hooks_but_not_those_of_a_failure_that_has_not_happened() -> None:
    view = LiveView(now=lambda: NOON)
    pending = hooks("after:FAILURE", a_hook("collect", "PENDING"))
    view.add(Picture(a_deployment(hooks("before:web", a_hook("warm", attempt=1)), pending)))
    console = Console(width=100)
    with console.capture() as captured:
        console.print(view.picture())

    assert "hooks before:web" in captured.get()
    assert "collect" not in captured.get()
    assert words.is_idle_hooks(pending)
    assert not words.is_idle_hooks(hooks("after:FAILURE", a_hook("collect", "RUNNING")))


def test_a_hook_that_failed_is_told_as_one_with_where_its_lines_are() -> None:
    failure = pb.Failure(stage="before:web", step="warm", reason="HOOK_FAILED", message="exited with status 1")
    ending = ending_of(a_deployment(status=pb.DEPLOYMENT_STATUS_FAILED, failure=failure))

    assert ending is not None
    assert ending.failed == "hook warm (before:web): exited with status 1"
    assert ending.next == "opsuite logs d1 --stage before:web --step warm"


@pytest.mark.parametrize("status", ["FAILED", "TIMED_OUT"])
def test_a_hook_that_asks_may_be_run_again_or_passed(status: str) -> None:
    paused = a_deployment(
        hooks("before:DEPLOYMENT", a_hook("fine", attempt=1), a_hook("ask", status, attempt=1)),
        status=pb.DEPLOYMENT_STATUS_PAUSED,
        pause_reason=pb.PAUSE_REASON_HOOK,
    )
    ending = ending_of(paused)

    assert ending is not None
    assert ending.next == "opsuite resume d1 (or: opsuite skip-step d1 before:DEPLOYMENT ask)"


def test_below_a_rollout_stand_the_hooks_that_it_calls_for() -> None:
    deployment = a_deployment(
        hooks("before:PROMOTION:web:shop", a_hook("smoke", "FAILED_CONTINUED", attempt=1, message="exit 1")),
        hooks("before:PROMOTION:web:cart", a_hook("smoke", attempt=1)),
        hooks("before:web", a_hook("warm", attempt=1)),
        hooks("after:web", a_hook("later", "PENDING")),
        pb.StageRun(name="web", steps=[pb.StepRun(name="shop", attempt=1, rollout=rollout_pb2.RolloutStatus())]),
    )

    assert [plain(line) for line in hooks_of(deployment, NOON, rollout=":web:shop")] == [
        "hook before:PROMOTION:web:shop/smoke  FAILED_CONTINUED  2.00 s  exit 1"
    ]
    assert len(list(hooks_of(deployment, NOON))) == 3
