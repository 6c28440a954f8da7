"""Calls to a Kubernetes API server: who we are, how long to try, what a refusal means.

Of the client library this uses what a person cannot write in an afternoon: kubeconfig with its ways to authenticate,
TLS, the transport. Its typed models are paid for with requests that they refuse and answers that they cannot read (an
Event without `eventTime` fails a whole list), so objects are plain dictionaries here, as the server sends them. It is
imported on first use: two thirds of a second that a deployer without Kubernetes need not spend.

Every call of this project may be repeated. A busy server (429, 503) is asked again for `patience`, after the time that
it asks for. So is one that denies something before it is ready: it does that, to everyone, until it has read who may do
what. Credentials that are refused are read anew once.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from http import HTTPStatus
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import tenacity

from opsuite_kernel.errors import Denied, OpsuiteError, Unavailable
from opsuite_platforms.kubernetes_access import connected, load_into
from opsuite_platforms.kubernetes_errors import BUSY, UNAUTHENTICATED, error_of, unavailable

if TYPE_CHECKING:
    from kubernetes.aio.client import ApiClient

# Seconds.
CALL_TIMEOUT: Final = 30.0
CONNECT_TIMEOUT: Final = 5.0
FIRST_PAUSE: Final = 0.1
LONGEST_PAUSE: Final = 2.0

Object = dict[str, Any]
JSON: Final = "application/json"


@dataclass(frozen=True, slots=True)
class Call:
    """One request."""

    method: str
    path: str
    what: str
    """What it is about, for people: "deployment web"."""
    query: Mapping[str, str] = field(default_factory=dict)
    """Empty values are left out."""
    body: Object | None = None
    content: str = JSON
    timeout_seconds: float | None = CALL_TIMEOUT
    """None for an answer that lasts as long as it lasts."""


class KubernetesTransport:
    """One cluster, as one identity, in one event loop. Raises, in every call: the kinds of `kubernetes_errors`."""

    def __init__(self, kubeconfig: Path | None, context: str | None, patience: timedelta) -> None:
        self._kubeconfig = kubeconfig
        self._context = context
        self._patience = patience
        self._lazy_client: ApiClient | None = None
        self._connecting = asyncio.Lock()
        self._closed = False

    async def close(self) -> None:
        """Close the connections; no call may be under way."""
        self._closed = True
        if self._lazy_client is not None:
            await self._lazy_client.close()  # type: ignore[no-untyped-call]  # the library's

    async def ask(self, call: Call) -> Object:
        """The answer as an object."""
        async with self.answer(call) as response:
            answer: Object = json.loads(await response.read())
            return answer

    @asynccontextmanager
    async def answer(self, call: Call) -> AsyncIterator[Any]:
        """The answer to read, of a server that said yes."""
        import aiohttp

        try:
            async with await self._accepted(call) as response:
                yield response
        except (aiohttp.ClientError, TimeoutError, OSError) as fault:
            raise unavailable(str(fault) or type(fault).__name__) from fault

    async def _accepted(self, call: Call) -> Any:
        """The answer of a server that said yes, asked as often as that is worth it."""
        doubts = Doubts()
        async for attempt in tenacity.AsyncRetrying(
            retry=tenacity.retry_if_exception(lambda error: doubts.ask_again or is_busy(error)),
            wait=wait_as_told,
            stop=tenacity.stop_before_delay(self._patience),
            reraise=True,
        ):
            with attempt:
                response = await self._send(call)
                if response.status < HTTPStatus.MULTIPLE_CHOICES:
                    return response
                error = await refusal(response, call.what)
                doubts.ask_again = await self._is_doubtful(error, doubts)
                raise error
        raise AssertionError("the last attempt returns or raises")

    async def _is_doubtful(self, error: OpsuiteError, doubts: Doubts) -> bool:
        """Whether the same call may get another answer."""
        if isinstance(error, Denied) and not doubts.server_was_ready:
            async with await self._send(Call("GET", "/readyz", "readiness")) as response:
                doubts.server_was_ready = response.status == HTTPStatus.OK
            return True
        if error.reason == UNAUTHENTICATED and not doubts.credentials_are_fresh:
            doubts.credentials_are_fresh = True
            await load_into((await self._client()).configuration, self._kubeconfig, self._context)
            return True
        return False

    async def _send(self, call: Call) -> Any:
        import aiohttp

        client = await self._client()
        request = await client.param_serialize(
            call.method,
            call.path,
            query_params=[(name, value) for name, value in call.query.items() if value],
            header_params={"Accept": f"{JSON}, */*", "Content-Type": call.content},
            body=call.body,
            auth_settings=["BearerToken"],
        )
        timeout = aiohttp.ClientTimeout(total=call.timeout_seconds, sock_connect=CONNECT_TIMEOUT)
        return (await client.call_api(*request, _request_timeout=timeout)).response

    async def _client(self) -> ApiClient:
        if self._closed:
            raise unavailable("this connection was closed")
        async with self._connecting:
            if self._lazy_client is None:
                self._lazy_client = await connected(self._kubeconfig, self._context)
            return self._lazy_client


@dataclass(slots=True)
class Doubts:
    """What may be wrong with a refusal in the course of one call."""

    server_was_ready: bool = False
    credentials_are_fresh: bool = False
    ask_again: bool = False


def is_busy(error: BaseException) -> bool:
    """Whether the server answered that it cannot answer now: worth asking again within the same call."""
    return isinstance(error, Unavailable) and error.reason == BUSY


async def refusal(response: Any, what: str) -> OpsuiteError:
    """What a server that does not say yes says."""
    async with response:
        body = await response.read()
    return error_of(response.status, body, what, response.headers.get("Retry-After", ""))


PAUSE: Final = tenacity.wait_random_exponential(multiplier=FIRST_PAUSE, max=LONGEST_PAUSE)


def wait_as_told(state: tenacity.RetryCallState) -> float:
    """Seconds until the next try: what the server asked for, or a growing random pause."""
    error = state.outcome.exception() if state.outcome else None
    if isinstance(error, Unavailable) and error.retry_after is not None:
        return error.retry_after.total_seconds()
    return PAUSE(state)
