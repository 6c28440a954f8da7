"""ScalerService: shapes were checked by the interceptor; call one use case, render."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from typing import Any, Final

from google.protobuf.message import Message

from opsuite.scaler.v1 import policy_pb2
from opsuite.scaler.v1 import scaler_service_pb2 as pb
from opsuite.scaler.v1 import scaler_service_pb2_grpc as stubs
from opsuite_kernel.clock import Clock
from opsuite_kernel.errors import InvalidInput, Violation
from opsuite_rpc.access import current_principal
from opsuite_rpc.calls import audited_as, shape_violations
from opsuite_rpc.values import moment, page_size
from opsuite_runs.calls import call_of
from opsuite_runs.port import Call
from opsuite_scaler.adapters.calls import Context, activity_ids, policy_id
from opsuite_scaler.adapters.decision_messages import (
    activity_message,
    outcome_message,
    snapshot_message,
    snapshot_of,
    state_of,
    state_text,
    status_message,
)
from opsuite_scaler.adapters.policy_messages import policy_of
from opsuite_scaler.adapters.policy_names import MODES
from opsuite_scaler.adapters.policy_rendering import mode_message
from opsuite_scaler.adapters.queries import Queries, recorded_message
from opsuite_scaler.adapters.watches import Watches
from opsuite_scaler.adapters.words import lines_of
from opsuite_scaler.application.policies import NewPolicy, Policies, SizeWish
from opsuite_scaler.application.records import PolicyRecord
from opsuite_scaler.domain.decide import decide
from opsuite_scaler.domain.decision import State
from opsuite_scaler.domain.expressions import Evaluate
from opsuite_scaler.domain.policy import Mode, ModeSetting, ScalingPolicy

UNCHANGEABLE: Final = frozenset({"name", "target", "mode"})
"""Fields of a policy that an update leaves as they are."""
SET_BY_SERVER: Final = ("etag", "create_time", "update_time", "created_by")


class ScalerServicer(stubs.ScalerServiceServicer):
    """Serves the contract of policies and what they decide."""

    def __init__(
        self, policies: Policies, queries: Queries, watches: Watches, formulas: Evaluate | None, clock: Clock
    ) -> None:
        self._policies = policies
        self._queries = queries
        self._watches = watches
        self._formulas = formulas
        self._clock = clock

    # --- policies

    async def CreateScalingPolicy(
        self,
        request: pb.CreateScalingPolicyRequest,
        context: Context[pb.CreateScalingPolicyRequest, pb.CreateScalingPolicyResponse],
    ) -> pb.CreateScalingPolicyResponse:
        """Record a policy."""
        audited_as(request.policy.name)
        _judge_times(request.policy)
        new = NewPolicy(policy_id(request.policy.name), policy_of(request.policy), document_of(request.policy))
        return pb.CreateScalingPolicyResponse(policy=_message(await self._policies.create(new, call_of(request))))

    async def GetScalingPolicy(
        self,
        request: pb.GetScalingPolicyRequest,
        context: Context[pb.GetScalingPolicyRequest, pb.GetScalingPolicyResponse],
    ) -> pb.GetScalingPolicyResponse:
        """Return a policy."""
        return pb.GetScalingPolicyResponse(policy=_message(await self._policies.get(policy_id(request.name))))

    async def ListScalingPolicies(
        self,
        request: pb.ListScalingPoliciesRequest,
        context: Context[pb.ListScalingPoliciesRequest, pb.ListScalingPoliciesResponse],
    ) -> pb.ListScalingPoliciesResponse:
        """Return a page of policies."""
        size = page_size(request.page_size)
        page = await self._queries.policies(filter_=request.filter, token=request.page_token, size=size)
        return pb.ListScalingPoliciesResponse(policies=page.items, next_page_token=page.next_token)

    async def UpdateScalingPolicy(
        self,
        request: pb.UpdateScalingPolicyRequest,
        context: Context[pb.UpdateScalingPolicyRequest, pb.UpdateScalingPolicyResponse],
    ) -> pb.UpdateScalingPolicyResponse:
        """Change a policy."""
        audited_as(request.policy.name)
        _judge_times(request.policy)
        fields = _fields(list(request.update_mask.paths))

        def merge(document: bytes) -> tuple[bytes, ScalingPolicy]:
            merged = policy_pb2.ScalingPolicy.FromString(document)
            for field in fields:
                _copy(field, request.policy, merged)
            return merged.SerializeToString(deterministic=True), policy_of(merged)

        policy = await self._policies.update(
            policy_id(request.policy.name),
            request.policy.etag,
            merge,
            # What is only checked changes nothing to be audited with: the server audits the call.
            Call(current_principal().name) if request.validate_only else call_of(request),
            only_check=request.validate_only,
        )
        return pb.UpdateScalingPolicyResponse(policy=_message(policy))

    async def DeleteScalingPolicy(
        self,
        request: pb.DeleteScalingPolicyRequest,
        context: Context[pb.DeleteScalingPolicyRequest, pb.DeleteScalingPolicyResponse],
    ) -> pb.DeleteScalingPolicyResponse:
        """Forget a policy."""
        audited_as(request.name)
        await self._policies.delete(policy_id(request.name), request.etag, call_of(request))
        return pb.DeleteScalingPolicyResponse()

    async def ValidateScalingPolicy(
        self,
        request: pb.ValidateScalingPolicyRequest,
        context: Context[pb.ValidateScalingPolicyRequest, pb.ValidateScalingPolicyResponse],
    ) -> pb.ValidateScalingPolicyResponse:
        """Say what is wrong with a policy; what goes beyond single fields once those are right."""
        found: Sequence[Violation] = shape_violations() or await self._policies.violations(policy_of(request.policy))
        return pb.ValidateScalingPolicyResponse(
            violations=[
                pb.PolicyViolation(field=one.field, description=one.description, reason=one.reason) for one in found
            ]
        )

    # --- modes

    async def PauseScaling(
        self, request: pb.PauseScalingRequest, context: Context[pb.PauseScalingRequest, pb.PauseScalingResponse]
    ) -> pb.PauseScalingResponse:
        """Keep the size."""
        mode = ModeSetting(Mode.PAUSED, moment(request, "until"), reason=request.reason)
        return pb.PauseScalingResponse(policy=await self._set_mode(request, mode))

    async def ResumeScaling(
        self, request: pb.ResumeScalingRequest, context: Context[pb.ResumeScalingRequest, pb.ResumeScalingResponse]
    ) -> pb.ResumeScalingResponse:
        """End whatever mode there is, and a hold."""
        mode = ModeSetting(Mode.ACTIVE, reason=request.reason)
        return pb.ResumeScalingResponse(policy=await self._set_mode(request, mode, ends_hold=True))

    async def SetScalingMode(
        self, request: pb.SetScalingModeRequest, context: Context[pb.SetScalingModeRequest, pb.SetScalingModeResponse]
    ) -> pb.SetScalingModeResponse:
        """Set what may be done with decisions."""
        mode = ModeSetting(MODES.value(request.mode), moment(request, "until"), reason=request.reason)
        return pb.SetScalingModeResponse(policy=await self._set_mode(request, mode))

    async def _set_mode(self, request: Any, mode: ModeSetting, *, ends_hold: bool = False) -> policy_pb2.ScalingPolicy:
        audited_as(request.name, mode=mode.mode.value)
        record = await self._policies.set_mode(
            policy_id(request.name), mode, request.etag, call_of(request), ends_hold=ends_hold
        )
        return _message(record)

    # --- decisions

    async def Evaluate(
        self, request: pb.EvaluateRequest, context: Context[pb.EvaluateRequest, pb.EvaluateResponse]
    ) -> pb.EvaluateResponse:
        """Say what would be decided now."""
        loaded, sight, outcome = await self._policies.evaluate(policy_id(request.name))
        return pb.EvaluateResponse(
            outcome=outcome_message(sight.policy, sight.snapshot, outcome),
            snapshot=snapshot_message(sight.snapshot),
            state=state_text(loaded.target.state or State()),
        )

    async def EvaluateAndScale(
        self,
        request: pb.EvaluateAndScaleRequest,
        context: Context[pb.EvaluateAndScaleRequest, pb.EvaluateAndScaleResponse],
    ) -> pb.EvaluateAndScaleResponse:
        """Have the target looked at now."""
        audited_as(request.name)
        activity = await self._policies.evaluate_and_scale(policy_id(request.name), call_of(request))
        return pb.EvaluateAndScaleResponse(activity=activity_message(activity, steps=True))

    async def EvaluateSnapshot(
        self,
        request: pb.EvaluateSnapshotRequest,
        context: Context[pb.EvaluateSnapshotRequest, pb.EvaluateSnapshotResponse],
    ) -> pb.EvaluateSnapshotResponse:
        """Decide about what the caller brings."""
        _judge_times(request.policy)
        policy = policy_of(request.policy)
        if found := self._policies.rules(policy):
            raise InvalidInput(found, reason="POLICY_INVALID")
        snapshot = _snapshot_of(request, self._clock)
        outcome = decide(policy, snapshot, state_of(request.state), self._formulas)
        return pb.EvaluateSnapshotResponse(outcome=outcome_message(policy, snapshot, outcome))

    async def SetDesiredCapacity(
        self,
        request: pb.SetDesiredCapacityRequest,
        context: Context[pb.SetDesiredCapacityRequest, pb.SetDesiredCapacityResponse],
    ) -> pb.SetDesiredCapacityResponse:
        """Record a size that a person wants."""
        audited_as(request.name, replicas=str(request.replicas))
        wish = SizeWish(
            policy=policy_id(request.name),
            replicas=request.replicas,
            hold_until=moment(request, "hold_until"),
            expected=request.expected_replicas if request.HasField("expected_replicas") else None,
            reason=request.reason,
        )
        activity = await self._policies.set_size(wish, call_of(request))
        return pb.SetDesiredCapacityResponse(activity=activity_message(activity))

    # --- reading

    async def GetScalingStatus(
        self,
        request: pb.GetScalingStatusRequest,
        context: Context[pb.GetScalingStatusRequest, pb.GetScalingStatusResponse],
    ) -> pb.GetScalingStatusResponse:
        """Return how a target stands."""
        standing = await self._policies.standing(policy_id(request.name))
        status = status_message(standing.record, standing.target, standing.last, self._clock.now())
        return pb.GetScalingStatusResponse(status=status)

    def WatchScalingStatus(
        self,
        request: pb.WatchScalingStatusRequest,
        context: Context[pb.WatchScalingStatusRequest, pb.WatchScalingStatusResponse],
    ) -> AsyncIterator[Any]:
        """Stream how targets stand."""
        return self._watches.follow(request)

    async def ListScalingActivities(
        self,
        request: pb.ListScalingActivitiesRequest,
        context: Context[pb.ListScalingActivitiesRequest, pb.ListScalingActivitiesResponse],
    ) -> pb.ListScalingActivitiesResponse:
        """Return a page of activities."""
        page = await self._queries.activities(
            policy_id(request.parent),
            filter_=request.filter,
            token=request.page_token,
            size=page_size(request.page_size),
        )
        return pb.ListScalingActivitiesResponse(activities=page.items, next_page_token=page.next_token)

    async def GetScalingActivity(
        self,
        request: pb.GetScalingActivityRequest,
        context: Context[pb.GetScalingActivityRequest, pb.GetScalingActivityResponse],
    ) -> pb.GetScalingActivityResponse:
        """Return one activity."""
        activity = await self._policies.activity(*activity_ids(request.name))
        return pb.GetScalingActivityResponse(activity=activity_message(activity))

    async def ExplainScalingActivity(
        self,
        request: pb.ExplainScalingActivityRequest,
        context: Context[pb.ExplainScalingActivityRequest, pb.ExplainScalingActivityResponse],
    ) -> pb.ExplainScalingActivityResponse:
        """Return one activity with all that led to it."""
        activity = await self._policies.activity(*activity_ids(request.name))
        return pb.ExplainScalingActivityResponse(
            activity=activity_message(activity, steps=True, snapshot=True), lines=lines_of(activity)
        )


def document_of(message: policy_pb2.ScalingPolicy) -> bytes:
    """What is kept of a policy: without what the server says of it."""
    kept = policy_pb2.ScalingPolicy()
    kept.CopyFrom(message)
    for field in SET_BY_SERVER:
        kept.ClearField(field)
    kept.mode.ClearField("author")
    return kept.SerializeToString(deterministic=True)


def _message(record: PolicyRecord) -> policy_pb2.ScalingPolicy:
    return recorded_message(record, mode_message(record.policy.mode))


def _fields(paths: Sequence[str]) -> list[str]:
    """Fields that an update changes. Raises InvalidInput."""
    known = [field.name for field in policy_pb2.ScalingPolicy.DESCRIPTOR.fields]
    changeable = [name for name in known if name not in UNCHANGEABLE and name not in SET_BY_SERVER]
    wrong = [path for path in paths if path not in changeable]
    if wrong:
        told = f"names {', '.join(wrong)}; what can be changed is {', '.join(changeable)}"
        raise InvalidInput([Violation("update_mask", told, "UNKNOWN_FIELD")])
    return list(paths) or changeable


def _copy(field: str, source: Message, destination: Message) -> None:
    """Let one field of a message be what it is in another."""
    destination.ClearField(field)
    part = type(source)()
    part.CopyFrom(source)
    for descriptor, _ in source.ListFields():
        if descriptor.name != field:
            part.ClearField(descriptor.name)
    destination.MergeFrom(part)


def _judge_times(policy: policy_pb2.ScalingPolicy) -> None:
    """Raises InvalidInput (the end of a mode that no calendar holds)."""
    try:
        moment(policy.mode, "until")
    except InvalidInput as error:
        raise InvalidInput([one.below("policy.mode") for one in error.violations]) from error


def _snapshot_of(request: pb.EvaluateSnapshotRequest, clock: Clock) -> Any:
    try:
        return snapshot_of(request.snapshot, clock.now())
    except (ValueError, OverflowError) as error:
        raise InvalidInput([Violation("snapshot", f"holds a time that no calendar has: {error}", "RANGE")]) from error
