"""Lines of the log: one form, ids by themselves, no secret."""

from __future__ import annotations

import io
import json
import logging
import sys
import warnings
from collections.abc import Iterator
from typing import Any

import pytest
import structlog
from opentelemetry import trace

from opsuite_telemetry import logs


@pytest.fixture(autouse=True)
def _leave_logging_as_it_was() -> Iterator[None]:
    root = logging.getLogger()
    handlers, level, shown = root.handlers[:], root.level, warnings.showwarning
    yield
    logging.captureWarnings(capture=False)
    warnings.showwarning = shown
    root.handlers[:] = handlers
    root.setLevel(level)
    structlog.reset_defaults()


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def fail(error: Exception) -> None:
    raise error


def lines(out: io.StringIO) -> list[dict[str, Any]]:
    return [json.loads(line) for line in out.getvalue().splitlines()]


def configured(level: str = "INFO", **options: Any) -> io.StringIO:
    out = io.StringIO()
    logs.configure(level, service="deployer", stream=out, **options)
    return out


def test_an_event_is_one_json_object() -> None:
    out = configured()

    structlog.get_logger("opsuite.test").info("rollout_rolled_back", rollout="r1", reason="health_lost")

    (line,) = lines(out)
    assert line.pop("timestamp").endswith("Z")
    assert line == {
        "event": "rollout_rolled_back",
        "rollout": "r1",
        "reason": "health_lost",
        "level": "info",
        "logger": "opsuite.test",
        "service": "deployer",
    }


def test_lines_of_the_standard_library_have_the_same_form() -> None:
    out = configured()

    logging.getLogger("some.library").warning("slow: %s", 3, extra={"token": "abc"})

    (line,) = lines(out)
    assert (line["event"], line["logger"], line["level"], line["service"]) == (
        "slow: 3",
        "some.library",
        "warning",
        "deployer",
    )
    assert line["token"] == logs.MASK


@pytest.mark.parametrize("bridged", [False, True])
def test_a_traceback_is_in_the_line(bridged: bool) -> None:
    out = configured()

    try:
        fail(KeyError("lost"))
    except KeyError:
        logger = logging.getLogger("some.library") if bridged else structlog.get_logger("opsuite.test")
        logger.exception("failed")

    (line,) = lines(out)
    assert "KeyError: 'lost'" in line["exception"]


def test_what_is_below_the_level_is_not_written() -> None:
    out = configured("WARNING")

    structlog.get_logger("opsuite.test").info("quiet")
    logging.getLogger("some.library").info("quiet")
    structlog.get_logger("opsuite.test").warning("loud")

    assert [line["event"] for line in lines(out)] == ["loud"]


def test_an_unknown_level_is_refused() -> None:
    with pytest.raises(ValueError, match="LOUD"):
        logs.configure("LOUD")


def test_trace_ids_come_by_themselves() -> None:
    out = configured()
    context = trace.SpanContext(0xABC, 0xDEF, is_remote=False)

    with trace.use_span(trace.NonRecordingSpan(context)):
        structlog.get_logger("opsuite.test").info("inside")
    structlog.get_logger("opsuite.test").info("outside")

    inside, outside = lines(out)
    assert (inside["trace_id"], inside["span_id"]) == (f"{0xABC:032x}", f"{0xDEF:016x}")
    assert "trace_id" not in outside


def test_a_bound_request_id_is_on_every_line_inside() -> None:
    out = configured()

    with logs.bound(request_id="q1"):
        structlog.get_logger("opsuite.test").info("inside")
        logging.getLogger("some.library").warning("inside")
    structlog.get_logger("opsuite.test").info("outside")

    assert [line.get("request_id") for line in lines(out)] == ["q1", "q1", None]


@pytest.mark.parametrize(
    "key",
    ["token", "api_token", "Authorization", "client_secret", "PASSWORD", "passwd", "api-key", "private_key", "cookie"],
)
def test_values_of_keys_that_speak_of_secrets_are_masked(key: str) -> None:
    out = configured()

    structlog.get_logger("opsuite.test").info("event", **{key: "hunter2"}, nested={"list": [{key: "hunter2"}]})

    assert "hunter2" not in out.getvalue()
    assert lines(out)[0][key] == logs.MASK


def test_a_bearer_token_inside_a_text_is_masked() -> None:
    out = configured()

    try:
        fail(ValueError("sent Authorization: Bearer hunter2.abc, got 401"))
    except ValueError:
        structlog.get_logger("opsuite.test").exception("refused", headers=["Basic aHVudGVyMg=="])

    assert "hunter2" not in out.getvalue()
    assert "aHVudGVyMg" not in out.getvalue()
    assert "Bearer ***, got 401" in lines(out)[0]["exception"]


def test_ordinary_values_stay_as_they_are() -> None:
    out = configured()

    structlog.get_logger("opsuite.test").info(
        "event", name="checkout", count=3, tags=("a", "b"), nothing=None, token=None
    )

    line = lines(out)[0]
    assert (line["name"], line["count"], line["tags"], line["nothing"]) == ("checkout", 3, ["a", "b"], None)
    assert line["token"] is None


def test_a_terminal_gets_columns_and_a_setting_overrides_that() -> None:
    terminal = Terminal()
    logs.configure(stream=terminal)
    structlog.get_logger("opsuite.test").info("seen_by_people")
    try:
        fail(ValueError("hunted"))
    except ValueError:
        structlog.get_logger("opsuite.test").exception("failed", local_secret="x")
    assert not terminal.getvalue().startswith("{")
    assert "seen_by_people" in terminal.getvalue()
    assert "ValueError: hunted" in terminal.getvalue()

    terminal = Terminal()
    logs.configure(stream=terminal, json=True)
    structlog.get_logger("opsuite.test").info("seen_by_programs")
    assert lines(terminal)[0]["event"] == "seen_by_programs"


def test_standard_error_is_the_default(monkeypatch: pytest.MonkeyPatch) -> None:
    out = io.StringIO()
    monkeypatch.setattr(sys, "stderr", out)

    logs.configure()
    structlog.get_logger("opsuite.test").info("here")

    assert lines(out)[0]["event"] == "here"
