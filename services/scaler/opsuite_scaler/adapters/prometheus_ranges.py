"""What a Prometheus measured over time, for traces: `query_range`, in parts that it answers."""

from __future__ import annotations

import ssl
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import aiohttp

from opsuite_kernel.errors import Conflict, InvalidInput, NotFound, Unavailable, Violation
from opsuite_notify.secrets import SecretSource
from opsuite_scaler.adapters.sources.credentials import bearer
from opsuite_scaler.adapters.sources.prometheus import answer_of
from opsuite_scaler.adapters.sources.settings import PrometheusSettings, SourcesFile
from opsuite_scaler.application.rehearsal import Span

POINTS_AT_ONCE: Final = 10_000
"""Prometheus refuses more than 11,000 in one answer."""
MOST_POINTS: Final = 2_000_000
PATIENCE: Final = aiohttp.ClientTimeout(total=60)
ANSWER_LIMIT_BYTES: Final = 16 * 1024 * 1024


class PrometheusRanges:
    """Fits `application.rehearsal.Ranges`: asks the sources of kind prometheus that a file names."""

    def __init__(self, sources: SourcesFile, secrets: SecretSource) -> None:
        self._sources = sources
        self._secrets = secrets

    async def range(self, source: str, query: str, span: Span) -> Sequence[tuple[datetime, float]]:
        """Values in the order of time. Raises: NotFound (source), InvalidInput (query, length), Unavailable."""
        setting = self._sources.sources.get(source)
        if not isinstance(setting, PrometheusSettings):
            raise NotFound("prometheus source", source)
        if (span.end - span.start) / span.step > MOST_POINTS:
            raise _invalid("step", f"gives more than {MOST_POINTS} points")
        found: list[tuple[datetime, float]] = []
        tls = ssl.create_default_context(cafile=setting.ca_file) if setting.ca_file else True
        connector = aiohttp.TCPConnector(ssl=tls)
        async with aiohttp.ClientSession(connector=connector, timeout=PATIENCE, trust_env=False) as session:
            for part in parts(span):
                found += series_of(await self._ask(session, setting, query, part))
        return found

    async def _ask(
        self, session: aiohttp.ClientSession, setting: PrometheusSettings, query: str, span: Span
    ) -> Mapping[str, Any]:
        token = None if setting.token is None else setting.token.within(self._secrets)
        form = {
            "query": query,
            "start": f"{span.start.timestamp():.3f}",
            "end": f"{span.end.timestamp():.3f}",
            "step": f"{span.step.total_seconds():g}",
        }
        try:
            url = setting.url.rstrip("/") + "/api/v1/query_range"
            async with session.post(url, data=form, headers=bearer(token)) as response:
                return answer_of(response.status, await _body(response))
        except Conflict as refusal:
            raise _invalid("query", refusal.message) from refusal
        except (TimeoutError, aiohttp.ClientError, OSError) as fault:
            told = f"Prometheus does not answer: {type(fault).__name__}"
            raise Unavailable(told, reason="SOURCE_UNAVAILABLE") from fault


async def _body(response: aiohttp.ClientResponse) -> bytes:
    """The whole answer. Raises: Unavailable (it is longer than any should be)."""
    body = bytearray()
    async for chunk in response.content.iter_any():
        body += chunk
        if len(body) > ANSWER_LIMIT_BYTES:
            raise Unavailable("Prometheus answers with more than was asked for", reason="SOURCE_UNAVAILABLE")
    return bytes(body)


def parts(span: Span) -> Iterator[Span]:
    """A span in parts of which no two share a point."""
    length: timedelta = span.step * (POINTS_AT_ONCE - 1)
    start = span.start
    while start <= span.end:
        yield Span(start, min(start + length, span.end), span.step)
        start += length + span.step


def series_of(data: Mapping[str, Any]) -> list[tuple[datetime, float]]:
    """The values of the only series; those that are no numbers are left out. Raises: InvalidInput."""
    series = data.get("result", [])
    if data.get("resultType") != "matrix" or len(series) > 1:
        raise _invalid("query", f"gives {len(series)} series and not one: aggregate it, for instance by sum()")
    values = series[0]["values"] if series else []
    pairs = [(datetime.fromtimestamp(float(at), UTC), float(value)) for at, value in values]
    return [(at, value) for at, value in pairs if abs(value) < float("inf")]


def _invalid(field: str, problem: str) -> InvalidInput:
    return InvalidInput([Violation(f"trace.prometheus.{field}", problem)], reason="TRACE_INVALID")
