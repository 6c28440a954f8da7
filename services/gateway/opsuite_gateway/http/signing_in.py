"""Signing in with a token, and out again.

POST   /session {"token": "…"}   sets the cookie; who it is, and the X-CSRF-Token of the session
GET    /session                  the same of the session that there is
DELETE /session                  forgets it
"""

from __future__ import annotations

import json
from collections.abc import Mapping

from aiohttp import web
from google.protobuf.message import Message

from opsuite.common.v1.server_service_pb2 import GetServerRequest
from opsuite_gateway.http.answers import json_answer
from opsuite_gateway.http.sessions import Session, Sessions, token_in
from opsuite_gateway.upstreams import Caller, Upstream
from opsuite_kernel.errors import InvalidInput, Unauthenticated, Unavailable, Violation

WHOEVER = ("GET", "/v1/server")
"""A method that everybody may call whom a service knows."""


class SigningIn:
    """Handlers of /session."""

    def __init__(self, sessions: Sessions, upstreams: Mapping[str, Upstream]) -> None:
        self._sessions = sessions
        self._upstreams = upstreams

    async def sign_in(self, request: web.Request) -> web.StreamResponse:
        """Begin a session for a token that some service takes. Raises Unauthenticated, Exhausted, Unavailable."""
        if request.content_type != "application/json":
            raise web.HTTPUnsupportedMediaType  # no form of another site can send this
        self._sessions.count_try(request.remote or "")
        try:
            document = json.loads(await request.read())
        except ValueError as error:
            raise InvalidInput([Violation("", "the body is not JSON", "MALFORMED")]) from error
        token = token_in(document)
        await self._ask(Caller(token))
        session = self._sessions.begin(token)
        answer = _told(session)
        self._sessions.give(answer, session)
        return answer

    async def session(self, request: web.Request) -> web.StreamResponse:
        """What the session is. Raises Unauthenticated."""
        return _told(self._required(request))

    async def sign_out(self, request: web.Request) -> web.StreamResponse:
        """Forget the session; the header X-CSRF-Token is wanted. Raises Unauthenticated, Denied."""
        self._required(request)
        self._sessions.caller_of(request)
        answer = web.Response(status=204)
        self._sessions.take(answer)
        return answer

    def _required(self, request: web.Request) -> Session:
        session = self._sessions.of(request)
        if session is None:
            raise Unauthenticated("nobody is signed in", reason="NO_CREDENTIALS")
        return session

    async def _ask(self, caller: Caller) -> Message:
        """The answer of the first service that can be reached. Raises Unauthenticated: it does not know the token."""
        unreachable = Unavailable("no service can be reached")
        for upstream in self._upstreams.values():
            found = upstream.bindings.find(*WHOEVER)
            if found is None:
                continue
            try:
                return await upstream.call(found[0], GetServerRequest(), caller)
            except Unavailable as error:
                unreachable = error
        raise unreachable


def _told(session: Session) -> web.Response:
    return json_answer(json.dumps({"csrfToken": session.csrf, "expires": session.expires}).encode())
