"""Reports of simulations as bytes, so that equal ones can be told by their bytes."""

from __future__ import annotations

import json
from dataclasses import asdict


def as_bytes(report: object) -> bytes:
    """A report, or mappings and lists of them, as JSON."""
    return json.dumps(report, default=asdict, sort_keys=True, separators=(",", ":"), allow_nan=False).encode()
