from datetime import timedelta
from typing import Any

import pytest
from fakes.clock import NOON
from fakes.deployments import a_deployment, a_pipeline, a_stage, a_step, step_key

from opsuite_deployer.domain.deployment import Deployment, Failure, Status, StepStatus
from opsuite_deployer.domain.errors import NoPreviousDeployment, RollbackIsNoOp, RollbackUnderWay
from opsuite_deployer.domain.rollback import check_target, conclude, end_with_rollback, rollback_deployment
from opsuite_deployer.domain.turn import EventKind


def at_work(**changes: Any) -> Deployment:
    defaults = {"status": Status.RUNNING, "version": "1.2.0", "started_at": NOON, "holds_slot": True}
    return a_deployment(**{**defaults, **changes})


def failed(**changes: Any) -> Deployment:
    return at_work(**{"ending": Status.FAILED, "failure": Failure("STEP_FAILED", "no"), "message": "no", **changes})


STABLE = a_deployment(id="stable", version="1.1.0", status=Status.SUCCEEDED, stable=True)


def test_a_failed_deployment_goes_back_to_the_stable_one_and_hands_over_its_slot() -> None:
    turn = conclude(a_pipeline(), failed(), STABLE, NOON)

    assert turn.deployment.status is Status.ROLLING_BACK
    assert not turn.deployment.holds_slot
    assert [one.kind for one in turn.happened] == [EventKind.ROLLBACK_STARTED]


def test_a_deployment_that_ran_out_of_time_goes_back_as_well() -> None:
    assert (
        conclude(a_pipeline(), failed(ending=Status.TIMED_OUT), STABLE, NOON).deployment.status is Status.ROLLING_BACK
    )


@pytest.mark.parametrize("ending", [Status.FAILED, Status.TIMED_OUT])
def test_without_anything_to_go_back_to_it_ends_as_what_happened_and_says_why(ending: Any) -> None:
    turn = conclude(a_pipeline(), failed(ending=ending), None, NOON)

    assert turn.deployment.status is ending
    assert "no successful deployment" in turn.deployment.warnings[0]
    assert turn.deployment.ended_at == NOON


def test_it_never_goes_back_to_what_it_is() -> None:
    same = a_deployment(id="other", version="1.2.0", status=Status.SUCCEEDED, stable=True)

    assert conclude(a_pipeline(), failed(), same, NOON).deployment.status is Status.FAILED


def test_it_is_left_as_it_is_where_rollback_is_off() -> None:
    assert conclude(a_pipeline(rollback_enabled=False), failed(), STABLE, NOON).deployment.status is Status.FAILED


def test_rollbacks_never_roll_back() -> None:
    assert conclude(a_pipeline(), failed(rollback_of="x"), STABLE, NOON).deployment.status is Status.FAILED


def test_what_never_began_has_nothing_to_take_back() -> None:
    never = failed(status=Status.STARTING, started_at=None)

    assert conclude(a_pipeline(), never, STABLE, NOON).deployment.status is Status.FAILED


def test_a_cancelled_deployment_is_left_as_it_is() -> None:
    assert conclude(a_pipeline(), at_work(ending=Status.CANCELLED), STABLE, NOON).deployment.status is Status.CANCELLED


def test_a_person_may_send_one_back_that_has_not_failed() -> None:
    turn = conclude(a_pipeline(rollback_enabled=False), at_work(ending=Status.ROLLING_BACK), STABLE, NOON)

    assert turn.deployment.status is Status.ROLLING_BACK


def test_success_makes_a_version_stable_and_frees_the_slot() -> None:
    ended = conclude(a_pipeline(), at_work(ending=Status.SUCCEEDED), None, NOON).deployment

    assert ended.status is Status.SUCCEEDED
    assert ended.stable
    assert not ended.holds_slot


def test_a_rollback_runs_the_recorded_revision_and_version_of_its_target() -> None:
    target = a_deployment(id="t", version="1.1.0", pipeline_revision=7, variables={"size": "3"}, stable=True)
    pipeline = a_pipeline(a_stage("s", a_step("migrate", skip_on_rollback=True)))

    back = rollback_deployment(failed(trace_id="f" * 32), target, pipeline, uid="new", now=NOON)

    assert (back.version, back.pipeline_revision, back.variables) == ("1.1.0", 7, {"size": "3"})
    assert back.rollback_of == failed().id
    assert back.trace_id == "f" * 32
    assert back.part(step_key()).status is StepStatus.SKIPPED


def test_the_original_ends_with_its_rollback() -> None:
    original = failed(status=Status.ROLLING_BACK, holds_slot=False)
    rollback = a_deployment(id="r", version="1.1.0", status=Status.SUCCEEDED)

    ended = end_with_rollback(original, rollback, NOON + timedelta(minutes=1)).deployment

    assert ended.status is Status.ROLLED_BACK
    assert not ended.holds_slot
    assert ended.message == "no; version 1.1.0 is back"


def test_after_a_failed_rollback_the_original_bars_its_environment() -> None:
    original = failed(status=Status.ROLLING_BACK, holds_slot=False)
    rollback = a_deployment(id="r", version="1.1.0", status=Status.FAILED, message="disk full")

    ended = end_with_rollback(original, rollback, NOON).deployment

    assert ended.status is Status.ROLLBACK_FAILED
    assert ended.holds_slot
    assert "disk full" in ended.message


def test_a_person_hears_why_there_is_nothing_to_go_back_to() -> None:
    with pytest.raises(NoPreviousDeployment):
        check_target(at_work(), None)
    with pytest.raises(RollbackIsNoOp):
        check_target(at_work(version="1.1.0"), STABLE)
    with pytest.raises(RollbackUnderWay):
        check_target(at_work(status=Status.ROLLING_BACK, rolled_back_by="r"), STABLE)
    assert check_target(at_work(), STABLE) is STABLE
