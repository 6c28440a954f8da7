"""Messages to people and programs, and where they go.

Imports only the standard library, so application code may use it. A message is told through channels; each pair of the
two is a delivery, which stands in the outbox of a service (`outbox`) until it was sent or given up.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import Enum
from typing import Final, Protocol

TITLE_LIMIT: Final = 200
"""Characters of a title; it has to fit the subject of an e-mail."""

PAGERDUTY_URL: Final = "https://events.pagerduty.com/v2/enqueue"

_EVENT: Final = re.compile(r"[A-Z][A-Z0-9_]{0,99}")
_ADDRESS: Final = re.compile(r"[^\s@,;:<>()\[\]\\\"]+@[A-Za-z0-9.-]+")


class Severity(Enum):
    """How much attention a message wants."""

    INFO = "info"
    SUCCESS = "success"
    WARNING = "warning"
    ERROR = "error"
    CRITICAL = "critical"


class Phase(Enum):
    """Where what a message tells of stands, for receivers that keep an alert of their own for each key."""

    TRIGGERED = "trigger"
    ACKNOWLEDGED = "acknowledge"
    RESOLVED = "resolve"


@dataclass(frozen=True, slots=True)
class Message:
    """Something that happened, in the words of whoever tells it. Holds no secret."""

    event: str
    """For programs, in upper case: `DEPLOYMENT_ROLLED_BACK`."""
    title: str
    """One line of printable characters, at most 200."""
    text: str
    time: datetime
    """When it happened; aware."""
    key: str
    """What it is about; equal for all messages about one deployment or incident, so that receivers can group them."""
    severity: Severity = Severity.INFO
    fields: Mapping[str, str] = field(default_factory=dict, hash=False)
    """Facts by name, in the order they are shown."""
    url: str = ""
    """Where to read more; empty means nowhere."""
    phase: Phase = Phase.TRIGGERED
    source: str = ""
    """What is in trouble, in one name: "kubernetes/shop/checkout"; empty means the sender."""

    def __post_init__(self) -> None:
        if not _EVENT.fullmatch(self.event):
            raise ValueError("an event is named in upper case, digits and underscores")
        if not self.title.isprintable() or not 1 <= len(self.title) <= TITLE_LIMIT:
            raise ValueError(f"a title is one printable line of 1 to {TITLE_LIMIT} characters")
        if self.time.tzinfo is None:
            raise ValueError("the time of a message is aware")


@dataclass(frozen=True, slots=True)
class EnvSecret:
    """A secret in an environment variable of the service."""

    name: str


@dataclass(frozen=True, slots=True)
class FileSecret:
    """A secret in a file below the service's secrets directory."""

    path: str


SecretRef = EnvSecret | FileSecret
"""Where a secret is found when it is needed."""


@dataclass(frozen=True, slots=True)
class WebhookChannel:
    """An HTTP POST of JSON, signed where a secret is given."""

    url: str
    secret: SecretRef | None = None


@dataclass(frozen=True, slots=True)
class SlackChannel:
    """An incoming webhook of Slack, Mattermost or whatever understands the same; its URL is a secret."""

    url: SecretRef


@dataclass(frozen=True, slots=True)
class EmailChannel:
    """An e-mail through the SMTP server of the service's settings."""

    to: tuple[str, ...]
    """Bare addresses: `ops@example.org`."""

    def __post_init__(self) -> None:
        if not self.to or not all(_ADDRESS.fullmatch(address) for address in self.to):
            raise ValueError("an e-mail needs bare addresses such as ops@example.org")


@dataclass(frozen=True, slots=True)
class PagerDutyChannel:
    """A service of PagerDuty, or of whatever understands its Events API v2."""

    routing_key: SecretRef
    """Integration key of 32 characters."""
    url: str = PAGERDUTY_URL


Channel = WebhookChannel | SlackChannel | EmailChannel | PagerDutyChannel


@dataclass(frozen=True, slots=True)
class Sent:
    """The receiver has taken it."""


@dataclass(frozen=True, slots=True)
class NotNow:
    """Not this time; worth trying again."""

    reason: str
    """For people; without secrets and without what the receiver sent."""
    retry_after: timedelta | None = None
    """How long the receiver asks to be left alone."""


@dataclass(frozen=True, slots=True)
class Refused:
    """Trying again as it is would change nothing."""

    reason: str
    """For people; without secrets and without what the receiver sent."""


SendResult = Sent | NotNow | Refused


class Sender(Protocol):
    """Sends one message through one channel, once."""

    async def send(self, delivery_id: str, channel: Channel, message: Message) -> SendResult:
        """What came of it, within some seconds; never raises because of the receiver.

        The id goes along, equal at every try, so that the receiver can tell a repetition: header `X-Opsuite-Delivery`,
        and in an e-mail also its Message-ID.
        """
