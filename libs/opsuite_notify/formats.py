"""What a message looks like to each kind of receiver. Pure."""

from __future__ import annotations

import hashlib
import hmac
import json
from collections.abc import Mapping
from email.headerregistry import Address
from email.message import EmailMessage
from email.policy import SMTP
from email.utils import format_datetime
from typing import Any, Final

from opsuite_notify.port import Message, Severity

_COLORS: Final = {
    Severity.INFO: "#439fe0",
    Severity.SUCCESS: "good",
    Severity.WARNING: "warning",
    Severity.ERROR: "danger",
    Severity.CRITICAL: "danger",
}
_SLACK_TEXT_LIMIT: Final = 3000
_SLACK_FIELD_LIMIT: Final = 20


def webhook_body(message: Message) -> bytes:
    """The JSON of a webhook, in UTF-8."""
    return _json(
        {
            "event": message.event,
            "title": message.title,
            "text": message.text,
            "severity": message.severity.value,
            "time": message.time.isoformat(),
            "key": message.key,
            "url": message.url,
            "phase": message.phase.value,
            "fields": dict(message.fields),
        }
    )


def signature(secret: str, timestamp: int, body: bytes) -> str:
    """The value of `X-Opsuite-Signature`: HMAC-SHA256 of `<timestamp>.<body>`, so that neither can be exchanged."""
    return "sha256=" + hmac.new(secret.encode(), b"%d.%b" % (timestamp, body), hashlib.sha256).hexdigest()


def slack_body(message: Message) -> bytes:
    """The JSON of an incoming webhook, in the older attachments that Mattermost and Rocket.Chat understand too."""
    attachment = {
        "fallback": _escaped(message.title),
        "color": _COLORS[message.severity],
        "title": _escaped(message.title),
        "text": _escaped(message.text)[:_SLACK_TEXT_LIMIT],
        "fields": [
            {"title": _escaped(name), "value": _escaped(value)[:_SLACK_TEXT_LIMIT], "short": len(value) <= 40}
            for name, value in list(message.fields.items())[:_SLACK_FIELD_LIMIT]
        ],
        "ts": int(message.time.timestamp()),
    }
    if message.url:
        attachment["title_link"] = message.url
    return _json({"text": _escaped(message.title), "attachments": [attachment]})


def email(delivery_id: str, message: Message, sender: Address, to: tuple[str, ...]) -> EmailMessage:
    """A plain text e-mail. Line breaks in a header are refused by the header classes (ValueError)."""
    mail = EmailMessage(policy=SMTP)
    mail["From"] = sender
    mail["To"] = [Address(addr_spec=address) for address in to]
    mail["Subject"] = message.title
    mail["Date"] = format_datetime(message.time)
    mail["Message-ID"] = f"<{delivery_id}@{sender.domain}>"
    mail["Auto-Submitted"] = "auto-generated"
    mail["X-Opsuite-Delivery"] = delivery_id
    mail["X-Opsuite-Event"] = message.event
    mail.set_content(_plain_text(message))
    return mail


def _plain_text(message: Message) -> str:
    facts = "\n".join(f"{name}: {value}" for name, value in message.fields.items())
    return "\n\n".join(part for part in (message.text, facts, message.url) if part) + "\n"


def _escaped(text: str) -> str:
    """Text in which nobody can hide a link or a call for everybody's attention (`<!channel>`)."""
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def _json(content: Mapping[str, Any]) -> bytes:
    return json.dumps(content, ensure_ascii=False, separators=(",", ":")).encode()
