"""Calls the webhooks of hooks: a POST that says what is deployed, and an answer that says whether it may go on."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, Protocol

from opsuite_deployer.application.attempt import Attempt
from opsuite_deployer.application.ports import Machine
from opsuite_deployer.domain.pipeline import Webhook
from opsuite_deployer.domain.turn import Outcome, PartEnded
from opsuite_kernel.clock import Clock
from opsuite_notify.formats import signature
from opsuite_notify.port import SendResult, Sent


class Poster(Protocol):
    """Sends a body to a URL."""

    async def post(self, url: str, body: bytes, headers: Mapping[str, str]) -> SendResult:
        """What came of it; never raises because of the receiver, and never waits by a clock of its own."""


class Webhooks:
    """Calls webhooks through a poster."""

    def __init__(self, poster: Poster, machine: Machine, clock: Clock) -> None:
        self._poster = poster
        self._machine = machine
        self._clock = clock

    async def call(self, attempt: Attempt, webhook: Webhook) -> PartEnded:
        """Call one whose templates are filled. Raises InvalidInput (the secret is not there)."""
        body = json.dumps(_told(attempt, webhook), ensure_ascii=False, separators=(",", ":")).encode()
        result = await self._poster.post(webhook.url, body, self._headers(attempt, webhook, body))
        if isinstance(result, Sent):
            return PartEnded(attempt.key, attempt.number, Outcome.SUCCEEDED)
        return PartEnded(attempt.key, attempt.number, Outcome.FAILED, message=f"the webhook: {result.reason}")

    def _headers(self, attempt: Attempt, webhook: Webhook, body: bytes) -> dict[str, str]:
        timestamp = int(self._clock.now().timestamp())
        headers = {
            "X-Opsuite-Delivery": attempt.operation,
            "X-Opsuite-Event": "HOOK",
            "X-Opsuite-Timestamp": str(timestamp),
        }
        if webhook.secret is not None:
            headers["X-Opsuite-Signature"] = signature(self._machine.secret(webhook.secret), timestamp, body)
        return headers


def _told(attempt: Attempt, webhook: Webhook) -> dict[str, Any]:
    deployment = attempt.owned.deployment
    place = deployment.name.removesuffix(deployment.id)
    return {
        "name": attempt.step.name,
        "phase": attempt.stage,
        "deployment": deployment.name,
        "pipeline": f"pipelines/{deployment.pipeline}",
        "environment": deployment.environment,
        "version": deployment.version,
        "rollback_of": f"{place}{deployment.rollback_of}" if deployment.rollback_of else "",
        "status": (deployment.ending or deployment.status).value,
        "failure": deployment.failure.message if deployment.failure else "",
        "attempt": attempt.number,
        "metadata": dict(webhook.metadata),
    }
