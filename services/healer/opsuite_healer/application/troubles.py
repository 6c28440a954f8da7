"""Where trouble is told: by checks and alerts, to whoever opens incidents."""

from __future__ import annotations

from datetime import datetime
from typing import Protocol

from opsuite_healer.domain.trouble import Trouble


class Troubles(Protocol):
    """Hears of trouble inside the transaction of whoever found it. Telling the same again is safe, and counts."""

    def found(self, trouble: Trouble) -> None:
        """There is trouble, or it still goes on."""

    def gone(self, key: str, at: datetime, reason: str) -> None:
        """The trouble of that key is over, as far as its finder can see. One that is not known is fine."""
