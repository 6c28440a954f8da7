"""What can be wrong with a request in the present state."""

from __future__ import annotations

from typing import ClassVar

from opsuite_kernel.errors import Conflict, NotFound, Stale


class RunbookNotFound(NotFound):
    """There is no such runbook."""

    def __init__(self, runbook: str) -> None:
        super().__init__("runbook", f"runbooks/{runbook}")


class ExecutionNotFound(NotFound):
    """There is no such execution, or it was cleared away."""

    def __init__(self, name: str) -> None:
        super().__init__("execution", name)


class RunbookExists(Conflict):
    """The name is taken."""

    reason: ClassVar[str] = "RUNBOOK_EXISTS"

    def __init__(self, runbook: str) -> None:
        super().__init__(f"runbooks/{runbook} exists", metadata={"runbook": f"runbooks/{runbook}"})


class EtagMismatch(Stale):
    """It was changed since it was read."""

    reason: ClassVar[str] = "ETAG_MISMATCH"

    def __init__(self, name: str, given: str, present: str) -> None:
        super().__init__(
            f"{name} has changed since it was read: its etag is {present}, not {given}",
            metadata={"name": name, "given": given, "present": present},
        )


class TooDeep(Conflict):
    """Runbooks that run runbooks do so without end."""

    reason: ClassVar[str] = "RUNBOOKS_TOO_DEEP"
