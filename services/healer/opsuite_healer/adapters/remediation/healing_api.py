"""HealingService: shapes were checked by the interceptor; call one use case, render."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from typing import Any

import grpc

from opsuite.healer.v1 import healing_service_pb2 as pb
from opsuite.healer.v1 import healing_service_pb2_grpc as stubs
from opsuite.healer.v1 import remediation_pb2
from opsuite_healer.adapters.remediation import what_if
from opsuite_healer.adapters.remediation.policy_messages import changeable, merged, new_policy, policy_message
from opsuite_healer.adapters.remediation.queries import Queries
from opsuite_healer.adapters.remediation.remediation_messages import (
    action_message,
    circuit_message,
    decision_message,
    healer_message,
)
from opsuite_healer.adapters.remediation.watches import Watches
from opsuite_healer.adapters.target_messages import severity_from, target_from
from opsuite_healer.application.actions import Actions
from opsuite_healer.application.names import id_of
from opsuite_healer.application.remediation.brakes import BrakesOfPeople
from opsuite_healer.application.remediation.errors import RemediationNotFound
from opsuite_healer.application.remediation.policies import Policies
from opsuite_healer.application.remediation.remediations import MANUAL, Approval, Issue, Remediations
from opsuite_healer.domain.remediation.remediation import Remediation
from opsuite_healer.domain.trouble import Severity
from opsuite_kernel.clock import Clock
from opsuite_kernel.errors import InvalidInput, Violation
from opsuite_rpc.calls import audited_as
from opsuite_rpc.values import moment, page_size
from opsuite_runs.calls import call_of

Context = grpc.aio.ServicerContext


@dataclass(frozen=True, slots=True)
class Uses:
    """The use cases behind the contract."""

    policies: Policies
    remediations: Remediations
    brakes: BrakesOfPeople
    actions: Actions


class HealingServicer(stubs.HealingServiceServicer):
    """Serves the contract of remediation."""

    def __init__(self, uses: Uses, queries: Queries, watches: Watches, clock: Clock) -> None:
        self._uses = uses
        self._queries = queries
        self._watches = watches
        self._clock = clock

    # --- policies

    async def CreateHealingPolicy(
        self,
        request: pb.CreateHealingPolicyRequest,
        context: Context[pb.CreateHealingPolicyRequest, pb.CreateHealingPolicyResponse],
    ) -> pb.CreateHealingPolicyResponse:
        """Record a policy."""
        audited_as(request.policy.name)
        record = await self._uses.policies.create(new_policy(request.policy), call_of(request))
        return pb.CreateHealingPolicyResponse(policy=policy_message(record))

    async def GetHealingPolicy(
        self,
        request: pb.GetHealingPolicyRequest,
        context: Context[pb.GetHealingPolicyRequest, pb.GetHealingPolicyResponse],
    ) -> pb.GetHealingPolicyResponse:
        """Return a policy."""
        return pb.GetHealingPolicyResponse(policy=policy_message(await self._uses.policies.get(id_of(request.name))))

    async def ListHealingPolicies(
        self,
        request: pb.ListHealingPoliciesRequest,
        context: Context[pb.ListHealingPoliciesRequest, pb.ListHealingPoliciesResponse],
    ) -> pb.ListHealingPoliciesResponse:
        """Return a page of policies."""
        page = await self._queries.policies(token=request.page_token, size=page_size(request.page_size))
        return pb.ListHealingPoliciesResponse(policies=page.items, next_page_token=page.next_token)

    async def UpdateHealingPolicy(
        self,
        request: pb.UpdateHealingPolicyRequest,
        context: Context[pb.UpdateHealingPolicyRequest, pb.UpdateHealingPolicyResponse],
    ) -> pb.UpdateHealingPolicyResponse:
        """Change a policy."""
        audited_as(request.policy.name)
        fields, policy = changeable(request.update_mask.paths), request.policy
        record = await self._uses.policies.update(
            id_of(policy.name), policy.etag, lambda document: merged(document, policy, fields), call_of(request)
        )
        return pb.UpdateHealingPolicyResponse(policy=policy_message(record))

    async def DeleteHealingPolicy(
        self,
        request: pb.DeleteHealingPolicyRequest,
        context: Context[pb.DeleteHealingPolicyRequest, pb.DeleteHealingPolicyResponse],
    ) -> pb.DeleteHealingPolicyResponse:
        """Forget a policy."""
        audited_as(request.name)
        await self._uses.policies.delete(id_of(request.name), request.etag, call_of(request))
        return pb.DeleteHealingPolicyResponse()

    # --- remediations

    async def EvaluateIssue(
        self,
        request: pb.EvaluateIssueRequest,
        context: Context[pb.EvaluateIssueRequest, pb.EvaluateIssueResponse],
    ) -> pb.EvaluateIssueResponse:
        """Say what would be done."""
        _require_one(request, "issue")
        issue = Issue(
            incident=id_of(request.incident),
            issue=request.issue,
            target=target_from(request.target) if request.HasField("target") else None,
            severity=severity_from(request.severity, Severity.ERROR),
            labels=dict(request.labels),
            policy=id_of(request.policy),
        )
        found = await self._uses.remediations.evaluate(issue)
        return pb.EvaluateIssueResponse(
            policy=policy_message(found.record) if found.record else None,
            decisions=[decision_message(one) for one in found.decisions],
            step=found.step,
        )

    async def Heal(self, request: pb.HealRequest, context: Context[pb.HealRequest, pb.HealResponse]) -> pb.HealResponse:
        """Record that a person wants something mended."""
        _require_one(request, "target")
        target = target_from(request.target) if request.HasField("target") else None
        audited_as(request.incident or (target.canonical if target else ""))
        issue = Issue(
            incident=id_of(request.incident),
            issue=request.issue or MANUAL,
            target=target,
            policy=id_of(request.policy),
            reason=request.reason,
        )
        began = await self._uses.remediations.heal(issue, call_of(request))
        return pb.HealResponse(remediation=await self._whole(began))

    async def GetRemediation(
        self,
        request: pb.GetRemediationRequest,
        context: Context[pb.GetRemediationRequest, pb.GetRemediationResponse],
    ) -> pb.GetRemediationResponse:
        """Return a remediation."""
        found = await self._queries.remediation(id_of(request.name))
        if found is None:
            raise RemediationNotFound(id_of(request.name))
        return pb.GetRemediationResponse(remediation=found)

    async def ListRemediations(
        self,
        request: pb.ListRemediationsRequest,
        context: Context[pb.ListRemediationsRequest, pb.ListRemediationsResponse],
    ) -> pb.ListRemediationsResponse:
        """Return a page of remediations."""
        size = page_size(request.page_size)
        page = await self._queries.remediations(filter_=request.filter, token=request.page_token, size=size)
        return pb.ListRemediationsResponse(remediations=page.items, next_page_token=page.next_token)

    def WatchRemediations(
        self,
        request: pb.WatchRemediationsRequest,
        context: Context[pb.WatchRemediationsRequest, pb.WatchRemediationsResponse],
    ) -> AsyncIterator[pb.WatchRemediationsResponse]:
        """Stream remediations."""
        return self._watches.follow(request)

    async def CancelRemediation(
        self,
        request: pb.CancelRemediationRequest,
        context: Context[pb.CancelRemediationRequest, pb.CancelRemediationResponse],
    ) -> pb.CancelRemediationResponse:
        """Stop a remediation."""
        audited_as(request.name)
        changed = await self._uses.remediations.cancel(
            id_of(request.name), request.reason, request.etag, call_of(request)
        )
        return pb.CancelRemediationResponse(remediation=await self._whole(changed))

    async def ApproveRemediation(
        self,
        request: pb.ApproveRemediationRequest,
        context: Context[pb.ApproveRemediationRequest, pb.ApproveRemediationResponse],
    ) -> pb.ApproveRemediationResponse:
        """Let the proposed action be taken."""
        audited_as(request.name)
        changed = await self._uses.remediations.approve(_approval(request), call_of(request))
        return pb.ApproveRemediationResponse(remediation=await self._whole(changed))

    async def RejectRemediation(
        self,
        request: pb.RejectRemediationRequest,
        context: Context[pb.RejectRemediationRequest, pb.RejectRemediationResponse],
    ) -> pb.RejectRemediationResponse:
        """Refuse the proposed action."""
        audited_as(request.name)
        changed = await self._uses.remediations.reject(_approval(request), call_of(request))
        return pb.RejectRemediationResponse(remediation=await self._whole(changed))

    # --- brakes

    async def ListCircuits(
        self,
        request: pb.ListCircuitsRequest,
        context: Context[pb.ListCircuitsRequest, pb.ListCircuitsResponse],
    ) -> pb.ListCircuitsResponse:
        """Return a page of circuits."""
        size = page_size(request.page_size)
        page = await self._queries.circuits(filter_=request.filter, token=request.page_token, size=size)
        return pb.ListCircuitsResponse(circuits=page.items, next_page_token=page.next_token)

    async def ResetCircuit(
        self,
        request: pb.ResetCircuitRequest,
        context: Context[pb.ResetCircuitRequest, pb.ResetCircuitResponse],
    ) -> pb.ResetCircuitResponse:
        """Close a circuit."""
        target = target_from(request.target)
        audited_as(f"circuits/{target.canonical}/{request.action}", reason=request.reason)
        circuit = await self._uses.brakes.reset(target, request.action, call_of(request))
        message = circuit_message(target.canonical, request.action, circuit, None, self._clock.now())
        return pb.ResetCircuitResponse(circuit=message)

    async def EvaluateCircuit(
        self,
        request: pb.EvaluateCircuitRequest,
        context: Context[pb.EvaluateCircuitRequest, pb.EvaluateCircuitResponse],
    ) -> pb.EvaluateCircuitResponse:
        """Say what becomes of a circuit that is made up."""
        return what_if.evaluate_circuit(request)

    async def EvaluateBackoff(
        self,
        request: pb.EvaluateBackoffRequest,
        context: Context[pb.EvaluateBackoffRequest, pb.EvaluateBackoffResponse],
    ) -> pb.EvaluateBackoffResponse:
        """Say how long pauses are."""
        return what_if.evaluate_backoff(request)

    async def EvaluateFleetGate(
        self,
        request: pb.EvaluateFleetGateRequest,
        context: Context[pb.EvaluateFleetGateRequest, pb.EvaluateFleetGateResponse],
    ) -> pb.EvaluateFleetGateResponse:
        """Say whether a fleet gate is open."""
        return what_if.evaluate_fleet_gate(request)

    # --- the healer

    async def PauseHealer(
        self, request: pb.PauseHealerRequest, context: Context[pb.PauseHealerRequest, pb.PauseHealerResponse]
    ) -> pb.PauseHealerResponse:
        """Begin no action any more."""
        audited_as("healer", reason=request.reason)
        healer = await self._uses.brakes.pause(request.reason, moment(request, "until"), call_of(request))
        return pb.PauseHealerResponse(healer=healer_message(healer))

    async def ResumeHealer(
        self, request: pb.ResumeHealerRequest, context: Context[pb.ResumeHealerRequest, pb.ResumeHealerResponse]
    ) -> pb.ResumeHealerResponse:
        """End a pause."""
        audited_as("healer", reason=request.reason)
        return pb.ResumeHealerResponse(healer=healer_message(await self._uses.brakes.resume(call_of(request))))

    async def GetHealer(
        self, request: pb.GetHealerRequest, context: Context[pb.GetHealerRequest, pb.GetHealerResponse]
    ) -> pb.GetHealerResponse:
        """Return the healer as a whole."""
        return pb.GetHealerResponse(healer=healer_message(await self._uses.brakes.healer()))

    async def ListActions(
        self, request: pb.ListActionsRequest, context: Context[pb.ListActionsRequest, pb.ListActionsResponse]
    ) -> pb.ListActionsResponse:
        """Return what can be done."""
        kinds = sorted(self._uses.actions.kinds(), key=lambda kind: kind.name)
        return pb.ListActionsResponse(actions=[action_message(kind) for kind in kinds])

    async def _whole(self, changed: Remediation) -> remediation_pb2.Remediation | None:
        """A remediation with all that was tried and decided, as it is by now."""
        return await self._queries.remediation(changed.id)


def _approval(request: pb.ApproveRemediationRequest | pb.RejectRemediationRequest) -> Approval:
    step = request.step if request.HasField("step") else None
    return Approval(id_of(request.name), step, request.reason, request.etag)


def _require_one(request: Any, instead: str) -> None:
    """Raises InvalidInput: neither an incident is named, nor what stands for one."""
    given = request.HasField(instead) if instead == "target" else bool(getattr(request, instead))
    found: Sequence[Violation] = ()
    if not request.incident and not given:
        found = [Violation(instead, "is needed where no incident is named", "REQUIRED")]
    elif request.incident and (given or request.HasField("target")):
        found = [Violation(instead, "is given beside an incident, which has its own", "EXCLUSIVE")]
    if found:
        raise InvalidInput(found)
