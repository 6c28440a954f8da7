"""RESTART_SERVICE over a platform in memory: once each, however often it is repeated."""

from __future__ import annotations

from datetime import timedelta

import pytest
from fakes.platform import FakePlatform

from opsuite_healer.adapters.actions.registry import Registry
from opsuite_healer.adapters.actions.restart import RestartService
from opsuite_healer.adapters.workloads import Workloads
from opsuite_healer.application.actions import ActionCall, ActionOutcome
from opsuite_healer.domain.actions import ActionSpec
from opsuite_healer.domain.targets import TargetRef
from opsuite_kernel.errors import Conflict, NotFound
from opsuite_platforms.port import ReplicaPhase, WorkloadSpec

MINUTE = timedelta(minutes=1)


@pytest.fixture
async def platform() -> FakePlatform:
    made = FakePlatform()
    await made.apply(WorkloadSpec("shop", "1.0.0", ("/bin/sleep", "9"), "/", replicas=3), epoch=1)
    return made


@pytest.fixture
def registry(platform: FakePlatform) -> Registry:
    return Registry([RestartService(Workloads({"process": platform}, lambda _: platform))])


def a_call(replica: str = "", *, workload: str = "shop", **params: str) -> ActionCall:
    target = TargetRef("process", workload, replica)
    return ActionCall("k", ActionSpec("RESTART_SERVICE", params), target, "remediations/1")


def restarts(platform: FakePlatform, workload: str = "shop") -> list[int]:
    return [replica.restarts for replica in platform.workloads[workload].replicas.values()]


async def test_every_replica_of_a_workload_is_restarted_once(platform: FakePlatform, registry: Registry) -> None:
    call = a_call()

    result = await registry.run(call, await registry.prepare(call), MINUTE)

    assert (result.outcome, result.facts["restarted"]) == (ActionOutcome.DONE, "3")
    assert restarts(platform) == [1, 1, 1]


async def test_one_replica_is_restarted_and_its_neighbours_are_not(platform: FakePlatform, registry: Registry) -> None:
    call = a_call("shop-1")

    await registry.run(call, await registry.prepare(call), MINUTE)

    assert restarts(platform) == [0, 1, 0]


async def test_a_repeat_restarts_only_what_was_not_restarted_yet(platform: FakePlatform, registry: Registry) -> None:
    call = a_call()
    before = await registry.prepare(call)
    await platform.restart("shop", "shop-0")

    result = await registry.run(call, before, MINUTE)
    again = await registry.run(call, before, MINUTE)

    assert restarts(platform) == [1, 1, 1]
    assert (result.facts["restarted"], again.facts["restarted"]) == ("2", "0")


async def test_what_does_not_run_is_restarted_whatever_life_it_lives(
    platform: FakePlatform, registry: Registry
) -> None:
    call = a_call("shop-2")
    before = await registry.prepare(call)
    await platform.restart("shop", "shop-2")
    platform.set_phase("shop", "shop-2", ReplicaPhase.BACKOFF)

    await registry.run(call, before, MINUTE)

    assert restarts(platform) == [0, 0, 2]


async def test_a_workload_means_all_of_its_revisions(platform: FakePlatform, registry: Registry) -> None:
    for name in ("api-1", "api-2"):
        await platform.apply(WorkloadSpec(name, "1", ("/bin/true",), "/", part_of="api"), epoch=1)
    call = a_call(workload="api")

    await registry.run(call, await registry.prepare(call), MINUTE)

    assert restarts(platform, "api-1") + restarts(platform, "api-2") == [1, 1]


@pytest.mark.parametrize("call", [a_call("shop-7"), a_call(workload="nobody")])
async def test_a_target_that_is_not_there_is_not_found_before_it_begins(registry: Registry, call: ActionCall) -> None:
    with pytest.raises(NotFound):
        await registry.prepare(call)


async def test_a_platform_that_is_away_is_a_failure_that_may_be_tried_again(
    platform: FakePlatform, registry: Registry
) -> None:
    call = a_call()
    before = await registry.prepare(call)
    platform.is_reachable = False

    result = await registry.run(call, before, MINUTE)

    assert (result.outcome, result.facts["reason"]) == (ActionOutcome.FAILED, "UNAVAILABLE")


async def test_the_next_replica_waits_until_the_one_before_runs_again(
    platform: FakePlatform, registry: Registry
) -> None:
    platform.phases["1.0.0"] = ReplicaPhase.STARTING
    call = a_call()
    before = await registry.prepare(call)

    result = await registry.run(call, before, timedelta(seconds=0.5))

    assert (result.outcome, result.facts["reason"]) == (ActionOutcome.FAILED, "TIMED_OUT")
    assert restarts(platform) == [1, 0, 0]


async def test_every_violation_of_a_spec_is_told_at_once(registry: Registry) -> None:
    found = registry.violations(ActionSpec("RESTART_SERVICE", {"settle": "soon", "speed": "9"}), "policy.actions[0]")

    assert {(violation.field, violation.reason) for violation in found} == {
        ('policy.actions[0].params["settle"]', "DURATION"),
        ('policy.actions[0].params["speed"]', "UNKNOWN_PARAMETER"),
    }


def test_an_unknown_kind_is_told_with_those_that_are_known(registry: Registry) -> None:
    (violation,) = registry.violations(ActionSpec("EXPLODE"), "action")

    assert (violation.field, violation.reason) == ("action.kind", "UNKNOWN_ACTION")
    assert "RESTART_SERVICE" in violation.description


async def test_an_action_without_its_target_is_refused(registry: Registry) -> None:
    with pytest.raises(Conflict, match="needs a target"):
        await registry.prepare(ActionCall("k", ActionSpec("RESTART_SERVICE"), None, "remediations/1"))
