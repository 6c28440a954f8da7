from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from fakes.clock import NOON
from fakes.deployments import a_deployment, a_pipeline

from opsuite_deployer.domain.environment import (
    EnvironmentLock,
    check_promoted,
    comes_after,
    owned_by,
    renewed,
    take,
)
from opsuite_deployer.domain.errors import EnvironmentLocked, LockNotYours, NotLocked, NotPromotedYet

HOUR, LATER = timedelta(hours=1), NOON + timedelta(minutes=10)
MINE = EnvironmentLock("hello", "staging", "mia", "migration", NOON, HOUR, NOON + HOUR)
FOR_GOOD = replace(MINE, ttl=None, expires_at=None)


def test_a_free_environment_is_taken_for_its_time() -> None:
    wanted = replace(MINE, expires_at=None)

    assert take(None, wanted) == MINE


def test_somebody_elses_lock_says_who_has_it_why_and_until_when() -> None:
    with pytest.raises(EnvironmentLocked) as refused:
        take(MINE, replace(MINE, holder="otto"))

    assert refused.value.metadata == {
        "environment": "staging",
        "holder": "mia",
        "message": "migration",
        "since": NOON.isoformat(),
        "expires": (NOON + HOUR).isoformat(),
    }
    assert "locked by mia" in refused.value.message
    assert "migration" in refused.value.message


def test_the_holder_may_say_something_else_and_stays_since_when_it_was() -> None:
    again = replace(FOR_GOOD, message="longer than thought", created_at=LATER)

    assert take(MINE, again) == replace(again, created_at=NOON)


def test_a_renewed_lock_has_its_whole_time_before_it_and_one_without_stays() -> None:
    assert renewed(MINE, LATER).expires_at == LATER + HOUR
    assert renewed(FOR_GOOD, LATER) == FOR_GOOD


def test_a_lock_keeps_out_others_but_neither_its_holder_nor_rollbacks() -> None:
    assert MINE.keeps_out(a_deployment(requested_by="otto"))
    assert not MINE.keeps_out(a_deployment(requested_by="mia"))
    assert not MINE.keeps_out(a_deployment(requested_by="otto", rollback_of="x"))


def test_only_the_holder_owns_a_lock() -> None:
    assert owned_by(MINE, "mia", "staging") is MINE
    with pytest.raises(LockNotYours):
        owned_by(MINE, "otto", "staging")
    with pytest.raises(NotLocked):
        owned_by(None, "mia", "staging")


@pytest.mark.parametrize(
    ("environment", "in_order", "first"),
    [
        ("production", True, "staging"),
        ("staging", True, None),
        ("production", False, None),
        ("taken-off-the-list", True, None),
    ],
)
def test_each_environment_but_the_first_comes_after_the_one_before(
    environment: str, in_order: bool, first: str | None
) -> None:
    assert comes_after(a_pipeline(promote_in_order=in_order), environment) == first


STABLE = a_deployment(environment="staging", version="1.1", pipeline_revision=3)


@pytest.mark.parametrize("stable", [None, replace(STABLE, version="1.0"), replace(STABLE, pipeline_revision=2)])
def test_what_is_not_stable_before_goes_no_further(stable: Any) -> None:
    with pytest.raises(NotPromotedYet) as refused:
        check_promoted(replace(STABLE, environment="production"), "staging", stable)

    assert refused.value.metadata["after"] == "staging"


def test_the_same_version_with_the_same_revision_goes_on() -> None:
    check_promoted(replace(STABLE, environment="production"), "staging", STABLE)
