from typing import Any

import pytest
from fakes.deployments import a_deployment

from opsuite_deployer.domain.deployment import Status
from opsuite_deployer.domain.errors import EnvironmentOccupied
from opsuite_deployer.domain.pipeline import ConcurrencyPolicy
from opsuite_deployer.domain.queue import Arrival, arrive, order

RUNNING = a_deployment(id="running", status=Status.RUNNING)
WAITING = a_deployment(id="waiting", status=Status.QUEUED)
ROLLBACK = a_deployment(id="back", status=Status.QUEUED, rollback_of="x")
BARRED = a_deployment(id="barred", status=Status.ROLLBACK_FAILED)


def test_queue_lets_everybody_wait() -> None:
    assert arrive(ConcurrencyPolicy.QUEUE, RUNNING, [WAITING]) == Arrival()


def test_replace_supersedes_those_that_wait_and_leaves_the_running_one() -> None:
    assert arrive(ConcurrencyPolicy.REPLACE, RUNNING, [WAITING]) == Arrival(supersede=(WAITING,))


def test_cancel_running_stops_the_running_one_as_well() -> None:
    assert arrive(ConcurrencyPolicy.CANCEL_RUNNING, RUNNING, [WAITING]) == Arrival((WAITING,), RUNNING)


@pytest.mark.parametrize(("holder", "waiting"), [(RUNNING, []), (None, [WAITING])])
def test_reject_refuses_while_somebody_is_there(holder: Any, waiting: Any) -> None:
    with pytest.raises(EnvironmentOccupied):
        arrive(ConcurrencyPolicy.REJECT, holder, waiting)


def test_reject_lets_in_who_finds_nobody() -> None:
    assert arrive(ConcurrencyPolicy.REJECT, None, []) == Arrival()


@pytest.mark.parametrize("policy", [ConcurrencyPolicy.REPLACE, ConcurrencyPolicy.CANCEL_RUNNING])
def test_a_rollback_is_neither_superseded_nor_cut_short(policy: Any) -> None:
    rolling = a_deployment(id="r", status=Status.RUNNING, rollback_of="x")

    assert arrive(policy, rolling, [ROLLBACK]) == Arrival()


@pytest.mark.parametrize("policy", list(ConcurrencyPolicy))
def test_a_new_deployment_takes_over_from_a_rollback_that_failed(policy: Any) -> None:
    assert arrive(policy, BARRED, []).take_slot_of is BARRED


def test_rollbacks_go_first_and_the_rest_in_the_order_of_arrival() -> None:
    later = a_deployment(id="z-later")

    assert order([later, WAITING, ROLLBACK]) == [ROLLBACK, WAITING, later]


def test_the_more_urgent_goes_first_but_for_rollbacks() -> None:
    urgent, later = a_deployment(id="z-urgent", priority=1), a_deployment(id="z-later", priority=1)

    assert order([WAITING, later, ROLLBACK, urgent]) == [ROLLBACK, later, urgent, WAITING]
