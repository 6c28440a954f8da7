"""Checks that ask real sockets, by the real service over a real database."""

from __future__ import annotations

import asyncio
from pathlib import Path

from fakes.healer_checks import HEALTHY, UNHEALTHY, a_check, a_closed_port, check_stage


async def test_a_check_finds_trouble_and_tells_when_it_is_over(tmp_path: Path) -> None:
    port = a_closed_port()
    async with check_stage(tmp_path) as checks:
        await checks.create(a_check("shop", tcp={"address": f"127.0.0.1:{port}"}, issue="SHOP_DOWN"))

        down = await checks.until("healthChecks/shop", UNHEALTHY)

        assert down.last.message == "connection refused"
        assert checks.troubles.open_issues == ["SHOP_DOWN -/shop"]

        server = await asyncio.start_server(lambda reader, writer: writer.close(), "127.0.0.1", port)
        async with server:
            await checks.until("healthChecks/shop", HEALTHY)

        assert checks.troubles.open_issues == []
