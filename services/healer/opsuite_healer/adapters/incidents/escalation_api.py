"""EscalationService: who is told of incidents, and when."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Final

import grpc
from google.protobuf.message import Message

from opsuite.healer.v1 import escalation_pb2
from opsuite.healer.v1 import escalation_service_pb2 as pb
from opsuite.healer.v1 import escalation_service_pb2_grpc as stubs
from opsuite_healer.adapters.incidents.escalation_messages import (
    channel_of,
    policy_of,
    policy_record_message,
    receiver_message,
)
from opsuite_healer.adapters.incidents.preview_messages import preview_response, supposed_of
from opsuite_healer.adapters.incidents.queries import Queries
from opsuite_healer.application.incidents.addressing import EscalationPolicies, Receivers
from opsuite_healer.application.incidents.ports import PolicyRecord, Receiver
from opsuite_healer.application.names import id_of
from opsuite_healer.domain.incidents.escalation import Policy
from opsuite_healer.domain.incidents.preview import DEFAULT_HORIZON, Impossible, preview
from opsuite_kernel.clock import Clock
from opsuite_kernel.errors import InvalidInput, Violation
from opsuite_notify.port import NotNow, Refused, Sent
from opsuite_rpc.access import current_principal
from opsuite_rpc.calls import audited_as
from opsuite_rpc.values import duration_of, moment, page_size
from opsuite_runs.calls import call_of

Context = grpc.aio.ServicerContext

SET_BY_SERVER: Final = frozenset({"name", "etag", "create_time", "update_time"})
CHANNELS: Final = frozenset({"webhook", "slack", "email", "pagerduty"})
PREVIEWED: Final = "preview"


class EscalationServicer(stubs.EscalationServiceServicer):
    """Serves the contract of escalation."""

    def __init__(self, receivers: Receivers, policies: EscalationPolicies, queries: Queries, clock: Clock) -> None:
        self._receivers = receivers
        self._policies = policies
        self._queries = queries
        self._clock = clock

    # --- receivers

    async def CreateReceiver(
        self, request: pb.CreateReceiverRequest, context: Context[pb.CreateReceiverRequest, pb.CreateReceiverResponse]
    ) -> pb.CreateReceiverResponse:
        """Record a receiver."""
        wanted = request.receiver
        audited_as(wanted.name)
        record = await self._receivers.create(
            id_of(wanted.name), channel_of(wanted), wanted.description, call_of(request)
        )
        return pb.CreateReceiverResponse(receiver=receiver_message(record))

    async def GetReceiver(
        self, request: pb.GetReceiverRequest, context: Context[pb.GetReceiverRequest, pb.GetReceiverResponse]
    ) -> pb.GetReceiverResponse:
        """Return a receiver."""
        return pb.GetReceiverResponse(receiver=receiver_message(await self._receivers.get(id_of(request.name))))

    async def ListReceivers(
        self, request: pb.ListReceiversRequest, context: Context[pb.ListReceiversRequest, pb.ListReceiversResponse]
    ) -> pb.ListReceiversResponse:
        """Return a page of receivers."""
        page = await self._queries.receivers(token=request.page_token, size=page_size(request.page_size))
        return pb.ListReceiversResponse(receivers=page.items, next_page_token=page.next_token)

    async def UpdateReceiver(
        self, request: pb.UpdateReceiverRequest, context: Context[pb.UpdateReceiverRequest, pb.UpdateReceiverResponse]
    ) -> pb.UpdateReceiverResponse:
        """Change a receiver."""
        wanted = request.receiver
        audited_as(wanted.name)
        fields = fields_of(wanted, request.update_mask.paths)
        channels = CHANNELS & set(fields)
        if channels and (given_channel := wanted.WhichOneof("channel")) not in channels:
            told = f"names {', '.join(sorted(channels))}, and the channel is {given_channel}"
            raise InvalidInput([Violation("update_mask", told, "OTHER_CHANNEL")])

        def change(present: Receiver) -> Receiver:
            channel = channel_of(wanted) if channels else present.channel
            description = wanted.description if "description" in fields else present.description
            return replace(present, channel=channel, description=description)

        record = await self._receivers.update(id_of(wanted.name), wanted.etag, change, call_of(request))
        return pb.UpdateReceiverResponse(receiver=receiver_message(record))

    async def DeleteReceiver(
        self, request: pb.DeleteReceiverRequest, context: Context[pb.DeleteReceiverRequest, pb.DeleteReceiverResponse]
    ) -> pb.DeleteReceiverResponse:
        """Forget a receiver."""
        audited_as(request.name)
        await self._receivers.delete(id_of(request.name), request.etag, call_of(request))
        return pb.DeleteReceiverResponse()

    async def TestNotify(
        self, request: pb.TestNotifyRequest, context: Context[pb.TestNotifyRequest, pb.TestNotifyResponse]
    ) -> pb.TestNotifyResponse:
        """Try a receiver."""
        audited_as(request.name)
        match await self._receivers.test(id_of(request.name), request.text, current_principal().name):
            case Sent():
                return pb.TestNotifyResponse(outcome=pb.TEST_OUTCOME_SENT)
            case NotNow(reason):
                return pb.TestNotifyResponse(outcome=pb.TEST_OUTCOME_NOT_NOW, error=reason)
            case Refused(reason):
                return pb.TestNotifyResponse(outcome=pb.TEST_OUTCOME_REFUSED, error=reason)

    # --- policies

    async def CreateEscalationPolicy(
        self,
        request: pb.CreateEscalationPolicyRequest,
        context: Context[pb.CreateEscalationPolicyRequest, pb.CreateEscalationPolicyResponse],
    ) -> pb.CreateEscalationPolicyResponse:
        """Record a policy."""
        wanted = request.policy
        audited_as(wanted.name)
        record = await self._policies.create(policy_of(wanted), wanted.description, call_of(request))
        return pb.CreateEscalationPolicyResponse(policy=policy_record_message(record))

    async def GetEscalationPolicy(
        self,
        request: pb.GetEscalationPolicyRequest,
        context: Context[pb.GetEscalationPolicyRequest, pb.GetEscalationPolicyResponse],
    ) -> pb.GetEscalationPolicyResponse:
        """Return a policy."""
        record = await self._policies.get(id_of(request.name))
        return pb.GetEscalationPolicyResponse(policy=policy_record_message(record))

    async def ListEscalationPolicies(
        self,
        request: pb.ListEscalationPoliciesRequest,
        context: Context[pb.ListEscalationPoliciesRequest, pb.ListEscalationPoliciesResponse],
    ) -> pb.ListEscalationPoliciesResponse:
        """Return a page of policies."""
        page = await self._queries.policies(token=request.page_token, size=page_size(request.page_size))
        return pb.ListEscalationPoliciesResponse(policies=page.items, next_page_token=page.next_token)

    async def UpdateEscalationPolicy(
        self,
        request: pb.UpdateEscalationPolicyRequest,
        context: Context[pb.UpdateEscalationPolicyRequest, pb.UpdateEscalationPolicyResponse],
    ) -> pb.UpdateEscalationPolicyResponse:
        """Change a policy."""
        wanted = request.policy
        audited_as(wanted.name)
        fields = fields_of(wanted, request.update_mask.paths)

        def change(present: PolicyRecord) -> tuple[Policy, str]:
            merged = escalation_pb2.EscalationPolicy()
            merged.CopyFrom(policy_record_message(present))
            for field in fields:
                copy_field(field, wanted, merged)
            return policy_of(merged), merged.description

        record = await self._policies.update(id_of(wanted.name), wanted.etag, change, call_of(request))
        return pb.UpdateEscalationPolicyResponse(policy=policy_record_message(record))

    async def DeleteEscalationPolicy(
        self,
        request: pb.DeleteEscalationPolicyRequest,
        context: Context[pb.DeleteEscalationPolicyRequest, pb.DeleteEscalationPolicyResponse],
    ) -> pb.DeleteEscalationPolicyResponse:
        """Forget a policy."""
        audited_as(request.name)
        await self._policies.delete(id_of(request.name), request.etag, call_of(request))
        return pb.DeleteEscalationPolicyResponse()

    async def PreviewEscalation(
        self,
        request: pb.PreviewEscalationRequest,
        context: Context[pb.PreviewEscalationRequest, pb.PreviewEscalationResponse],
    ) -> pb.PreviewEscalationResponse:
        """Say what would happen to an incident that the caller makes up."""
        if request.HasField("policy") == bool(request.policy_name):
            told = "exactly one of policy and policy_name says how it is escalated"
            raise InvalidInput([Violation("policy", told, "EXACTLY_ONE")])
        opened_at = moment(request, "open_time") or self._clock.now()
        supposed = supposed_of(request, opened_at)
        policy = policy_of(request.policy)
        if request.policy_name:
            policy = (await self._policies.get(id_of(request.policy_name))).policy
        horizon = duration_of(request, "horizon", DEFAULT_HORIZON)
        try:
            found = preview(policy, opened_at, supposed, incident=request.incident or PREVIEWED, horizon=horizon)
        except Impossible as error:
            raise InvalidInput([Violation(f"events[{error.index}]", error.why, "IMPOSSIBLE")]) from error
        except OverflowError as error:
            raise InvalidInput([Violation("open_time", "leaves no time after it", "RANGE")]) from error
        return preview_response(found)


def fields_of(message: Message, paths: Sequence[str]) -> list[str]:
    """Fields that an update changes: those of the mask, or all that can be changed. Raises InvalidInput."""
    changeable = [field.name for field in message.DESCRIPTOR.fields if field.name not in SET_BY_SERVER]
    wrong = [path for path in paths if path not in changeable]
    if wrong:
        told = f"names {', '.join(wrong)}; what can be changed is {', '.join(changeable)}"
        raise InvalidInput([Violation("update_mask", told, "UNKNOWN_FIELD")])
    return list(paths) or changeable


def copy_field(field: str, source: Message, destination: Message) -> None:
    """Let one field of a message be what it is in another."""
    destination.ClearField(field)
    part = type(source)()
    part.CopyFrom(source)
    for descriptor, _ in source.ListFields():
        if descriptor.name != field:
            part.ClearField(descriptor.name)
    destination.MergeFrom(part)
