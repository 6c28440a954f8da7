"""Errors in words."""

from __future__ import annotations

from datetime import timedelta

import pytest

from opsuite_cli.explaining import explained
from opsuite_kernel.errors import (
    Conflict,
    Denied,
    Exhausted,
    Internal,
    InvalidInput,
    NotFound,
    OpsuiteError,
    Stale,
    TimedOut,
    Unauthenticated,
    Unavailable,
    Violation,
)

ADDRESS = "127.0.0.1:7401"


def test_one_violation_is_one_line() -> None:
    error = InvalidInput([Violation("environment", "prod is not one of: staging")])

    assert explained(error, ADDRESS) == ["error: environment: prod is not one of: staging"]


def test_every_violation_has_its_line() -> None:
    error = InvalidInput([Violation("name", "is missing"), Violation("", "is empty")])

    assert explained(error, ADDRESS) == ["error: 2 things are wrong", "  name: is missing", "  is empty"]


def test_a_server_that_does_not_run_is_told_in_few_words() -> None:
    error = Unavailable("failed to connect to all addresses; last error: UNKNOWN: ipv4:127.0.0.1:7401: refused")

    assert explained(error, ADDRESS) == [
        "error: nothing answers at 127.0.0.1:7401",
        "hint: start the suite with: opsuite up",
    ]


def test_a_server_that_hangs_up_may_want_certificates() -> None:
    error = Unavailable("failed to connect to all addresses; last error: UNAVAILABLE: 127.0.0.1:7401: Socket closed")

    lines = explained(error, ADDRESS, accepts=lambda: True)

    assert lines[0] == "error: the server at 127.0.0.1:7401 hangs up: UNAVAILABLE: 127.0.0.1:7401: Socket closed"
    assert "OPSUITE_CA_FILE" in lines[1]
    assert "OPSUITE_CERT_FILE" in lines[1]


@pytest.mark.parametrize(
    ("error", "hint"),
    [
        (NotFound("pipeline", "pipelines/web"), "opsuite pipeline list"),
        (NotFound("deployment", "x"), "opsuite history"),
        (NotFound("file", "/run/token"), "opsuite up"),
        (NotFound("document", "pipeline.yaml"), "opsuite init"),
        (Unauthenticated("no token"), "OPSUITE_TOKEN"),
        (Denied("viewer may not"), "policy file"),
        (Stale("changed"), "read it again"),
        (TimedOut("too late"), "is not known"),
        (Internal("incident 7"), "log of the server"),
        (Exhausted("too many", retry_after=timedelta(seconds=3)), "in 3 s"),
        (Exhausted("too many"), "later"),
        (Unavailable("is draining"), "try again"),
        (Conflict("nothing", reason="NO_PREVIOUS_DEPLOYMENT"), "history --status SUCCEEDED"),
        (Conflict("busy", reason="ENVIRONMENT_OCCUPIED", metadata={"holder": "a/b/c1"}), "opsuite watch c1"),
        (Conflict("no", reason="WRONG_STATE", metadata={"deployment": "a/b/c1"}), "opsuite explain c1"),
    ],
)
def test_an_error_says_what_to_do(error: OpsuiteError, hint: str) -> None:
    lines = explained(error, ADDRESS)

    assert lines[0] == f"error: {error.message}"
    assert lines[1].startswith("hint: ")
    assert hint in lines[1]


def test_a_conflict_that_nobody_can_help_with_has_no_hint() -> None:
    assert explained(Conflict("no"), ADDRESS) == ["error: no"]


@pytest.mark.parametrize(
    ("reason", "wish", "line", "command"),
    [
        ("NOT_HEALTHY", "promote_full", "error: it cannot be promoted: why", "opsuite rollout status d1 --watch"),
        ("NOT_HEALTHY", "promote_next_step", "error: it cannot be promoted: why", "opsuite rollout abort d1"),
        ("ABORTING", "promote_full", "error: it cannot be promoted: why", "opsuite rollout retry d1"),
        ("NO_ROLLOUT", "", "error: why", "opsuite explain d1"),
        ("ROLLOUT_REFUSED", "resume", "error: it cannot go on: why", "opsuite rollout promote d1"),
        ("ROLLOUT_REFUSED", "promote_skip_step", "error: its step cannot be skipped: why", "promote d1 --full"),
        ("ROLLOUT_REFUSED", "pause", "error: it cannot be paused: why", "opsuite rollout status d1"),
        ("WRONG_STATE", "", "error: why", "opsuite explain d1"),
    ],
)
def test_what_a_rollout_refuses_is_told_with_the_next_command(reason: str, wish: str, line: str, command: str) -> None:
    error = Conflict("why", reason=reason, metadata={"wish": wish, "deployment": "pipelines/p/deployments/d1"})

    said, hint = explained(error, ADDRESS)

    assert said == line
    assert command in hint
