"""What a metric from a server of KEDA's external scaler contract holds as its query: JSON with fixed names."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field

from opsuite_kernel.errors import InvalidInput, Violation


@dataclass(frozen=True, slots=True)
class KedaQuery:
    """Which server is asked for which metric, and what it is told."""

    address: str
    """host:port."""
    metric: str = ""
    """Empty: the first that the server names."""
    metadata: Mapping[str, str] = field(default_factory=dict)
    tls: bool = False
    object_name: str = ""
    """Name of the ScaledObject that the server is told; empty: that of the target."""
    namespace: str = ""

    def as_text(self) -> str:
        """The same text for equal queries."""
        return json.dumps(asdict(self), sort_keys=True, separators=(",", ":"))

    @classmethod
    def of(cls, text: str) -> KedaQuery:
        """The query that a text holds. Raises InvalidInput (field `query`)."""
        try:
            known = json.loads(text)
            return cls(**known)
        except (ValueError, TypeError) as error:
            raise InvalidInput([Violation("query", f"is no question to an external scaler: {error}")]) from error
