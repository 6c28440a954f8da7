"""Messages as PagerDuty's Events API v2 takes them (POST /v2/enqueue). Pure.

The alert is the message's key: what is told of one key triggers, acknowledges and resolves one alert. Limits are the
API's own: a summary of 1,024 characters, a key of 255, 512 KB in all.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any, Final

from opsuite_notify.port import Message, Phase, Severity

SUMMARY_LIMIT: Final = 1024
KEY_LIMIT: Final = 255
DETAIL_LIMIT: Final = 8_000
"""Characters of one detail; with that none of our messages comes near the limit of the whole."""
CLIENT: Final = "opsuite"

_SEVERITIES: Final[Mapping[Severity, str]] = {
    Severity.INFO: "info",
    Severity.SUCCESS: "info",
    Severity.WARNING: "warning",
    Severity.ERROR: "error",
    Severity.CRITICAL: "critical",
}


def pagerduty_body(routing_key: str, message: Message) -> bytes:
    """The JSON of an event. What acknowledges or resolves carries no payload, as the API wants it."""
    event: dict[str, Any] = {
        "routing_key": routing_key,
        "event_action": message.phase.value,
        "dedup_key": dedup_key(message.key),
    }
    if message.phase is Phase.TRIGGERED:
        event |= {"payload": _payload(message), "client": CLIENT}
        if message.url:
            event |= {"client_url": message.url, "links": [{"href": message.url, "text": "Read more"}]}
    return json.dumps(event, ensure_ascii=False, separators=(",", ":")).encode()


def dedup_key(key: str) -> str:
    """A key that the API takes: the key itself, or a digest of one that is too long."""
    return key if len(key) <= KEY_LIMIT else hashlib.sha256(key.encode()).hexdigest()


def _payload(message: Message) -> dict[str, Any]:
    details = {name: value[:DETAIL_LIMIT] for name, value in message.fields.items()}
    return {
        "summary": message.title[:SUMMARY_LIMIT],
        "source": message.source or CLIENT,
        "severity": _SEVERITIES[message.severity],
        "timestamp": message.time.isoformat(timespec="milliseconds"),
        "class": message.event,
        "custom_details": {"text": message.text[:DETAIL_LIMIT], **details},
    }
