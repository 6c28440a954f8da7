"""A number that Prometheus knows, by its HTTP API."""

from __future__ import annotations

import json
import math
from http import HTTPStatus
from typing import Any, Final

import aiohttp

from opsuite_probes.answer import Answer
from opsuite_probes.port import Outcome, PrometheusProbe

ANSWER_LIMIT_BYTES: Final = 262_144


async def ask_prometheus(session: aiohttp.ClientSession, probe: PrometheusProbe) -> Answer:
    """The only number of an expression. Whether Prometheus itself is well says nothing about what is asked.

    Raises: OSError, aiohttp.InvalidURL.
    """
    if not probe.url:
        return Answer(Outcome.UNKNOWN, "cannot be asked: no Prometheus is set")
    url = probe.url.rstrip("/") + "/api/v1/query"
    try:
        async with session.post(url, data={"query": probe.query}, allow_redirects=False) as response:
            body = await _body(response.content)
            status = response.status
    except aiohttp.InvalidURL:
        raise
    except (aiohttp.ClientError, OSError) as error:
        return Answer(Outcome.UNKNOWN, f"cannot be asked: Prometheus does not answer ({type(error).__name__})")
    return answer_of(status, body)


def answer_of(status: int, body: bytes) -> Answer:
    """What Prometheus says."""
    try:
        answer = json.loads(body)
        if answer["status"] != "success":
            return Answer(Outcome.UNKNOWN, f"cannot be asked: Prometheus answers {status}: {answer['error']:.200}")
        return _of_data(answer["data"])
    except (ValueError, TypeError, KeyError, IndexError):
        known = HTTPStatus(status).phrase if status in set(HTTPStatus) else "?"
        return Answer(Outcome.UNKNOWN, f"cannot be asked: no answer of Prometheus' API, but {status} {known}")


def _of_data(data: dict[str, Any]) -> Answer:
    """Which of several series is meant nobody can know; an alert-like expression that gives none is no number."""
    match data["resultType"], data["result"]:
        case "scalar", [_, text]:
            return _of_number(float(text))
        case "vector", []:
            return Answer(Outcome.UNKNOWN, "cannot be asked: the expression gives no series")
        case "vector", [{"value": [_, text]}]:
            return _of_number(float(text))
        case "vector", [_, _, *_] as series:
            return Answer(Outcome.UNKNOWN, f"cannot be asked: the expression gives {len(series)} series, not one")
        case "vector" | "scalar", _:
            raise ValueError("a series without a value")
        case kind, _:
            return Answer(Outcome.UNKNOWN, f"cannot be asked: the expression gives a {kind}, not a number")


def _of_number(number: float) -> Answer:
    if math.isnan(number):
        return Answer(Outcome.UNKNOWN, "cannot be asked: the expression gives NaN")
    return Answer(Outcome.HEALTHY, f"it is {number:g}", number)


async def _body(content: aiohttp.StreamReader) -> bytes:
    """The body, cut where it is too long to be an answer: then it is none."""
    body = bytearray()
    while len(body) < ANSWER_LIMIT_BYTES and (piece := await content.read(ANSWER_LIMIT_BYTES - len(body))):
        body += piece
    return bytes(body)
