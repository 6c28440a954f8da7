"""What people want to be left alone with, as a test says."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime

from opsuite_healer.application.quiet import Hush
from opsuite_kernel.errors import OpsuiteError


class FakeQuiet:
    """Fits `opsuite_healer.application.quiet.Quiet`; quiet for everything, or for nothing."""

    def __init__(self, *notifications: str) -> None:
        self.hush = Hush(notifications)
        self.failure: OpsuiteError | None = None
        """While set, nobody can tell."""

    async def of(self, labels: Mapping[str, str], now: datetime) -> Hush:
        if self.failure is not None:
            raise self.failure
        return self.hush
