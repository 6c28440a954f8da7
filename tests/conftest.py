"""Fixtures that every test may ask for, and how properties are sampled."""

from __future__ import annotations

import os
import signal

import component_counts
import hypothesis
import pytest
from postgres import own_postgres_cluster, postgres_cluster, postgres_store, postgres_url, sqlite_store, store

__all__ = ["own_postgres_cluster", "postgres_cluster", "postgres_store", "postgres_url", "sqlite_store", "store"]

# In CI the sample is always the same: what fails there fails again. Elsewhere every run explores.
# No test asserts a wall-clock time, so no example does either.
hypothesis.settings.register_profile("default", deadline=None)
hypothesis.settings.register_profile("ci", derandomize=True, deadline=None)
if os.environ.get("CI") == "true":
    hypothesis.settings.load_profile("ci")


def pytest_configure(config: pytest.Config) -> None:
    """See `component_counts`. Ctrl-C is tested too: a shell that began the tests in the background has it ignored."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    component_counts.install(config)
