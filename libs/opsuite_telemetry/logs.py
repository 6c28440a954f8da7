"""Structured logs: one line per event, JSON for programs and columns for people, never a secret.

`structlog.get_logger("opsuite.deployer").info("deployment_started", deployment=name)`; the standard library's loggers
come out in the same form. Trace ids come by themselves, and so does whatever `bound` holds (a request id).
"""

from __future__ import annotations

import logging
import re
import sys
from collections.abc import Mapping, MutableMapping
from typing import Any, Final, TextIO

import structlog
from structlog.typing import Processor

from opsuite_telemetry.port import current_trace

MASK: Final = "***"
_SECRET_KEY: Final = re.compile(
    r"token|secret|passw|passphrase|authorization|credential|cookie|api[-_]?key|private[-_]?key", re.IGNORECASE
)
_BEARER: Final = re.compile(r"(bearer|basic)\s+[^\s'\",;)\]}]+", re.IGNORECASE)

bound = structlog.contextvars.bound_contextvars
"""`with bound(request_id=…):` adds to every line of the work inside, also of the tasks it starts."""


def configure(
    level: str = "INFO", *, json: bool | None = None, service: str = "", stream: TextIO | None = None
) -> None:
    """Send every log line of the process to `stream` (standard error if None).

    Args:
        level: the least that is written: DEBUG, INFO, WARNING, ERROR.
        json: one JSON object per line; None means unless `stream` is a terminal.
        service: added to every line; empty: not.
        stream: where to.

    Raises:
        ValueError: no such level.
    """
    out = stream or sys.stderr
    least = logging.getLevelNamesMapping().get(level.upper())
    if least is None:
        raise ValueError(f"no such log level: {level}")
    common = _processors(service)
    rendering = _rendering(as_json=not out.isatty() if json is None else json, colors=out.isatty())
    structlog.configure(
        processors=[*common, *rendering],
        wrapper_class=structlog.make_filtering_bound_logger(least),
        logger_factory=lambda *names: _NamedLogger(out, *names),
        cache_logger_on_first_use=True,
    )
    handler = logging.StreamHandler(out)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=[*common[:-1], structlog.stdlib.ExtraAdder(), common[-1]],
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *rendering],
        )
    )
    logging.basicConfig(handlers=[handler], level=least, force=True)
    logging.captureWarnings(capture=True)


class _NamedLogger(structlog.WriteLogger):
    """Writes lines; knows its name, as loggers of the standard library do."""

    def __init__(self, file: TextIO, name: str = "opsuite") -> None:
        super().__init__(file)
        self.name = name


def _processors(service: str) -> list[Processor]:
    """What makes an event complete, masking last."""

    def add_service(_logger: Any, _method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
        if service:
            event.setdefault("service", service)
        return event

    return [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_logger_name,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        add_service,
        add_trace,
        structlog.processors.StackInfoRenderer(),
        structlog.processors.format_exc_info,
        mask_secrets,
    ]


def _rendering(*, as_json: bool, colors: bool) -> list[Processor]:
    if as_json:
        return [structlog.processors.JSONRenderer()]
    # Plain tracebacks: the pretty ones show the values of local variables, and those may be secrets.
    return [structlog.dev.ConsoleRenderer(colors=colors, exception_formatter=structlog.dev.plain_traceback)]


def add_trace(_logger: Any, _method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """Add the ids of the current span, if there is one."""
    if (place := current_trace()) is not None:
        event["trace_id"], event["span_id"] = place.trace_id, place.span_id
    return event


def mask_secrets(_logger: Any, _method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """Replace the values of keys that speak of secrets, at any depth, and bearer tokens inside of texts."""
    for key, value in event.items():
        if not key.startswith("_"):  # the standard library's record travels there, for the formatter
            event[key] = _masked(key, value)
    return event


def _masked(key: object, value: Any) -> Any:
    if isinstance(key, str) and _SECRET_KEY.search(key) and value is not None:
        return MASK
    if isinstance(value, str):
        return _BEARER.sub(rf"\1 {MASK}", value)
    if isinstance(value, Mapping):
        return {inner: _masked(inner, each) for inner, each in value.items()}
    if isinstance(value, (list, tuple, set, frozenset)):
        return [_masked(None, each) for each in value]
    return value
