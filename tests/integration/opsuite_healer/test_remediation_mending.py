"""Trouble is mended within brakes and proved, or a person is told: over real gRPC, on SQLite and on PostgreSQL."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from fakes.healer_incident_stage import short_directory
from fakes.healer_remediation import World, failed, refused
from fakes.healer_remediation_stage import IN_VAIN, NO_PAUSE, WEB, RemediationStage, remediation_stage, step

from opsuite.healer.v1 import healing_policy_pb2, incident_pb2, remediation_pb2, target_pb2
from opsuite.healer.v1 import healing_service_pb2 as pb
from opsuite.healer.v1 import incident_service_pb2 as incident_pb
from opsuite_healer.application.actions import ActionOutcome, ActionResult
from opsuite_healer.application.health_view import FleetHealth
from opsuite_healer.application.recent_rollouts import RecentRollout
from opsuite_healer.domain.actions import ActionSpec
from opsuite_healer.domain.remediation.remediation import State
from opsuite_kernel.errors import Conflict, Denied, NotFound
from opsuite_probes.port import Outcome

PATIENCE_SECONDS = 120.0
"""Only what will never come takes so long."""


@pytest.fixture
def directory() -> Iterator[Path]:
    with short_directory() as path:
        yield path


@pytest.fixture(params=["sqlite", "postgresql"])
async def stage(request: pytest.FixtureRequest, directory: Path) -> AsyncIterator[RemediationStage]:
    url = "sqlite" if request.param == "sqlite" else request.getfixturevalue("postgres_url")
    async with asyncio.timeout(PATIENCE_SECONDS), remediation_stage(directory, World(), database_url=url) as served:
        yield served


@pytest.fixture
async def lone(directory: Path) -> AsyncIterator[RemediationStage]:
    async with asyncio.timeout(PATIENCE_SECONDS), remediation_stage(directory, World()) as served:
        yield served


def attempts(found: remediation_pb2.Remediation) -> list[tuple[str, str]]:
    """What was tried, and what came of it."""
    names = remediation_pb2.AttemptState
    return [(one.action, names.Name(one.state).removeprefix("ATTEMPT_STATE_")) for one in found.attempts]


def refusals(found: remediation_pb2.Remediation) -> list[str]:
    kinds = remediation_pb2.DecisionKind
    return [one.reason for one in found.decisions if one.kind == kinds.Value("DECISION_KIND_REFUSE")]


async def test_trouble_is_mended_proved_and_its_incident_resolved(stage: RemediationStage) -> None:
    stage.world.mends("RESTART_SERVICE")
    await stage.policy()
    incident = await stage.trouble()

    found = await stage.until(State.SUCCEEDED)

    assert (found.incident, found.policy, found.reason) == (incident.name, "healingPolicies/web", "VERIFIED")
    assert attempts(found) == [("RESTART_SERVICE", "PROVED")]
    assert {gate.gate for gate in found.attempts[0].gates if gate.is_open} == {
        "PAUSE",
        "SILENCE",
        "TROUBLE",
        "FLAPPING",
        "ROLLOUT",
        "CIRCUIT",
        "FLEET",
        "CONCURRENCY",
    }
    assert stage.world.health.resets == ["process/web#web-0"] * 2  # before the action, and after it
    assert (await stage.incident(incident.name)).status == incident_pb2.INCIDENT_STATUS_RESOLVED
    assert found.mended_time.ToDatetime() >= found.create_time.ToDatetime()


async def test_what_does_not_help_is_tried_again_then_the_next_step_then_a_person_is_told(
    lone: RemediationStage,
) -> None:
    await lone.policy(
        step(verification=IN_VAIN, retries=1),
        step("SCALE_UP", verification=IN_VAIN, retries=0),
        circuit={"maxFailures": 50, "maxActions": 50},
    )
    incident = await lone.trouble()

    found = await lone.until(State.ESCALATED)

    assert found.reason == "CHAIN_EXHAUSTED"
    assert attempts(found) == [("RESTART_SERVICE", "NO_HELP"), ("RESTART_SERVICE", "NO_HELP"), ("SCALE_UP", "NO_HELP")]
    told = await lone.incident(incident.name)
    assert (told.status, found.is_escalated) == (incident_pb2.INCIDENT_STATUS_OPEN, True)
    assert [one.incident for one in await lone.all()] == [incident.name]


async def test_an_action_that_fails_or_is_refused_gives_way_to_the_next(lone: RemediationStage) -> None:
    lone.world.actions.scripts = {"RESTART_SERVICE": failed, "WIPE": refused}
    lone.world.mends("SCALE_UP")
    await lone.policy(
        step(retries=1), step("WIPE"), step("ABSENT"), step("SCALE_UP"), approval={"fromRisk": "ACTION_RISK_HIGH"}
    )
    await lone.trouble()
    asked = await lone.until(State.AWAITING_APPROVAL)
    await lone.healing.ApproveRemediation(pb.ApproveRemediationRequest(name=asked.name, step=1))

    found = await lone.until(State.SUCCEEDED)

    assert attempts(found) == [
        ("RESTART_SERVICE", "FAILED"),
        ("RESTART_SERVICE", "FAILED"),
        ("WIPE", "REFUSED"),
        ("SCALE_UP", "PROVED"),
    ]
    assert "NOT_AVAILABLE" in [decision.reason for decision in found.decisions]


async def test_a_restart_loop_opens_the_circuit_escalates_once_and_goes_on_by_itself(stage: RemediationStage) -> None:
    await stage.policy(
        step(verification=IN_VAIN, retries=9), circuit={"coolDown": "3s", "maxCoolDown": "3s", "maxFailures": 2}
    )
    incident = await stage.trouble()
    held = await stage.until(State.HELD)
    assert (held.reason, held.is_escalated) == ("CIRCUIT_OPEN", True)
    assert attempts(held) == [("RESTART_SERVICE", "NO_HELP")] * 2
    circuits = (await stage.healing.ListCircuits(pb.ListCircuitsRequest())).circuits
    assert [(one.action, one.state, one.reason) for one in circuits] == [
        ("RESTART_SERVICE", remediation_pb2.CIRCUIT_STATE_OPEN, "FAILURES")
    ]

    stage.world.mends("RESTART_SERVICE")
    found = await stage.until(State.SUCCEEDED)

    assert found.name == held.name
    assert len(stage.world.actions.acts) == 3
    timeline = await stage.incidents.GetTimeline(incident_pb.GetTimelineRequest(name=incident.name))
    given_up = [one for one in timeline.entries if one.kind == incident_pb2.TIMELINE_ENTRY_KIND_ESCALATED]
    assert len(given_up) == 1


async def test_a_message_is_sent_once_and_the_chain_goes_on(lone: RemediationStage) -> None:
    lone.world.mends("RESTART_SERVICE")
    await lone.policy(step("NOTIFY", verification={"skip": True}), step())
    await lone.trouble()

    found = await lone.until(State.SUCCEEDED)

    assert lone.world.actions.taken == ["NOTIFY", "RESTART_SERVICE"]
    assert attempts(found) == [("NOTIFY", "PROVED"), ("RESTART_SERVICE", "PROVED")]


async def test_an_unhealthy_fleet_is_not_acted_on_until_enough_of_it_is_well(lone: RemediationStage) -> None:
    lone.world.health.replicas = FleetHealth(healthy=4, unhealthy=6, unknown=0)
    lone.world.mends("RESTART_SERVICE")
    await lone.policy()
    await lone.trouble()

    held = await lone.until(State.HELD)

    assert (held.reason, held.is_escalated, lone.world.actions.acts) == ("FLEET_UNHEALTHY", True, [])
    values = {gate.gate: dict(gate.values) for gate in held.decisions[-1].gates}
    assert values["FLEET"] == {"healthy": "4", "unhealthy": "6", "unknown": "0", "may_be_unhealthy": "4"}
    lone.world.health.replicas = FleetHealth(healthy=6, unhealthy=4, unknown=0)
    await lone.until(State.SUCCEEDED)
    assert refusals(await lone.get(held.name)) == ["FLEET_UNHEALTHY"]


async def test_of_a_fleet_that_fails_together_one_is_mended_at_a_time(stage: RemediationStage) -> None:
    gate = stage.world.actions.gate = asyncio.Event()
    stage.world.mends("RESTART_SERVICE")
    await stage.policy()
    for number in range(3):
        await stage.trouble(key=f"k{number}", target={**WEB, "replica": f"web-{number}"})
    await stage.until(State.ACTING)
    while len([one for one in await stage.all() if one.reason == "FLEET_BUSY"]) < 2:
        await stage.until(State.HELD)
    assert stage.world.actions.calls == 1

    gate.set()

    while len([one for one in await stage.all() if one.state == remediation_pb2.REMEDIATION_STATE_SUCCEEDED]) < 3:
        await stage.until(State.SUCCEEDED)
    assert len(stage.world.actions.acts) == 3


async def test_a_pause_holds_everything_and_its_end_lets_it_go_on(lone: RemediationStage) -> None:
    lone.world.mends("RESTART_SERVICE")
    await lone.policy()
    paused = await lone.healing.PauseHealer(pb.PauseHealerRequest(reason="maintenance"))
    assert (paused.healer.is_paused, paused.healer.pause_reason) == (True, "maintenance")
    await lone.trouble()
    held = await lone.until(State.HELD)
    assert (held.reason, lone.world.actions.acts) == ("PAUSED", [])
    assert dict((await lone.healing.GetHealer(pb.GetHealerRequest())).healer.remediations) == {"HELD": 1}

    await lone.healing.ResumeHealer(pb.ResumeHealerRequest())

    assert (await lone.until(State.SUCCEEDED)).name == held.name


async def test_what_is_silenced_flapping_or_being_rolled_out_is_left_alone(lone: RemediationStage) -> None:
    world = lone.world
    world.mends("RESTART_SERVICE")
    world.hush.actions = ("silences/maintenance",)
    await lone.policy()
    await lone.trouble()
    held = await lone.until(State.HELD)
    assert (held.reason, held.is_escalated) == ("SILENCED", False)

    world.hush.actions, world.health.is_flapping = (), True
    await _until_reason(lone, held.name, "FLAPPING")
    world.health.is_flapping, world.rollouts.rollout = False, _rollout(ended=False)
    await _until_reason(lone, held.name, "ROLLOUT_UNDER_WAY")
    assert world.actions.acts == []
    world.rollouts.rollout = None

    found = await lone.until(State.SUCCEEDED)

    assert refusals(found) == ["SILENCED", "FLAPPING", "ROLLOUT_UNDER_WAY"]


async def test_trouble_right_after_a_deployment_is_rolled_back_not_restarted(lone: RemediationStage) -> None:
    lone.world.rollouts.rollout = _rollout()
    lone.world.mends("ROLL_BACK_DEPLOYMENT")
    await lone.policy(step("ROLL_BACK_DEPLOYMENT"), step())
    await lone.trouble()

    await lone.until(State.SUCCEEDED)

    assert lone.world.actions.taken == ["ROLL_BACK_DEPLOYMENT"]


@pytest.mark.parametrize("world", ["nothing was rolled out", "long ago", "the deployer is away", "it failed"])
async def test_without_a_deployment_to_blame_nothing_is_rolled_back(lone: RemediationStage, world: str) -> None:
    rollouts = lone.world.rollouts
    rollouts.is_away = world == "the deployer is away"
    if world == "long ago":
        rollouts.rollout = _rollout(age=timedelta(hours=5))
    if world == "it failed":
        rollouts.rollout = replace(_rollout(), is_healthy=False)
    lone.world.mends("RESTART_SERVICE")
    await lone.policy(step("ROLL_BACK_DEPLOYMENT"), step())
    await lone.trouble()

    found = await lone.until(State.SUCCEEDED)

    assert lone.world.actions.taken == ["RESTART_SERVICE"]
    assert found.decisions[0].reason == ("CANNOT_TELL" if rollouts.is_away else "NO_ROLLOUT_TO_BLAME")


async def test_a_policy_that_observes_says_what_it_would_do_and_does_nothing(lone: RemediationStage) -> None:
    policy = await lone.policy(step(), step("WIPE"), mode="HEALING_MODE_OBSERVE")
    await lone.trouble()

    found = await lone.until(State.OBSERVED)

    assert [(one.action, one.reason) for one in found.decisions] == [
        ("RESTART_SERVICE", "OBSERVE_ONLY"),
        ("WIPE", "OBSERVE_ONLY"),
    ]
    assert lone.world.actions.acts == []
    lone.world.mends("RESTART_SERVICE")
    policy.mode = healing_policy_pb2.HEALING_MODE_AUTO
    await lone.healing.UpdateHealingPolicy(pb.UpdateHealingPolicyRequest(policy=policy))
    mended = await lone.until(State.SUCCEEDED)
    assert (mended.incident, mended.name != found.name) == (found.incident, True)


async def test_a_suggestion_waits_for_approval_and_is_taken_after_it(stage: RemediationStage) -> None:
    stage.world.mends("RESTART_SERVICE")
    await stage.policy(mode="HEALING_MODE_SUGGEST")
    await stage.trouble()
    asked = await stage.until(State.AWAITING_APPROVAL)
    assert (asked.reason, asked.step, stage.world.actions.acts) == ("SUGGESTED", 0, [])
    with pytest.raises(Conflict, match="step 0 is proposed"):
        await stage.healing.ApproveRemediation(pb.ApproveRemediationRequest(name=asked.name, step=7))

    await stage.healing.ApproveRemediation(pb.ApproveRemediationRequest(name=asked.name, reason="go"))

    found = await stage.until(State.SUCCEEDED)
    assert found.approved_by
    with pytest.raises(Conflict, match="proposes nothing"):
        await stage.healing.ApproveRemediation(pb.ApproveRemediationRequest(name=asked.name))


async def test_a_rejected_suggestion_ends_and_people_are_told(lone: RemediationStage) -> None:
    await lone.policy(mode="HEALING_MODE_SUGGEST")
    await lone.trouble()
    asked = await lone.until(State.AWAITING_APPROVAL)

    answer = await lone.healing.RejectRemediation(pb.RejectRemediationRequest(name=asked.name, reason="not now"))

    assert answer.remediation.state == remediation_pb2.REMEDIATION_STATE_REJECTED
    assert (answer.remediation.is_escalated, lone.world.actions.acts) == (True, [])


async def test_an_approval_that_does_not_come_escalates(lone: RemediationStage) -> None:
    await lone.policy(step("WIPE"), approval={"expiresAfter": "1s"})
    await lone.trouble()

    found = await lone.until(State.ESCALATED)

    assert (found.reason, lone.world.actions.acts) == ("APPROVAL_EXPIRED", [])


async def test_whoever_asked_for_it_may_be_kept_from_approving_it(lone: RemediationStage) -> None:
    await lone.policy(step("WIPE"), approval={"bySomebodyElse": True})
    await lone.healing.Heal(pb.HealRequest(target=_target()))
    asked = await lone.until(State.AWAITING_APPROVAL)

    with pytest.raises(Denied, match="somebody else"):
        await lone.healing.ApproveRemediation(pb.ApproveRemediationRequest(name=asked.name))


async def test_an_incident_that_no_policy_covers_reaches_a_person(lone: RemediationStage) -> None:
    await lone.policy(match={"issues": ["CRASHED"]})
    incident = await lone.trouble()

    found = await lone.until(State.ESCALATED)

    assert (found.reason, found.policy, found.is_escalated) == ("NO_POLICY", "", True)
    lone.world.mends("RESTART_SERVICE")
    await lone.policy(name="healingPolicies/all")
    assert (await lone.until(State.SUCCEEDED)).incident == incident.name


async def test_trouble_that_goes_away_by_itself_needs_no_action(lone: RemediationStage) -> None:
    await lone.policy(mode="HEALING_MODE_SUGGEST")
    incident = await lone.trouble()
    await lone.until(State.AWAITING_APPROVAL)

    await lone.incidents.ResolveIncident(incident_pb.ResolveIncidentRequest(name=incident.name))

    found = await lone.until(State.RECOVERED)
    assert (found.reason, lone.world.actions.acts) == ("INCIDENT_RESOLVED", [])


async def test_a_person_heals_a_target_without_an_incident(lone: RemediationStage) -> None:
    lone.world.mends("RESTART_SERVICE")
    await lone.policy(mode="HEALING_MODE_OBSERVE")

    began = await lone.healing.Heal(pb.HealRequest(target=_target(), policy="healingPolicies/web"))

    found = await lone.until(State.SUCCEEDED)
    assert (found.name, found.incident, found.issue) == (began.remediation.name, "", "MANUAL")


async def test_a_target_has_one_remediation_at_a_time(stage: RemediationStage) -> None:
    stage.world.actions.gate = asyncio.Event()
    await stage.policy()
    first = await stage.trouble()
    acting = await stage.until(State.ACTING)
    second = await stage.trouble(key="k2", issue="CRASHED")

    with pytest.raises(Conflict) as refusal:
        await stage.healing.Heal(pb.HealRequest(incident=second.name))

    assert refusal.value.reason == "REMEDIATION_UNDER_WAY"
    assert refusal.value.metadata["remediation"] == acting.name
    assert [one.incident for one in await stage.all()] == [first.name]
    stage.world.mends("RESTART_SERVICE")
    stage.world.actions.gate.set()
    await stage.until(State.SUCCEEDED, incident=first.name)
    await stage.until(State.SUCCEEDED, incident=second.name)


async def test_cancelling_does_not_break_off_what_was_begun(lone: RemediationStage) -> None:
    gate = lone.world.actions.gate = asyncio.Event()
    await lone.policy(step(), step("SCALE_UP"))
    await lone.trouble()
    acting = await lone.until(State.ACTING)
    await lone.healing.CancelRemediation(pb.CancelRemediationRequest(name=acting.name, reason="I do it myself"))

    gate.set()

    found = await lone.until(State.CANCELLED)
    assert lone.world.actions.taken == ["RESTART_SERVICE"]
    with pytest.raises(Conflict) as refusal:
        await lone.healing.CancelRemediation(pb.CancelRemediationRequest(name=found.name))
    assert refusal.value.reason == "REMEDIATION_OVER"


async def test_what_was_added_is_taken_back_once_the_trouble_is_over(stage: RemediationStage) -> None:
    def scaled(_: Any) -> ActionResult:
        return ActionResult(ActionOutcome.DONE, "3 replicas", {"to": "3"}, ActionSpec("SCALE_UP", {"by": "-1"}))

    stage.world.actions.scripts = {"SCALE_UP": scaled}
    stage.world.mends("SCALE_UP")
    await stage.policy(step("SCALE_UP"), undoAfter="1s")
    incident = await stage.trouble()
    resting = await stage.until(State.RESTING, State.SUCCEEDED)
    assert (await stage.incident(incident.name)).status == incident_pb2.INCIDENT_STATUS_RESOLVED

    found = await stage.until(State.SUCCEEDED)

    assert found.name == resting.name
    assert attempts(found) == [("SCALE_UP", "PROVED"), ("SCALE_UP", "PROVED")]
    assert [dict(act.spec.params) for act in stage.world.actions.acts] == [{}, {"by": "-1"}]
    assert [one.is_undo for one in found.attempts] == [False, True]


async def test_an_alert_that_still_fires_is_not_mended_by_a_healthy_check(lone: RemediationStage) -> None:
    world = lone.world
    world.health.outcome = Outcome.HEALTHY
    await lone.policy(step(verification={"healthyDelay": "3600s", "timeout": "1s", "grace": "0s"}, retries=0))
    await lone.trouble(issue="HighLatency")

    verifying = await lone.until(State.VERIFYING)

    assert (verifying.reason, world.actions.taken) == ("", ["RESTART_SERVICE"])
    await lone.healing.CancelRemediation(pb.CancelRemediationRequest(name=verifying.name))
    assert (await lone.until(State.CANCELLED)).name == verifying.name


async def test_a_watch_shows_every_state_in_order_and_ends(lone: RemediationStage) -> None:
    lone.world.mends("RESTART_SERVICE")
    gate = lone.world.actions.gate = asyncio.Event()
    await lone.policy()
    await lone.trouble()
    acting = await lone.until(State.ACTING)
    seen: list[remediation_pb2.Remediation] = []

    async for answer in lone.healing.WatchRemediations(pb.WatchRemediationsRequest(name=acting.name)):
        seen += answer.remediations
        gate.set()

    revisions = [int(one.etag) for one in seen]
    assert revisions == list(range(revisions[0], revisions[0] + len(revisions)))
    names = [remediation_pb2.RemediationState.Name(one.state) for one in seen]
    assert names[0] == "REMEDIATION_STATE_ACTING"
    assert names[-2:] == ["REMEDIATION_STATE_VERIFYING", "REMEDIATION_STATE_SUCCEEDED"]


async def test_an_issue_is_evaluated_without_touching_anything(lone: RemediationStage) -> None:
    lone.world.health.replicas = FleetHealth(healthy=0, unhealthy=2, unknown=0)
    await lone.policy(step(), step("ABSENT"))

    found = await lone.healing.EvaluateIssue(pb.EvaluateIssueRequest(issue="UNHEALTHY", target=_target()))

    assert (found.policy.name, found.step) == ("healingPolicies/web", -1)
    assert [one.reason for one in found.decisions] == ["FLEET_UNHEALTHY", "NOT_AVAILABLE"]
    assert (lone.world.actions.acts, await lone.all()) == ([], [])
    with pytest.raises(NotFound):
        await lone.healing.EvaluateIssue(pb.EvaluateIssueRequest(incident="incidents/01nothing"))


async def test_a_circuit_is_closed_by_hand(lone: RemediationStage) -> None:
    await lone.policy(step(verification=IN_VAIN, backoff=NO_PAUSE, retries=9))
    await lone.trouble()
    held = await lone.until(State.HELD)
    lone.world.mends("RESTART_SERVICE")

    answer = await lone.healing.ResetCircuit(pb.ResetCircuitRequest(target=_target(), action="RESTART_SERVICE"))

    assert answer.circuit.state == remediation_pb2.CIRCUIT_STATE_CLOSED
    assert (await lone.until(State.SUCCEEDED)).name == held.name


async def _until_reason(stage: RemediationStage, name: str, reason: str) -> None:
    call = stage.healing.WatchRemediations(pb.WatchRemediationsRequest(name=name))
    async for answer in call:
        if any(one.reason == reason for one in answer.remediations):
            call.cancel()
            return


def _rollout(*, ended: bool = True, age: timedelta = timedelta(minutes=1)) -> RecentRollout:
    began = datetime.now(UTC) - age
    return RecentRollout("pipelines/shop/deployments/1", "v2", "v1", began, began if ended else None, is_healthy=True)


def _target() -> target_pb2.TargetRef:
    return target_pb2.TargetRef(**WEB)
