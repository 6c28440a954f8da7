"""Is told what remediation does: spans and metrics, without knowing what they are made with."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from typing import Protocol

from opsuite_healer.domain.remediation.remediation import Attempt, Remediation


class Observer(Protocol):
    """Makes spans and counts."""

    def begun(self, issue: str, incident: str, traceparent: str) -> str:
        """A remediation begins: where its trace goes on (W3C trace context); empty: nowhere."""

    def acting(self, remediation: Remediation, attempt: Attempt) -> AbstractContextManager[str]:
        """Around an action; gives the trace context that the action is to be called with."""

    def acted(self, action: str, outcome: str) -> None:
        """What came of an action, once that is recorded."""

    def refused(self, reason: str) -> None:
        """A brake has refused an action, once that is recorded."""

    def ended(self, remediation: Remediation) -> None:
        """A remediation is decided, once that is recorded."""


class NobodyObserves:
    """Fits Observer."""

    def begun(self, issue: str, incident: str, traceparent: str) -> str:
        """A remediation begins."""
        return traceparent

    def acting(self, remediation: Remediation, attempt: Attempt) -> AbstractContextManager[str]:
        """Around an action."""
        return nullcontext(remediation.traceparent)

    def acted(self, action: str, outcome: str) -> None:
        """What came of an action."""

    def refused(self, reason: str) -> None:
        """A brake has refused an action."""

    def ended(self, remediation: Remediation) -> None:
        """A remediation is decided."""
