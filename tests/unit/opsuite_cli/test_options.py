"""Options that may stand anywhere."""

from __future__ import annotations

import pytest

from opsuite_cli.options import in_front


@pytest.mark.parametrize(
    ("typed", "read"),
    [
        (["health", "--address", "a:1"], ["--address", "a:1", "health"]),
        (["health", "--address=a:1"], ["--address=a:1", "health"]),
        (["deploy", "web", "1.0", "-o", "json", "--wait"], ["-o", "json", "deploy", "web", "1.0", "--wait"]),
        (["--json", "history"], ["--json", "history"]),
        (["history", "--json", "--token-file", "t"], ["--json", "--token-file", "t", "history"]),
        (["logs", "-f", "x"], ["logs", "-f", "x"]),
        (["explain", "--", "--json"], ["explain", "--", "--json"]),
        (["health", "--address"], ["--address", "health"]),
        ([], []),
    ],
)
def test_common_options_are_read_wherever_they_stand(typed: list[str], read: list[str]) -> None:
    assert in_front(typed) == read
