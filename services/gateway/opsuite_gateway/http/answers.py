"""Answers of the gateway: JSON, problems, and what stands in the head of each."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable
from typing import Any, Final

import structlog
from aiohttp import web

from opsuite_gateway.transcoding.problems import CONTENT_TYPE, problem, status_of
from opsuite_kernel.errors import Internal, InvalidInput, OpsuiteError, Unauthenticated, Unavailable, Violation

log = structlog.get_logger(__name__)

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]

HEADERS: Final = {
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "X-Frame-Options": "DENY",
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
    "Cache-Control": "no-store",
}
"""Of every answer that does not say otherwise."""


def json_answer(content: bytes, status: int = 200) -> web.Response:
    """An answer in JSON."""
    return web.Response(body=content, status=status, content_type="application/json")


def problem_answer(error: OpsuiteError, request: web.Request) -> web.Response:
    """An error as a problem document."""
    document: dict[str, Any] = problem(error, instance=request.path)
    answer = web.Response(
        body=json.dumps(document, ensure_ascii=False).encode(), status=status_of(error), content_type=CONTENT_TYPE
    )
    if isinstance(error, Unauthenticated):
        answer.headers["WWW-Authenticate"] = 'Bearer realm="opsuite"'
    if isinstance(error, Unavailable) and error.retry_after is not None:
        answer.headers["Retry-After"] = str(max(1, round(error.retry_after.total_seconds())))
    return answer


@web.middleware
async def answered(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Whatever goes wrong becomes a problem document, and every head gets what keeps browsers safe."""
    try:
        answer = await handler(request)
    except OpsuiteError as error:
        answer = problem_answer(error, request)
    except web.HTTPRequestEntityTooLarge:
        answer = problem_answer(
            InvalidInput([Violation("", "the body is too large", "TOO_LARGE")], reason="TOO_LARGE"), request
        )
        answer.set_status(413)
    except web.HTTPException as error:
        answer = _foreign(error, request)
    except ConnectionResetError:  # whoever asked is gone
        raise
    except Exception:
        log.exception("request_crashed", method=request.method, path=request.path)
        answer = problem_answer(Internal("the gateway has a fault; its log says more"), request)
    if not answer.prepared:
        for name, value in HEADERS.items():
            answer.headers.setdefault(name, value)
    return answer


def _foreign(error: web.HTTPException, request: web.Request) -> web.StreamResponse:
    """What the HTTP library itself refuses, or a redirection."""
    if error.status < 400:
        return error
    document = {"type": "about:blank", "title": error.reason, "status": error.status, "instance": request.path}
    headers = {name: value for name, value in error.headers.items() if name in {"Allow", "Location"}}
    return web.Response(
        body=json.dumps(document).encode(), status=error.status, content_type=CONTENT_TYPE, headers=headers
    )
