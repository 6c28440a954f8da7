"""Fixtures of the stories that are told with real processes."""

from __future__ import annotations

from deployer import deployer, start_deployer

__all__ = ["deployer", "start_deployer"]
