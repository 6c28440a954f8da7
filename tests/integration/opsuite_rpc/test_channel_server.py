"""Both halves together: what our server raises, our client raises."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from fakes.rpc_service import SERVICE, Request, Response, serving

from opsuite_kernel.errors import InvalidInput, Stale, Unauthenticated
from opsuite_rpc.channel import connect


async def test_errors_cross_from_our_server_to_our_client(tmp_path: Path) -> None:
    async def stale(_request: Any, _context: Any) -> Any:
        raise Stale("etag differs", reason="ETAG", metadata={"etag": "7"})

    async with serving(tmp_path) as running, connect(running.server.addresses[0], token=running.local) as connection:
        running.servicer.on["Get"] = stale
        get = connection.channel.unary_unary(f"/{SERVICE}/Get", Request.SerializeToString, Response.FromString)

        with pytest.raises(Stale) as caught:
            await get(Request(name="a"))
        with pytest.raises(InvalidInput) as refused:
            await get(Request(text="x" * 101))

    assert (caught.value.reason, caught.value.metadata) == ("ETAG", {"etag": "7"})
    assert [each.field for each in refused.value.violations] == ["text"]


async def test_a_wrong_token_is_unauthenticated_in_streams_too(tmp_path: Path) -> None:
    async with serving(tmp_path) as running, connect(running.server.addresses[0], token="wrong") as connection:
        watch = connection.channel.unary_stream(f"/{SERVICE}/Watch", Request.SerializeToString, Response.FromString)

        with pytest.raises(Unauthenticated):
            await anext(aiter(watch(Request(name="a"))))
