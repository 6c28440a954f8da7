"""Which calls the access log tells of."""

from __future__ import annotations

from typing import Any

import grpc
import pytest
from opentelemetry import trace
from structlog.testing import capture_logs

from opsuite_rpc.calls import Call
from opsuite_rpc.observe import Observer
from opsuite_telemetry.tracing import RpcSpans

OK, CANCELLED = grpc.StatusCode.OK, grpc.StatusCode.CANCELLED


class Context:
    """What is read of a call."""

    def __init__(self, **metadata: str) -> None:
        self._metadata = tuple(metadata.items())

    def invocation_metadata(self) -> Any:
        return self._metadata

    def peer(self) -> str:
        return "unix:"


def an_observer(*, share: float = 0.01, drawn: float = 0.5, slow_seconds: float | None = 3600.0) -> Observer:
    return Observer(
        "package.Service/Method",
        RpcSpans(trace.NoOpTracer(), "package.Service/Method"),
        None,
        slow_seconds=slow_seconds,
        logged_share=share,
        chance=lambda: drawn,
    )


def logged(observer: Observer, code: grpc.StatusCode, reason: str = "") -> list[Any]:
    call = observer.began(Context(authorization="Bearer secret"))
    call.code, call.reason = code, reason
    with capture_logs() as logs:
        observer.ended(call)
    return logs


@pytest.mark.parametrize(
    ("code", "reason"), [(OK, ""), (CANCELLED, ""), (grpc.StatusCode.UNAVAILABLE, "SERVER_DRAINING")]
)
def test_of_ordinary_endings_a_share_is_logged(code: grpc.StatusCode, reason: str) -> None:
    assert logged(an_observer(drawn=0.011), code, reason) == []
    (line,) = logged(an_observer(drawn=0.009), code, reason)
    assert (line["code"], line["log_level"]) == (code.name, "info")


@pytest.mark.parametrize(
    ("code", "level"),
    [
        (grpc.StatusCode.INVALID_ARGUMENT, "info"),
        (grpc.StatusCode.PERMISSION_DENIED, "info"),
        (grpc.StatusCode.INTERNAL, "warning"),
        (grpc.StatusCode.UNAVAILABLE, "warning"),
    ],
)
def test_every_error_is_logged_and_faults_of_the_server_are_warnings(code: grpc.StatusCode, level: str) -> None:
    (line,) = logged(an_observer(), code)

    assert (line["code"], line["log_level"]) == (code.name, level)


def test_a_slow_call_is_logged_and_a_stream_is_never_slow() -> None:
    (line,) = logged(an_observer(slow_seconds=0.0), OK)

    assert line["slow"] is True
    assert logged(an_observer(slow_seconds=None), OK) == []


def test_a_call_that_is_printed_does_not_show_its_token() -> None:
    call = an_observer().began(Context(authorization="Bearer secret"))

    assert isinstance(call, Call)
    assert "secret" not in repr(call)
