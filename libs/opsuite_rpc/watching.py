"""Watches that outlive their connection: each event once and in order, whatever happens to the server in between.

For every RPC with a `resume_token` in request and response, and a `heartbeat` in the request. Where responses hold
`events` with a `revision` each, what a server repeats is left out; elsewhere the token alone keeps each answer to one.
"""

from __future__ import annotations

import asyncio
import random
from collections import OrderedDict
from collections.abc import AsyncGenerator, AsyncIterable, Awaitable, Callable
from contextlib import aclosing
from typing import Any, Final, TypeVar

from google.protobuf.message import Message

from opsuite_kernel.errors import Exhausted, Unavailable
from opsuite_rpc.channel import responses_of

HEARTBEAT_SECONDS: Final = 15.0
"""What the server keeps to when the request does not say."""
MISSED_HEARTBEATS: Final = 3
SHORTEST_PAUSE_SECONDS: Final = 0.1
LONGEST_PAUSE_SECONDS: Final = 10.0
_NAMES: Final = ("deployment", "policy", "execution", "name")
REMEMBERED: Final = 4096
"""Resources whose last revision is remembered. A server repeats what is recent, so the oldest may be forgotten."""

Request = TypeVar("Request", bound=Message)
Response = TypeVar("Response", bound=Message)


def full_jitter(failures: int, chance: Callable[[float, float], float] = random.uniform) -> float:
    """Seconds to wait after that many failures in a row (1 or more): 0.1 to 10, anywhere below a doubling limit.

    Spread, because all watchers of a server lose it at the same moment.
    """
    limit = min(LONGEST_PAUSE_SECONDS, SHORTEST_PAUSE_SECONDS * 2 ** min(failures, 10))
    return chance(SHORTEST_PAUSE_SECONDS, limit)


async def watch(
    method: Callable[[Request], AsyncIterable[Response]],
    request: Request,
    *,
    pause: Callable[[int], float] = full_jitter,
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
) -> AsyncGenerator[Response, None]:
    """The responses of `method` (`stub.WatchDeployment`), across lost connections, until the server says that is all.

    Goes on from the last token when the server cannot be reached, gives the call up, or is silent for three heartbeats;
    there is no limit to how often. `request` may hold a token to start from, and is left as it is. The last response
    that was taken holds the token to store. Leave it with `aclosing`, or by ending the iteration.

    Args:
        method: the method of a stub, over any channel.
        request: what to watch.
        pause: seconds to wait after the nth failure in a row.
        sleep: how to wait.

    Raises:
        OpsuiteError: whatever else the server answers: NotFound, Gone (the token is too old), Conflict (the token is of
            another database), Exhausted (responses were not taken fast enough).
    """
    resumed: Any = type(request)()
    resumed.CopyFrom(request)
    applied, failures = _Applied(), 0
    while True:
        try:
            async with aclosing(_connection(method, resumed)) as responses:
                async for response in responses:
                    failures = 0
                    resumed.resume_token = response.resume_token or resumed.resume_token
                    if applied.is_news(response):
                        yield response
            return
        except Exhausted:
            raise  # a kind of Unavailable, but coming back at once is what it forbids
        except Unavailable:
            failures += 1
        await sleep(pause(failures))


async def _connection(method: Callable[[Any], Any], request: Any) -> AsyncGenerator[Any, None]:
    """One stream, from its start to its end. Raises Unavailable after three heartbeats of silence."""
    heartbeat = request.heartbeat.ToTimedelta().total_seconds() if request.HasField("heartbeat") else HEARTBEAT_SECONDS
    call = method(request)
    try:
        async with aclosing(responses_of(call)) as responses:
            while True:
                try:
                    async with asyncio.timeout(MISSED_HEARTBEATS * heartbeat):
                        response = await anext(responses)
                except StopAsyncIteration:
                    return
                except TimeoutError as error:
                    raise Unavailable("the server has been silent for three heartbeats", reason="SILENT") from error
                yield response
    finally:
        call.cancel()


class _Applied:
    """Which events were handed out: the last revision of each resource."""

    def __init__(self) -> None:
        self._last: OrderedDict[str, int] = OrderedDict()

    def is_news(self, response: Any) -> bool:
        """Take out of `response` what was handed out before; False if nothing is left of it."""
        if not _is_counted(response):
            return True
        for resource, revision in _snapshot(response):
            self._note(resource, revision)
        had_events = bool(response.events)
        fresh = [event for event in response.events if self._note(_resource(event), event.revision)]
        if len(fresh) < len(response.events):
            del response.events[:]
            response.events.extend(fresh)
        return bool(fresh) or not had_events

    def _note(self, resource: str, revision: int) -> bool:
        if revision <= self._last.get(resource, 0):
            return False
        self._last[resource] = revision
        self._last.move_to_end(resource)
        if len(self._last) > REMEMBERED:
            self._last.popitem(last=False)
        return True


def _resource(message: Any) -> str:
    """The resource that an event is of, or whose state a snapshot tells: by the field that names it."""
    name: str = next(getattr(message, field) for field in _NAMES if hasattr(message, field))
    return name


def _is_counted(response: Any) -> bool:
    """Whether events carry the revision of their resource."""
    events = response.DESCRIPTOR.fields_by_name.get("events")
    return events is not None and "revision" in events.message_type.fields_by_name


def _snapshot(response: Any) -> list[tuple[str, int]]:
    """The resources of a snapshot and their last revisions; of one or of many, depending on the RPC."""
    if not response.HasField("snapshot"):
        return []
    snapshot = response.snapshot
    states = next(
        (getattr(snapshot, many) for many in ("deployments", "statuses") if hasattr(snapshot, many)), [snapshot]
    )
    return [(_resource(state), state.revision) for state in states if hasattr(state, "revision")]
