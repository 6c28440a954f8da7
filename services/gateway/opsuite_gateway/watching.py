"""Streams of the services, one for all who watch the same.

Whoever begins to watch asks the service itself, with their own token, and hears its first answer: there it is judged
whether they may. If that answer brings them to where a shared stream of the same request stands (a resume token says
where, and is the same for everybody), their own ends and they follow the shared one. Who falls behind what that keeps,
or whose shared stream breaks, goes on with one of their own until the two meet again. So nothing is lost, nothing is
told twice, and a service has one stream for each thing that is watched, however many people look at it.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing
from dataclasses import dataclass
from typing import Any, Final

import structlog
from google.protobuf.message import Message

from opsuite_gateway.transcoding.bindings import Binding
from opsuite_gateway.transcoding.messages import json_of
from opsuite_gateway.upstreams import Caller, Upstream
from opsuite_kernel.errors import OpsuiteError
from opsuite_kernel.tasks import end
from opsuite_runs.signal import Signal

log = structlog.get_logger(__name__)

RESUME_TOKEN: Final = "resume_token"  # noqa: S105 - name of a field
KEPT: Final = 256
"""Answers that a shared stream keeps for those who are a little behind."""


@dataclass(frozen=True, slots=True)
class Told:
    """One answer of a stream."""

    content: bytes
    """JSON."""
    token: str
    """What goes on after it; empty where a stream cannot be resumed."""


class SharedWatches:
    """Follows streams on behalf of many."""

    def __init__(self, *, kept: int = KEPT) -> None:
        self._kept = kept
        self._shared: dict[tuple[str, str, bytes], _Shared] = {}

    @property
    def count(self) -> int:
        """Shared streams that are open."""
        return len(self._shared)

    async def close(self) -> None:
        """End every shared stream."""
        for one in list(self._shared.values()):
            await end(one.task)

    async def follow(
        self, upstream: Upstream, binding: Binding, request: Message, caller: Caller
    ) -> AsyncGenerator[Told, None]:
        """Every answer of a stream, in order, until it is over. Raises OpsuiteError, as the service told it."""
        if not _can_be_shared(binding):
            async with aclosing(upstream.follow(binding, request, caller)) as stream:
                async for message in stream:
                    yield _told(message)
            return
        after = getattr(request, RESUME_TOKEN)
        while True:
            shared = None
            async with aclosing(upstream.follow(binding, _resumed(request, after), caller)) as own:
                async for message in own:
                    told = _told(message)
                    after = told.token
                    yield told
                    shared = self._at(upstream, binding, request, caller, after)
                    if shared is not None:
                        break
            if shared is None:
                return
            async with aclosing(self._following(shared, after)) as stream:
                async for told in stream:
                    after = told.token
                    yield told
            if shared.is_over and after == shared.last:
                return

    def _at(self, upstream: Upstream, binding: Binding, request: Message, caller: Caller, token: str) -> _Shared | None:
        """The shared stream of a request, if it stands where `token` does; a new one where there is none."""
        key = (upstream.name, binding.path, _resumed(request, "").SerializeToString(deterministic=True))
        shared = self._shared.get(key)
        if shared is None:
            answers = upstream.follow(binding, _resumed(request, token), caller)
            shared = self._shared[key] = _Shared(answers, token, self._kept)
            shared.task.add_done_callback(lambda _: self._shared.pop(key, None))
        return shared if shared.knows(token) else None

    async def _following(self, shared: _Shared, token: str) -> AsyncGenerator[Told, None]:
        shared.followers += 1
        try:
            async for told in shared.after(token):
                yield told
        finally:
            shared.followers -= 1
            if not shared.followers:
                shared.task.cancel()


class _Shared:
    """One stream, and the last of what it told."""

    def __init__(self, answers: AsyncGenerator[Message, None], token: str, kept: int) -> None:
        self.followers = 0
        self.is_over = False
        """Whether the service said that nothing more will come."""
        self.last = token
        self._told: deque[Told] = deque(maxlen=kept)
        self._numbers = {token: 0}
        self._count = 0
        """Answers so far."""
        self._changed = Signal()
        self._has_ended = False
        self.task = asyncio.create_task(self._run(answers))

    def knows(self, token: str) -> bool:
        """Whether somebody who has heard up to `token` can go on here."""
        return token in self._numbers and not self._has_ended

    async def after(self, token: str) -> AsyncIterator[Told]:
        """What was told after a token; ends when the stream has, and when the reader is too far behind."""
        heard = self._numbers[token]
        while True:
            seen = self._changed.count
            missing = self._count - heard
            if missing > len(self._told):
                return
            for told in list(self._told)[len(self._told) - missing :] if missing else ():
                heard += 1
                yield told
            if heard == self._count:
                if self._has_ended:
                    return
                await self._changed.wait(seen, None)

    async def _run(self, answers: AsyncGenerator[Message, None]) -> None:
        try:
            async with aclosing(answers):
                async for message in answers:
                    self._tell(_told(message))
            self.is_over = True
        except OpsuiteError as error:  # each follower asks for themselves now, and hears it if it is theirs too
            log.info("shared_watch_ended", why=error.message, followers=self.followers)
        finally:
            self._has_ended = True
            self._changed.give()

    def _tell(self, told: Told) -> None:
        if len(self._told) == self._told.maxlen:
            # The token before the oldest that is kept is still good: who has heard up to it misses nothing.
            before = self._count - len(self._told)
            self._numbers = {token: number for token, number in self._numbers.items() if number > before}
        self._told.append(told)
        self._count += 1
        self._numbers[told.token] = self._count
        self.last = told.token
        self._changed.give()


def _can_be_shared(binding: Binding) -> bool:
    method: Any = binding.method
    return RESUME_TOKEN in method.input_type.fields_by_name and RESUME_TOKEN in method.output_type.fields_by_name


def _resumed(request: Message, token: str) -> Message:
    resumed = type(request)()
    resumed.CopyFrom(request)
    resumed.ClearField(RESUME_TOKEN)
    if token:
        setattr(resumed, RESUME_TOKEN, token)
    return resumed


def _told(message: Message) -> Told:
    return Told(json_of(message), getattr(message, RESUME_TOKEN, ""))
