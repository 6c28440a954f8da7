"""ROLL_BACK_DEPLOYMENT: the deployer puts the version back that ran before the last rollout."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Final

from opsuite.deployer.v1 import deployment_pb2
from opsuite.deployer.v1 import deployment_service_pb2 as pb
from opsuite.deployer.v1.deployment_service_pb2_grpc import DeploymentServiceStub
from opsuite_healer.adapters.actions.action import done, failed, target_of
from opsuite_healer.adapters.actions.once import request_id_of
from opsuite_healer.adapters.actions.params import Reader
from opsuite_healer.adapters.peers import Peer
from opsuite_healer.adapters.rollouts import DeployerRollouts
from opsuite_healer.application.actions import ActionCall, ActionResult
from opsuite_healer.domain.actions import ActionKind, Parameter, Risk
from opsuite_kernel.clock import Clock
from opsuite_kernel.errors import Conflict
from opsuite_runs.faults import declare
from opsuite_validation.values import matching

ROLLED_BACK: Final = declare("healer.rolled_back", "the deployer has accepted a rollback, that is not recorded")
LOOK_SECONDS: Final = 0.5
LABEL: Final = "[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?"
DEPLOYMENT: Final = matching(f"pipelines/{LABEL}/environments/{LABEL}/deployments/[a-z0-9]{{1,40}}")
SUCCEEDED: Final = deployment_pb2.DEPLOYMENT_STATUS_SUCCEEDED
NO_DEPLOYER: Final = "no deployer is set (HEALER_DEPLOYER_ADDRESS)"


@dataclass(frozen=True, slots=True)
class Choice:
    """Which deployment is taken back."""

    deployment: str
    within: timedelta


class RollBackDeployment:
    """A repeat finds the rollback that was begun, by its request id."""

    def __init__(self, deployer: Peer | None, rollouts: DeployerRollouts | None, clock: Clock) -> None:
        self._deployer = deployer
        self._rollouts = rollouts
        self._clock = clock
        self.kind = ActionKind(
            "ROLL_BACK_DEPLOYMENT",
            "Puts the version back that was stable before the last deployment of the target, and waits until it runs.",
            Risk.HIGH,
            (
                Parameter("deployment", "Deployment to take back; empty means the last one that changed the target."),
                Parameter("within", "How long ago it may have begun, unless it is named.", default="1h"),
            ),
            needs_target=False,
            is_available=deployer is not None,
            why_not="" if deployer else NO_DEPLOYER,
        )

    def read(self, params: Reader) -> Choice:
        """Which deployment is taken back."""
        name = params.text("deployment")
        if name and (why := DEPLOYMENT(name)):
            params.wrong("deployment", why, "PATTERN")
        return Choice(name, params.duration("within", timedelta(hours=1), most=timedelta(days=30)))

    async def prepare(self, call: ActionCall) -> Mapping[str, str]:
        """The deployment. Raises Conflict (NO_RECENT_DEPLOYMENT, DEPLOYMENT_UNDER_WAY, ALREADY_ROLLED_BACK)."""
        choice = self.read(Reader(call.spec.params))
        return {"deployment": choice.deployment or await self._last(call, choice.within)}

    async def run(self, call: ActionCall, before: Mapping[str, str]) -> ActionResult:
        """Ask for the rollback and wait for its end; the timeout of the action ends the waiting, not the rollback."""
        request = pb.RollbackRequest(
            request_id=request_id_of(call), name=before["deployment"], reason=_reason(call)[:1024]
        )
        assert self._deployer is not None  # noqa: S101 - the registry runs no action that is not available
        answer = await self._deployer.ask(lambda channel: DeploymentServiceStub(channel).Rollback(request))
        ROLLED_BACK.hit()
        begun = answer.deployment
        facts = {"rolled_back": before["deployment"], "deployment": begun.name, "version": begun.version}
        ended = await self._end_of(begun)
        if ended.status == SUCCEEDED:
            return done(f"version {ended.version} is back", facts)
        return failed(f"the rollback ended as {_status(ended)}: {ended.message}", facts | {"reason": ended.reason})

    async def _last(self, call: ActionCall, within: timedelta) -> str:
        assert self._rollouts is not None  # noqa: S101 - as above
        last = await self._rollouts.last(target_of(call))
        if last is None or last.started_at < self._clock.now() - within:
            why = f"no deployment has changed {target_of(call).canonical} within {within}"
            raise Conflict(why, reason="NO_RECENT_DEPLOYMENT")
        if last.ended_at is None:
            raise Conflict(f"{last.deployment} is under way: the deployer decides", reason="DEPLOYMENT_UNDER_WAY")
        if last.is_rollback:
            raise Conflict(f"{last.deployment} went back already", reason="ALREADY_ROLLED_BACK")
        return last.deployment

    async def _end_of(self, deployment: deployment_pb2.Deployment) -> deployment_pb2.Deployment:
        assert self._rollouts is not None  # noqa: S101 - as above
        while not deployment.HasField("end_time"):
            await asyncio.sleep(LOOK_SECONDS)
            deployment = await self._rollouts.deployment(deployment.name)
        return deployment


def _reason(call: ActionCall) -> str:
    about = f" ({call.incident})" if call.incident else ""
    return f"{call.actor}{about}: {call.reason or 'trouble began with this deployment'}"


def _status(deployment: deployment_pb2.Deployment) -> str:
    return deployment_pb2.DeploymentStatus.Name(deployment.status).removeprefix("DEPLOYMENT_STATUS_")
