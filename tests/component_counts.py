"""A whole run in CI fails unless enough tests of each component that counts have run and passed.

A test that is not collected, not selected or skipped says nothing; that so many have spoken is what this checks. With
xdist the count is made where all reports arrive. Nothing is checked when only a part of the suite was asked for.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Generator, Mapping
from typing import Final

import pytest

MINIMUM: Final = {"docker": 105, "kubernetes": 195}
"""Tests that have to pass in `make test`. Who adds many raises it; who takes some away says so by lowering it."""

COMPONENT_OF: Final = {"docker_url": "docker", "tiny_image": "docker", "control_plane": "kubernetes"}
"""Fixtures that are a component; tests that come to one in another way carry the mark `needs`."""
PROPERTY: Final = "component"
WHOLE: Final = ("", "not long")
"""Selections by mark that leave out nothing that counts."""
NARROWING: Final = ("keyword", "deselect", "ignore", "ignore_glob", "lf", "stepwise", "collectonly")
"""Options of pytest with which a part of the suite is asked for."""


def install(config: pytest.Config, minimum: Mapping[str, int] = MINIMUM) -> None:
    """Count in this session; to be called by `pytest_configure`."""
    config.pluginmanager.register(ComponentCounts(config, minimum), "component-counts")


class ComponentCounts:
    """Counts in one session, or tells the session that counts."""

    def __init__(self, config: pytest.Config, minimum: Mapping[str, int]) -> None:
        self._judges = os.environ.get("CI") == "true" and not hasattr(config, "workerinput") and _is_whole(config)
        self._minimum = minimum
        self._passed = Counter[str]()

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_makereport(self, item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
        """Write into the report of a test which components it has talked to."""
        report = yield
        if report.when == "call":
            report.user_properties += [(PROPERTY, component) for component in sorted(_components(item))]
        return report

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Count one test that has passed."""
        if report.when == "call" and report.passed:
            self._passed.update(str(value) for name, value in report.user_properties if name == PROPERTY)

    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        """Fail the session if too few have."""
        if self._shortfalls() and session.exitstatus == pytest.ExitCode.OK:
            session.exitstatus = pytest.ExitCode.TESTS_FAILED

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        """Say which are too few."""
        for shortfall in self._shortfalls():
            terminalreporter.write_line(f"TOO FEW TESTS: {shortfall}", red=True, bold=True)

    def _shortfalls(self) -> list[str]:
        if not self._judges:
            return []
        return [
            f"{self._passed[component]} of {component} have passed, {count} have to (tests/component_counts.py)"
            for component, count in self._minimum.items()
            if self._passed[component] < count
        ]


def _components(item: pytest.Item) -> set[str]:
    """What a test talks to, by its marks and its fixtures."""
    marked = {str(name) for mark in item.iter_markers("needs") for name in mark.args}
    return marked | {COMPONENT_OF[name] for name in getattr(item, "fixturenames", ()) if name in COMPONENT_OF}


def _is_whole(config: pytest.Config) -> bool:
    """Whether everything was asked for: no paths, no names, no other selection by mark."""
    is_narrowed = any(config.getoption(name, None) for name in NARROWING)
    no_paths = config.args_source is pytest.Config.ArgsSource.TESTPATHS
    return no_paths and not is_narrowed and config.getoption("markexpr") in WHOLE
