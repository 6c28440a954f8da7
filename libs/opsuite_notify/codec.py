"""Channels and messages as JSON values, for the columns of the outbox. Pure; reading gives back what was written."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from opsuite_notify.port import (
    Channel,
    EmailChannel,
    EnvSecret,
    FileSecret,
    Message,
    PagerDutyChannel,
    Phase,
    SecretRef,
    Severity,
    SlackChannel,
    WebhookChannel,
)

Json = dict[str, Any]


def channel_to_json(channel: Channel) -> Json:
    """A channel, for a JSON column. Secrets stay references."""
    match channel:
        case WebhookChannel(url, secret):
            return {"kind": "webhook", "url": url, "secret": _secret_to_json(secret) if secret else None}
        case SlackChannel(url):
            return {"kind": "slack", "url": _secret_to_json(url)}
        case EmailChannel(to):
            return {"kind": "email", "to": list(to)}
        case PagerDutyChannel(routing_key, url):
            return {"kind": "pagerduty", "routing_key": _secret_to_json(routing_key), "url": url}


def channel_from_json(value: Mapping[str, Any]) -> Channel:
    """The channel that was written. Raises: ValueError (a kind that this version does not know)."""
    match value["kind"]:
        case "webhook":
            secret = value["secret"]
            return WebhookChannel(value["url"], _secret_from_json(secret) if secret else None)
        case "slack":
            return SlackChannel(_secret_from_json(value["url"]))
        case "email":
            return EmailChannel(tuple(value["to"]))
        case "pagerduty":
            return PagerDutyChannel(_secret_from_json(value["routing_key"]), value["url"])
        case kind:
            raise ValueError(f"unknown kind of channel: {kind}")


def message_to_json(message: Message) -> Json:
    """A message, for a JSON column. The order of its fields is kept by a list: JSONB sorts the keys of objects."""
    return {
        "event": message.event,
        "title": message.title,
        "text": message.text,
        "time": message.time.isoformat(),
        "key": message.key,
        "severity": message.severity.value,
        "fields": [[name, value] for name, value in message.fields.items()],
        "url": message.url,
        "phase": message.phase.value,
        "source": message.source,
    }


def message_from_json(value: Mapping[str, Any]) -> Message:
    """The message that was written."""
    return Message(
        event=value["event"],
        title=value["title"],
        text=value["text"],
        time=datetime.fromisoformat(value["time"]),
        key=value["key"],
        severity=Severity(value["severity"]),
        fields=dict(value["fields"]),
        url=value["url"],
        phase=Phase(value.get("phase", Phase.TRIGGERED.value)),
        source=value.get("source", ""),
    )


def _secret_to_json(ref: SecretRef) -> Json:
    return {"env": ref.name} if isinstance(ref, EnvSecret) else {"file": ref.path}


def _secret_from_json(value: Mapping[str, Any]) -> SecretRef:
    return EnvSecret(value["env"]) if "env" in value else FileSecret(value["file"])
