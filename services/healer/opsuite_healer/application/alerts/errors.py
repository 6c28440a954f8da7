"""What can be wrong with a request about alerts in the present state."""

from __future__ import annotations

from typing import ClassVar

from opsuite_kernel.errors import Conflict, NotFound, Stale


class AlertNotFound(NotFound):
    """There is no such alert, or it was cleared away."""

    def __init__(self, fingerprint: str) -> None:
        super().__init__("alert", f"alerts/{fingerprint}")


class SilenceNotFound(NotFound):
    """There is no such silence, or it was cleared away."""

    def __init__(self, silence: str) -> None:
        super().__init__("silence", f"silences/{silence}")


class SilenceExpired(Conflict):
    """It is over, and what is over stays as it was."""

    reason: ClassVar[str] = "SILENCE_EXPIRED"

    def __init__(self, silence: str) -> None:
        name = f"silences/{silence}"
        super().__init__(f"{name} is over: create another one", metadata={"name": name})


class EtagMismatch(Stale):
    """It was changed since the caller read it."""

    reason: ClassVar[str] = "ETAG_MISMATCH"

    def __init__(self, name: str, given: str, present: str) -> None:
        super().__init__(
            f"{name} has etag {present}, not {given}: read it again", metadata={"name": name, "etag": present}
        )
