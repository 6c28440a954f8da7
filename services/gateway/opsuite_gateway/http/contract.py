"""The contracts as a document for programs: OpenAPI 3.1."""

from __future__ import annotations

from importlib import resources

from aiohttp import web

import opsuite_gateway


class Contract:
    """Handler of /openapi.json, which everybody may read: it stands in the source too."""

    def __init__(self) -> None:
        self._page = resources.files(opsuite_gateway).joinpath("openapi.json").read_bytes()

    async def handle(self, request: web.Request) -> web.StreamResponse:
        """The document."""
        return web.Response(body=self._page, content_type="application/json", headers={"Cache-Control": "no-cache"})
