"""Sends a message the way its channel wants it."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from types import TracebackType
from typing import Final, Self

from opsuite_kernel.clock import Clock
from opsuite_kernel.errors import Denied, OpsuiteError
from opsuite_notify.formats import email, signature, slack_body, webhook_body
from opsuite_notify.http_post import HttpPoster
from opsuite_notify.pagerduty import pagerduty_body
from opsuite_notify.port import (
    Channel,
    EmailChannel,
    Message,
    NotNow,
    PagerDutyChannel,
    Refused,
    SendResult,
    SlackChannel,
    WebhookChannel,
)
from opsuite_notify.secrets import SecretSource
from opsuite_notify.smtp import SmtpMailer

DEFAULT_TIMEOUT: Final = timedelta(seconds=10)


class ChannelSender:
    """Fits `opsuite_notify.port.Sender`. Use as an async context manager, inside the loop that sends."""

    def __init__(
        self,
        secrets: SecretSource,
        clock: Clock,
        *,
        http: HttpPoster | None = None,
        smtp: SmtpMailer | None = None,
        timeout: timedelta = DEFAULT_TIMEOUT,
    ) -> None:
        """`http` None means one without limits; without `smtp`, e-mails are refused."""
        self._secrets = secrets
        self._clock = clock
        self._http = http or HttpPoster(clock)
        self._smtp = smtp
        self._timeout = timeout

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._http.close()

    async def send(self, delivery_id: str, channel: Channel, message: Message) -> SendResult:
        """What came of one try."""
        try:
            async with asyncio.timeout(self._timeout.total_seconds()):
                return await self._send(delivery_id, channel, message)
        except TimeoutError:
            return NotNow(f"no answer within {self._timeout.total_seconds():g} s")
        except Denied as error:
            return Refused(error.message)
        except OpsuiteError as error:  # a secret that is not there now may be at the next try
            return NotNow(error.message)

    async def _send(self, delivery_id: str, channel: Channel, message: Message) -> SendResult:
        match channel:
            case WebhookChannel():
                return await self._send_webhook(delivery_id, channel, message)
            case SlackChannel():
                return await self._http.post(self._secrets.resolve(channel.url).reveal(), slack_body(message), {})
            case PagerDutyChannel():
                key = self._secrets.resolve(channel.routing_key).reveal()
                return await self._http.post(channel.url, pagerduty_body(key, message), {})
            case EmailChannel():
                return await self._send_email(delivery_id, channel, message)

    async def _send_webhook(self, delivery_id: str, channel: WebhookChannel, message: Message) -> SendResult:
        body = webhook_body(message)
        timestamp = int(self._clock.now().timestamp())
        headers = {
            "X-Opsuite-Delivery": delivery_id,
            "X-Opsuite-Event": message.event,
            "X-Opsuite-Timestamp": str(timestamp),
        }
        if channel.secret is not None:
            key = self._secrets.resolve(channel.secret).reveal()
            headers["X-Opsuite-Signature"] = signature(key, timestamp, body)
        return await self._http.post(channel.url, body, headers)

    async def _send_email(self, delivery_id: str, channel: EmailChannel, message: Message) -> SendResult:
        if self._smtp is None:
            return Refused("the settings name no SMTP server")
        return await self._smtp.send(email(delivery_id, message, self._smtp.sender, channel.to))
