"""Messages to people, written with what they tell of and sent afterwards, as often as it takes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from opsuite_notify.port import Message


class Messages(Protocol):
    """The outbox inside a transaction of the caller."""

    def send(self, receivers: Sequence[str], message: Message, *, about: str) -> Sequence[str]:
        """Tell receivers, by their ids, and return those that are not known.

        `about` is the resource that it tells of. What one receiver cannot take does not keep it from the others.
        """
