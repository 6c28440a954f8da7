"""What can be wrong with a request about checks in the present state."""

from __future__ import annotations

from typing import ClassVar

from opsuite_healer.application.names import CHECKS
from opsuite_kernel.errors import Conflict, NotFound, Stale


class CheckNotFound(NotFound):
    """There is no such check."""

    def __init__(self, check: str) -> None:
        super().__init__("health check", CHECKS + check)


class NothingChecks(NotFound):
    """No check is about the target."""

    def __init__(self, target: str) -> None:
        super().__init__("health check of", target)


class CheckExists(Conflict):
    """The name is taken."""

    reason: ClassVar[str] = "CHECK_EXISTS"

    def __init__(self, check: str) -> None:
        super().__init__(f"{CHECKS}{check} exists", metadata={"check": CHECKS + check})


class EtagMismatch(Stale):
    """It was changed since the caller read it."""

    reason: ClassVar[str] = "ETAG_MISMATCH"

    def __init__(self, check: str, given: str, present: str) -> None:
        super().__init__(
            f"{CHECKS}{check} has etag {present}, not {given}: read it again",
            metadata={"name": CHECKS + check, "etag": present},
        )


class Overtaken(Exception):
    """Somebody has changed the check, or acted on its target, while it was asked: the answers count for nothing."""
