"""The contracts over HTTP: one handler for all methods, told apart by the table of bindings.

    GET /v1/pipelines/shop                      the service that has such a path
    GET /deployer/v1/server                     a service by its name, for what every service has
    GET /v1/…:watch  Accept: text/event-stream  a stream; its events have the resume token as their id

A stream answers with server-sent events, or with one JSON document a line for whoever does not ask for them.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import aclosing
from datetime import timedelta
from typing import Any, Final, cast

from aiohttp import web
from google.protobuf.message import Message

from opsuite_gateway.http.answers import json_answer
from opsuite_gateway.transcoding.bindings import Binding
from opsuite_gateway.transcoding.messages import json_of, request_of
from opsuite_gateway.transcoding.problems import problem
from opsuite_gateway.upstreams import Caller, Upstream
from opsuite_gateway.watching import RESUME_TOKEN, SharedWatches, Told
from opsuite_kernel.errors import Exhausted, InvalidInput, OpsuiteError, Violation
from opsuite_kernel.tasks import end

EVENT_STREAM: Final = "text/event-stream"
LINES: Final = "application/x-ndjson"
LAST_EVENT_ID: Final = "Last-Event-ID"
QUIET_SECONDS: Final = 15.0
"""Pause after which a stream says that it lives, so that proxies do not end it."""
BUSY: Final = timedelta(seconds=1)
"""How long somebody is asked to wait where too many streams are open."""
RETRY_MILLISECONDS: Final = 1000
"""Pause that browsers keep before they connect again."""


class Api:
    """Answers requests for methods of the contracts."""

    def __init__(
        self,
        upstreams: Mapping[str, Upstream],
        caller_of: Callable[[web.Request], Caller],
        watches: SharedWatches,
        *,
        most_streams: int,
    ) -> None:
        """`caller_of` says on whose behalf a request is, and refuses what a browser may have been tricked into."""
        self._upstreams = upstreams
        self._caller_of = caller_of
        self._watches = watches
        self._most_streams = most_streams
        self._streams: set[asyncio.Task[Any]] = set()

    async def end_streams(self) -> None:
        """End every stream: the gateway stops, and browsers go on elsewhere, or here when it is back."""
        for task in self._streams:
            task.cancel()

    async def handle(self, request: web.Request) -> web.StreamResponse:
        """Answer one request. Raises OpsuiteError, HTTPNotFound, HTTPMethodNotAllowed, HTTPUnsupportedMediaType."""
        upstream, binding, fields = self._found(request)
        caller = self._caller_of(request)
        body = await request.read()
        if body and request.content_type != "application/json":
            raise web.HTTPUnsupportedMediaType
        query = list(request.query.items())
        if not binding.is_stream:
            message = request_of(binding, fields, query, body)
            return json_answer(json_of(await upstream.call(binding, message, caller)))
        message = _resumed(request_of(binding, fields, query, body), request.headers.get(LAST_EVENT_ID, ""))
        if len(self._streams) >= self._most_streams:
            raise Exhausted("too many streams are open", reason="TOO_MANY_STREAMS", retry_after=BUSY)
        task = cast("asyncio.Task[Any]", asyncio.current_task())
        self._streams.add(task)
        try:
            return await self._stream(request, upstream, binding, message, caller)
        finally:
            self._streams.discard(task)

    def _found(self, request: web.Request) -> tuple[Upstream, Binding, Mapping[str, str]]:
        """The method that a request means: by the first service that has its path, or by that of its prefix."""
        path = request.raw_path.partition("?")[0]
        name, _, rest = path[1:].partition("/")
        candidates: Sequence[tuple[Upstream, str]] = (
            [(self._upstreams[name], f"/{rest}")]
            if name in self._upstreams
            else [(one, path) for one in self._upstreams.values()]
        )
        verb = "GET" if request.method == "HEAD" else request.method
        for upstream, inner in candidates:
            if found := upstream.bindings.find(verb, inner):
                return upstream, *found
        verbs = sorted({verb for upstream, inner in candidates for verb in upstream.bindings.verbs_of(inner)})
        if verbs:
            raise web.HTTPMethodNotAllowed(request.method, verbs)
        raise web.HTTPNotFound

    async def _stream(
        self, request: web.Request, upstream: Upstream, binding: Binding, message: Message, caller: Caller
    ) -> web.StreamResponse:
        as_events = EVENT_STREAM in request.headers.get("Accept", "")
        answer = web.StreamResponse(headers={"Cache-Control": "no-store", "X-Accel-Buffering": "no"})
        answer.content_type = EVENT_STREAM if as_events else LINES
        render = _event if as_events else _line
        async with aclosing(self._watches.follow(upstream, binding, message, caller)) as stream:
            answers = stream.__aiter__()
            first = await anext(answers, None)  # what is refused is told as an answer of its own
            await answer.prepare(request)
            if as_events:
                await answer.write(f"retry: {RETRY_MILLISECONDS}\n\n".encode())
            try:
                if first is not None:
                    await answer.write(render(first))
                    async for one in _kept_alive(answers):
                        await answer.write((b":\n\n" if as_events else b"\n") if one is None else render(one))
            except OpsuiteError as error:
                await answer.write(_ended(error, as_events=as_events))
        await answer.write_eof()
        return answer


async def _kept_alive(answers: AsyncIterator[Told]) -> AsyncIterator[Told | None]:
    """The answers, and None whenever there was none for a while."""
    while True:
        waiting = asyncio.ensure_future(anext(answers, None))
        try:
            while not (await asyncio.wait([waiting], timeout=QUIET_SECONDS))[0]:
                yield None
        except BaseException:
            await end(waiting)
            raise
        if (answer := waiting.result()) is None:
            return
        yield answer


def _resumed(message: Message, last_event_id: str) -> Message:
    """The request, going on after the event that a browser heard last. Raises InvalidInput."""
    if not last_event_id:
        return message
    if RESUME_TOKEN not in message.DESCRIPTOR.fields_by_name:
        raise InvalidInput([Violation(LAST_EVENT_ID, "this stream cannot be resumed", "UNKNOWN_FIELD")])
    setattr(message, RESUME_TOKEN, last_event_id)
    return message


def _event(told: Told) -> bytes:
    """A server-sent event: its id is the token with which a stream goes on after it."""
    head = f"id: {told.token}\n".encode() if told.token else b""
    return head + b"data: " + told.content + b"\n\n"


def _line(told: Told) -> bytes:
    return told.content + b"\n"


def _ended(error: OpsuiteError, *, as_events: bool) -> bytes:
    """Why a stream ends that had begun; the client connects again, or learns that it need not."""
    document = json.dumps(problem(error), ensure_ascii=False).encode()
    return b"event: problem\ndata: " + document + b"\n\n" if as_events else b'{"problem":' + document + b"}\n"
