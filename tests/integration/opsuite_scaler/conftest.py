"""Fixtures of tests against a real scaler."""

from __future__ import annotations

from scaler import scaler

__all__ = ["scaler"]
