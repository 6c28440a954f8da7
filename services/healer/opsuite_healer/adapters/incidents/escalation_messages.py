"""Receivers and escalation policies as messages of the contract, both ways."""

from __future__ import annotations

from datetime import timedelta
from typing import Final

from opsuite.common.v1 import notification_pb2
from opsuite.healer.v1 import escalation_pb2 as pb
from opsuite_healer.adapters.target_messages import severity_from, severity_message
from opsuite_healer.application.incidents.ports import PolicyRecord, Receiver
from opsuite_healer.application.names import ESCALATION_POLICIES, id_of
from opsuite_healer.domain.incidents.escalation import (
    DEFAULT_ACK_TIMEOUT,
    DEFAULT_BEGIN_AFTER,
    DEFAULT_LOOPS,
    DEFAULT_PRIORITY,
    DEFAULT_RESOLVE_TIMEOUT,
    DEFAULT_WAIT,
    Level,
    Policy,
    Strategy,
)
from opsuite_healer.domain.trouble import Severity
from opsuite_notify.port import (
    PAGERDUTY_URL,
    Channel,
    EmailChannel,
    EnvSecret,
    FileSecret,
    PagerDutyChannel,
    SecretRef,
    SlackChannel,
    WebhookChannel,
)
from opsuite_rpc.values import duration, duration_of, given, timestamp

RECEIVERS: Final = "receivers/"


def receiver_name(receiver: str) -> str:
    """The resource name of a receiver."""
    return RECEIVERS + receiver


# --- receivers


def channel_of(message: pb.Receiver) -> Channel:
    """The channel of a receiver of correct shape."""
    match message.WhichOneof("channel"):
        case "webhook":
            hook = message.webhook
            return WebhookChannel(hook.url, _secret_of(hook.secret) if hook.HasField("secret") else None)
        case "slack":
            return SlackChannel(_secret_of(message.slack.url))
        case "email":
            return EmailChannel(tuple(message.email.to))
        case _:
            duty = message.pagerduty
            return PagerDutyChannel(_secret_of(duty.routing_key), duty.url or PAGERDUTY_URL)


def receiver_message(receiver: Receiver) -> pb.Receiver:
    """A receiver as a message."""
    message = pb.Receiver(
        name=receiver_name(receiver.id),
        description=receiver.description,
        etag=receiver.etag,
        create_time=timestamp(receiver.created_at),
        update_time=timestamp(receiver.updated_at),
    )
    match receiver.channel:
        case WebhookChannel(url, secret):
            message.webhook.url = url
            if secret is not None:
                message.webhook.secret.CopyFrom(_secret_message(secret))
        case SlackChannel(url_ref):
            message.slack.url.CopyFrom(_secret_message(url_ref))
        case EmailChannel(to):
            message.email.to.extend(to)
        case PagerDutyChannel(routing_key, url):
            message.pagerduty.routing_key.CopyFrom(_secret_message(routing_key))
            message.pagerduty.url = "" if url == PAGERDUTY_URL else url
    return message


def _secret_of(message: notification_pb2.SecretRef) -> SecretRef:
    return EnvSecret(message.env) if message.WhichOneof("source") == "env" else FileSecret(message.file)


def _secret_message(ref: SecretRef) -> notification_pb2.SecretRef:
    if isinstance(ref, EnvSecret):
        return notification_pb2.SecretRef(env=ref.name)
    return notification_pb2.SecretRef(file=ref.path)


# --- policies


def policy_of(message: pb.EscalationPolicy) -> Policy:
    """The policy that a message of correct shape describes."""
    resolve_timeout = duration_of(message, "resolve_timeout", DEFAULT_RESOLVE_TIMEOUT)
    return Policy(
        id=id_of(message.name),
        levels=tuple(_level_of(level) for level in message.levels),
        num_loops=given(message, "num_loops", DEFAULT_LOOPS),
        begin_after=duration_of(message, "begin_after", DEFAULT_BEGIN_AFTER),
        ack_timeout=duration_of(message, "ack_timeout", DEFAULT_ACK_TIMEOUT) or None,
        resolve_timeout=None if message.keep_open else resolve_timeout,
        match=dict(message.match),
        min_severity=severity_from(message.min_severity, Severity.INFO),
        priority=given(message, "priority", DEFAULT_PRIORITY),
    )


def policy_message(policy: Policy) -> pb.EscalationPolicy:
    """A policy as a message, every default written out."""
    return pb.EscalationPolicy(
        name=f"{ESCALATION_POLICIES}{policy.id}",
        levels=[
            pb.EscalationLevel(
                receivers=[receiver_name(one) for one in level.receivers],
                wait=duration(level.wait),
                strategy=pb.EscalationStrategy.Value(f"ESCALATION_STRATEGY_{level.strategy.value}"),
            )
            for level in policy.levels
        ],
        num_loops=policy.num_loops,
        begin_after=duration(policy.begin_after),
        ack_timeout=duration(policy.ack_timeout or timedelta()),
        resolve_timeout=duration(policy.resolve_timeout),
        keep_open=policy.resolve_timeout is None,
        match=policy.match,
        min_severity=severity_message(policy.min_severity),
        priority=policy.priority,
    )


def policy_record_message(record: PolicyRecord) -> pb.EscalationPolicy:
    """A recorded policy as a message."""
    message = policy_message(record.policy)
    message.description = record.description
    message.etag = record.etag
    message.create_time.FromDatetime(record.created_at)
    message.update_time.FromDatetime(record.updated_at)
    return message


def _level_of(message: pb.EscalationLevel) -> Level:
    is_round_robin = message.strategy == pb.ESCALATION_STRATEGY_ROUND_ROBIN
    return Level(
        receivers=tuple(id_of(name) for name in message.receivers),
        wait=duration_of(message, "wait", DEFAULT_WAIT),
        strategy=Strategy.ROUND_ROBIN if is_round_robin else Strategy.EVERYBODY,
    )
