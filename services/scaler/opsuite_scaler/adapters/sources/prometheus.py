"""Prometheus, by its HTTP API: a PromQL expression, evaluated now.

An answer carries the time of the evaluation, not of the samples behind it, which Prometheus takes from up to five
minutes ago. So it is told to look back no further than the metric's `stale_after`: what is older is missing, whether
the scraped thing has gone or Prometheus was away. Releases that do not know that parameter (2.42 is one) answer from as
far back as their own setting says; there an expression has to look at `timestamp()` itself.
"""

from __future__ import annotations

import json
import ssl
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from http import HTTPStatus
from typing import Any, Final

import aiohttp
from yarl import URL

from opsuite_kernel.errors import Conflict, OpsuiteError, Unavailable
from opsuite_scaler.adapters.sources.credentials import Credential, bearer
from opsuite_scaler.adapters.sources.source import BY_MEMBER, a_value, failed, missing, values
from opsuite_scaler.domain.policy import MetricSpec, TargetRef
from opsuite_scaler.domain.snapshot import Member, Reading

ANSWER_LIMIT_BYTES: Final = 4 * 1024 * 1024
LOOK_BACK: Final = timedelta(minutes=5)
"""Prometheus' own default, which is never made longer."""


class PrometheusSource:
    """One Prometheus, or whatever else speaks its API."""

    kind = "prometheus"
    description = "PromQL; one number, or for metrics by member one for each, with its name in a label"

    def __init__(
        self,
        url: str,
        *,
        token: Credential | None = None,
        tls: ssl.SSLContext | None = None,
        member_label: str = "pod",
    ) -> None:
        """`tls` None means the certificate authorities of the system."""
        self._url = URL(url.rstrip("/") + "/api/v1/query")
        self._token = token
        self._tls = tls
        self._member_label = member_label
        self._lazy_session: aiohttp.ClientSession | None = None

    async def close(self) -> None:
        """Close the connections."""
        if self._lazy_session is not None:
            await self._lazy_session.close()
            self._lazy_session = None

    def problem(self, metric: MetricSpec) -> str:
        """Only Prometheus itself can tell whether an expression is one."""
        return "" if metric.query.strip() else "a PromQL expression is missing"

    async def read(self, ref: TargetRef, metric: MetricSpec, members: Sequence[Member], now: datetime) -> Reading:
        """What the expression evaluates to now."""
        look_back = min(metric.stale_after, LOOK_BACK)
        data = await self._ask({"query": metric.query, "lookback_delta": f"{look_back.total_seconds():g}s"})
        match data.get("resultType"), metric.kind in BY_MEMBER:
            case "scalar", False:
                return one_of(data["result"])
            case "vector", False:
                return only_one_of(data["result"])
            case "vector", True:
                return by_member(data["result"], self._member_label)
            case kind, _:
                return failed(f"the expression gives a {kind}, which is not what the metric needs")

    async def _ask(self, form: Mapping[str, str]) -> Mapping[str, Any]:
        try:
            async with self._session.post(self._url, data=form, headers=bearer(self._token)) as response:
                return answer_of(response.status, await _body(response.content))
        except (aiohttp.ClientError, OSError) as fault:  # the text of a fault may hold the address, never a credential
            raise Unavailable(f"Prometheus does not answer: {fault}", reason="SOURCE_UNAVAILABLE") from fault

    @property
    def _session(self) -> aiohttp.ClientSession:
        if self._lazy_session is None:
            self._lazy_session = aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(ssl=True if self._tls is None else self._tls),
                timeout=aiohttp.ClientTimeout(total=None),
                cookie_jar=aiohttp.DummyCookieJar(),
                trust_env=False,
            )
        return self._lazy_session


def answer_of(status: int, body: bytes) -> Mapping[str, Any]:
    """The data of an answer. Raises: Conflict (the expression is wrong), Unavailable (anything else but an answer)."""
    try:
        answer = json.loads(body)
        if answer["status"] == "success":
            data: Mapping[str, Any] = answer["data"]
            return data
        told = str(answer["error"])
    except (ValueError, TypeError, KeyError) as fault:
        raise refusal(status, "no answer of the API") from fault
    raise refusal(status, told)


def refusal(status: int, told: str) -> OpsuiteError:
    """What Prometheus says in place of an answer."""
    message = f"Prometheus answers {status}: {told[:500]}"
    if status in {HTTPStatus.BAD_REQUEST, HTTPStatus.UNPROCESSABLE_ENTITY}:
        return Conflict(message, reason="QUERY_REFUSED")
    return Unavailable(message, reason="SOURCE_UNAVAILABLE")


def only_one_of(vector: Sequence[Mapping[str, Any]]) -> Reading:
    """The value of the only series. Which of several is meant nobody can know."""
    if len(vector) > 1:
        return failed(f"the expression gives {len(vector)} series and not one: aggregate it, for instance by sum()")
    return one_of(vector[0]["value"]) if vector else missing("the expression gives no series")


def one_of(sample: Sequence[Any]) -> Reading:
    """A pair of time and value."""
    return a_value(float(sample[1]), time_of(sample))


def by_member(vector: Sequence[Mapping[str, Any]], label: str) -> Reading:
    """A value for each member; series of one member are added up, as those of its containers are."""
    if not vector:
        return missing("the expression gives no series")
    told = dict[str, float]()
    for series in vector:
        if label not in series["metric"]:
            return failed(f"a series has no label {label!r}, which names the member")
        name = series["metric"][label]
        told[name] = told.get(name, 0.0) + float(series["value"][1])
    return values(told, min(time_of(series["value"]) for series in vector))


def time_of(sample: Sequence[Any]) -> datetime:
    """When a sample was evaluated."""
    return datetime.fromtimestamp(float(sample[0]), UTC)


async def _body(content: aiohttp.StreamReader) -> bytes:
    """All of an answer, or as much as may be: one read gives only what has arrived."""
    body = bytearray()
    while len(body) < ANSWER_LIMIT_BYTES and (piece := await content.read(ANSWER_LIMIT_BYTES - len(body))):
        body += piece
    return bytes(body)
