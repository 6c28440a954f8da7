"""Traces as application code knows them: which one the present work belongs to, and spans as plain records.

Ids are lower-case hex as on the wire (W3C trace context). Imports nothing but the standard library.
"""

from __future__ import annotations

import hashlib
import re
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import Enum
from typing import Any, Final, Protocol

AttributeValue = str | bool | int | float

_TRACEPARENT: Final = re.compile(r"([0-9a-f]{2})-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})(-.*)?")
_SAMPLED: Final = 0x01


@dataclass(frozen=True, slots=True)
class TraceContext:
    """A place in a trace."""

    trace_id: str
    """32 hex digits, not all zero."""
    span_id: str
    """16 hex digits, not all zero."""
    sampled: bool = True
    """Whether whoever began the trace wants it recorded."""

    @classmethod
    def parse(cls, traceparent: str) -> TraceContext | None:
        """The place that a `traceparent` header names; None for one that is not valid, which counts as absent."""
        match = _TRACEPARENT.fullmatch(traceparent.strip())
        if match is None:
            return None
        version, trace_id, span_id, flags, more = match.groups()
        if version == "ff" or (version == "00" and more) or not (int(trace_id, 16) and int(span_id, 16)):
            return None
        return cls(trace_id, span_id, bool(int(flags, 16) & _SAMPLED))

    @property
    def traceparent(self) -> str:
        """As a `traceparent` header."""
        return f"00-{self.trace_id}-{self.span_id}-{int(self.sampled):02x}"


def current_trace() -> TraceContext | None:
    """The span that the present work belongs to; None outside of traces.

    Asks OpenTelemetry only if something has loaded it already: without that nobody can have begun a span.
    """
    trace: Any = sys.modules.get("opentelemetry.trace")
    if trace is None:
        return None
    context = trace.get_current_span().get_span_context()
    if not context.is_valid:
        return None
    return TraceContext(f"{context.trace_id:032x}", f"{context.span_id:016x}", bool(context.trace_flags & _SAMPLED))


def span_id_of(*parts: str) -> str:
    """An id that depends on `parts` alone, so that a span made again after a crash replaces the first one."""
    return _digest(16, parts)


def trace_id_of(*parts: str) -> str:
    """The same for a trace."""
    return _digest(32, parts)


def _digest(digits: int, parts: tuple[str, ...]) -> str:
    framed = "".join(f"{len(part)}:{part}" for part in parts)  # ("ab", "c") is not ("a", "bc")
    digest = hashlib.sha256(framed.encode()).hexdigest()[:digits]
    return digest if int(digest, 16) else digest[:-1] + "1"  # all zero means none


class SpanKind(Enum):
    """Which side of a call a span saw."""

    INTERNAL = "INTERNAL"
    SERVER = "SERVER"
    CLIENT = "CLIENT"


@dataclass(frozen=True, slots=True)
class SpanRecord:
    """A span that has ended."""

    trace_id: str
    span_id: str
    name: str
    start: datetime
    end: datetime
    parent_span_id: str = ""
    """Empty for the root."""
    kind: SpanKind = SpanKind.INTERNAL
    attributes: Mapping[str, AttributeValue] = field(default_factory=dict)
    """By OpenTelemetry's names where there are such; never a secret."""
    failed: bool = False
    error: str = ""
    """Why it failed, for people."""
    links: tuple[TraceContext, ...] = ()
    """What led to it without being its parent: the span that the process before a crash was in."""


class SpanSink(Protocol):
    """Keeps finished spans: in a table, in memory."""

    def wants(self, kind: SpanKind, name: str) -> bool:
        """Whether it keeps spans of this kind and name. The answer must always be the same: it is remembered."""

    def add(self, span: SpanRecord) -> None:
        """Take one of those, where the span ends: mostly on the event loop, so no waiting. What it raises is logged."""


class SpanEmitter(Protocol):
    """Makes spans from what was recorded."""

    def emit(self, span: SpanRecord) -> None:
        """Hand a span to every sink and exporter, whatever the sampling. The same record again is the same span."""
