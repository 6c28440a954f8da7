"""Stands between a client and a real API server, and answers some requests in its place."""

from __future__ import annotations

import asyncio
import json
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import aiohttp
from aiohttp import web
from kube import ControlPlane

HOP = {"Host", "Content-Length", "Transfer-Encoding", "Content-Encoding"}


@dataclass
class Fault:
    """What requests of a method get instead of the server's answer, how often."""

    method: str
    status: int
    times: int
    after: int = 0
    """How many such requests pass before."""
    retry_after: str = ""
    reason: str = "InternalError"
    message: str = "injected"
    after_the_fact: bool = False
    """Whether the server gets the request all the same, and only its answer is lost."""


@dataclass
class FaultyServer:
    """A way to the API server without TLS, on loopback."""

    url: str = ""
    faults: list[Fault] = field(default_factory=list)
    holds: str = ""
    """The next request of this method is held until `release` is set."""
    held: asyncio.Event = field(default_factory=asyncio.Event)
    """Set when that request has come."""
    release: asyncio.Event = field(default_factory=asyncio.Event)

    async def hold(self, method: str) -> None:
        """Return when a request of that method may go on."""
        if method == self.holds:
            self.holds = ""
            self.held.set()
            await self.release.wait()

    def fault_for(self, method: str) -> Fault | None:
        """The next fault for such a request, used up by this."""
        found = next((each for each in self.faults if each.method == method and each.times > 0), None)
        if found is None:
            return None
        if found.after > 0:
            found.after -= 1
            return None
        found.times -= 1
        return found


@asynccontextmanager
async def faulty_server(control_plane: ControlPlane) -> AsyncIterator[FaultyServer]:
    """It answers while this lasts."""
    server = FaultyServer()
    trust = ssl.create_default_context(cafile=control_plane.authorities)
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(ssl=trust)) as session:

        async def answer(request: web.Request) -> web.Response:
            await server.hold(request.method)
            fault = server.fault_for(request.method)
            if fault is not None and not fault.after_the_fact:
                return refusal(fault)
            headers = {name: value for name, value in request.headers.items() if name not in HOP}
            body, url = await request.read(), control_plane.url + request.path_qs
            async with session.request(request.method, url, headers=headers, data=body) as real:
                data = await real.read()
                if fault is not None:
                    return refusal(fault)
                return web.Response(status=real.status, body=data, content_type=real.content_type)

        runner = web.AppRunner(web.Application(), access_log=None, shutdown_timeout=0.1)
        runner.app.router.add_route("*", "/{path:.*}", answer)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        server.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
        try:
            yield server
        finally:
            await runner.cleanup()


def refusal(fault: Fault) -> web.Response:
    """An answer as an API server words it."""
    status = {"kind": "Status", "status": "Failure", "code": fault.status}
    body = json.dumps(status | {"reason": fault.reason, "message": fault.message})
    headers = {"Retry-After": fault.retry_after} if fault.retry_after else {}
    return web.Response(status=fault.status, text=body, content_type="application/json", headers=headers)
