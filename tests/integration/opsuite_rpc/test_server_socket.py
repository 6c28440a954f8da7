"""A server on a Unix socket: its directory keeps strangers out, and no second server takes its place."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest
from fakes.rpc_process import serving_process
from fakes.rpc_service import VIEWER, a_server, call, serving

from opsuite_rpc.settings import CannotServe, ServerSettings


def on(path: Path) -> ServerSettings:
    return ServerSettings(listen=(f"unix://{path}",))


@pytest.fixture
def socket(tmp_path: Path) -> Path:
    return tmp_path / "run" / "deployer.sock"


async def test_the_socket_lets_its_own_user_in_without_a_token_and_judges_a_token_that_is_shown(
    tmp_path: Path, socket: Path
) -> None:
    async with serving(tmp_path, settings=on(socket)) as running, running.channel() as channel:
        await call(channel, "Change", environment="production")
        await call(channel, "Get", VIEWER, name="things/1")

    assert [entry.actor for entry in running.audit.entries] == ["local"]
    assert running.server.side_address is None


async def test_socket_and_directory_are_closed_to_other_users(tmp_path: Path, socket: Path) -> None:
    async with serving(tmp_path, settings=on(socket)):
        modes = [stat.S_IMODE(path.stat().st_mode) for path in (socket.parent, socket)]

    assert modes == [0o700, 0o700]


async def test_a_directory_that_others_may_enter_stops_the_start(tmp_path: Path, socket: Path) -> None:
    socket.parent.mkdir(mode=0o755)

    with pytest.raises(CannotServe, match="must have mode 0700"):
        await a_server(tmp_path, settings=on(socket)).server.start()


async def test_a_second_server_is_refused_and_the_first_runs_on(tmp_path: Path, socket: Path) -> None:
    async with serving(tmp_path, settings=on(socket)) as first:
        with pytest.raises(CannotServe, match="another server listens"):
            await a_server(tmp_path, settings=on(socket)).server.start()
        async with first.channel() as channel:
            await call(channel, "Get", name="things/1")


async def test_a_server_that_stopped_leaves_its_place_to_the_next(tmp_path: Path, socket: Path) -> None:
    for _ in range(2):
        async with serving(tmp_path, settings=on(socket)) as running, running.channel() as channel:
            await call(channel, "Get", name="things/1")


async def test_a_socket_left_behind_by_a_killed_server_is_taken_over(tmp_path: Path, socket: Path) -> None:
    async with serving_process(tmp_path, f"unix://{socket}") as (process, _):
        process.kill()
        await process.wait()
    assert socket.name in os.listdir(socket.parent)  # noqa: PTH208  # a local look in a test

    async with serving(tmp_path, settings=on(socket)) as running, running.channel() as channel:
        await call(channel, "Get", name="things/1")


async def test_a_path_too_long_for_a_socket_is_told_before_anything_is_opened(tmp_path: Path) -> None:
    with pytest.raises(CannotServe, match="107 bytes"):
        a_server(tmp_path, settings=on(tmp_path / ("x" * 120)))
