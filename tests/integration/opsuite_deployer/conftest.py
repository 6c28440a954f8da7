"""Fixtures of tests against a real deployer."""

from __future__ import annotations

from deployer import deployer, start_deployer

__all__ = ["deployer", "start_deployer"]
