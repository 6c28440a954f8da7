"""How edges reach the server of routes: with a token from a file, with certificates, over a Unix socket."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from authority import an_authority, served_with
from envoy import Control, a_route, application, ask, control, free_port

from opsuite_platforms.traffic.bootstrap import TlsFiles

pytestmark = pytest.mark.needs("envoy")


@pytest.fixture
async def here() -> AsyncIterator[Control]:
    async with control() as made:
        yield made


async def is_obeyed(here: Control) -> bool:
    port = free_port()
    async with application("stable") as stable:
        await here.set(a_route(port, (stable, 1)))
        return await ask(port) == "stable"


async def test_an_edge_shows_the_token_of_its_file_with_routes_and_with_statistics(here: Control) -> None:
    await here.start()
    file = here.folder / "authorization"
    file.write_text("Bearer s3cret")

    edge = await here.edge(authorization_file=str(file))

    assert await is_obeyed(here)
    assert {headers.get("authorization") for _, headers in here.metadata} == {"Bearer s3cret"}
    assert "s3cret" not in edge.bootstrap


async def test_an_edge_reaches_the_server_over_a_unix_socket(here: Control) -> None:
    await here.start(f"unix:{here.folder / 'server.sock'}")
    await here.edge()
    assert await is_obeyed(here)


async def test_an_edge_and_the_server_know_each_other_by_certificates(here: Control, tmp_path: Path) -> None:
    authority = an_authority(tmp_path)
    server, client = authority.issue("server"), authority.issue("edge-1")
    await here.start(credentials=served_with(server, must_show_certificate=True))
    await here.edge(tls=client)
    assert await is_obeyed(here)


async def test_an_edge_takes_nothing_from_a_server_that_it_cannot_trust(here: Control, tmp_path: Path) -> None:
    server = an_authority(tmp_path / "theirs").issue("server")
    await here.start(credentials=served_with(server))
    edge = await here.edge(tls=TlsFiles(an_authority(tmp_path / "ours").issue("nobody").ca))

    await edge.logged("CERTIFICATE_VERIFY_FAILED")

    assert here.metadata == []
