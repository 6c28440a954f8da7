"""What asking once comes to, before anybody has measured how long it took."""

from __future__ import annotations

from typing import NamedTuple

from opsuite_probes.port import Outcome


class Answer(NamedTuple):
    """An answer."""

    outcome: Outcome
    message: str
    """For people; holds nothing that the target sent except numbers and names."""
    value: float | None = None
    """The number that was asked for."""
