"""Commands that are made ready first, and begun by whatever thread may begin them."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Callable, Mapping
from datetime import timedelta
from pathlib import Path

import psutil
import pytest

from opsuite_platforms.port import CommandSpec, Exit, ExitKind, OutputLine
from opsuite_platforms.spawner.armed import Armed
from opsuite_platforms.spawner.client import Spawner

SUCCESS = Exit(ExitKind.EXITED, 0)


@pytest.fixture
async def spawner() -> AsyncIterator[Spawner]:
    spawner = await Spawner.start()
    yield spawner
    await spawner.close()


def shell(script: str, *arguments: object, env: Mapping[str, str] | None = None) -> CommandSpec:
    argv = ("/bin/sh", "-c", script, "sh", *map(str, arguments))
    return CommandSpec(argv, "/", {"PATH": "/usr/bin:/bin"} | dict(env or {}), timedelta(seconds=60))


def armed(spawner: Spawner, spec: CommandSpec) -> Armed:
    ready = spawner.arm(spec)
    assert ready is not None
    return ready


async def until(holds: Callable[[], bool]) -> None:
    while not holds():  # noqa: ASYNC110 - other processes do not set our events
        await asyncio.sleep(0.005)


async def test_a_command_begins_when_it_is_told_to_and_not_before(spawner: Spawner, tmp_path: Path) -> None:
    gate, mark = tmp_path / "gate", tmp_path / "mark"
    ready = armed(spawner, shell('test -e "$1" && touch "$2" && echo done', gate, mark))
    gate.touch()  # had it begun, it would probably have missed this
    lines = list[OutputLine]()

    await asyncio.to_thread(ready.begin)
    await until(mark.exists)  # though nobody runs it here yet

    assert await ready.run(lines.extend) == SUCCESS
    assert [line.text for line in lines] == ["done"]


async def test_a_command_that_nobody_began_is_begun_by_running_it(spawner: Spawner) -> None:
    assert await armed(spawner, shell("exit 3")).run(print) == Exit(ExitKind.EXITED, 3)


async def test_a_command_begins_once_however_often_it_is_told_to(spawner: Spawner, tmp_path: Path) -> None:
    ready = armed(spawner, shell('echo once >> "$1"', tmp_path / "log"))

    await asyncio.gather(*(asyncio.to_thread(ready.begin) for _ in range(8)))
    await ready.run(print)

    assert (tmp_path / "log").read_text() == "once\n"


async def test_what_is_dropped_never_begins_and_its_worker_goes_on(spawner: Spawner, tmp_path: Path) -> None:
    ready = armed(spawner, shell('touch "$1"', tmp_path / "mark"))

    await ready.drop()
    await asyncio.to_thread(ready.begin)

    assert await armed(spawner, shell("true")).run(print) == SUCCESS
    assert not (tmp_path / "mark").exists()


async def test_what_has_begun_is_dead_when_it_has_been_dropped(spawner: Spawner, tmp_path: Path) -> None:
    ready = armed(spawner, shell('echo $$ > "$1.new"; mv "$1.new" "$1"; exec sleep 1000', tmp_path / "pid"))
    await asyncio.to_thread(ready.begin)
    await until((tmp_path / "pid").exists)

    await ready.drop()

    assert not psutil.pid_exists(int((tmp_path / "pid").read_text()))
    assert await spawner.run(shell("true"), print) == SUCCESS


async def test_a_request_that_no_socket_takes_at_once_arrives_whole(spawner: Spawner) -> None:
    env = {f"BIG_{number}": "x" * 100_000 for number in range(8)}
    ready = armed(spawner, shell("env | wc -c", env=env))
    lines = list[OutputLine]()

    await asyncio.to_thread(ready.begin)

    assert await ready.run(lines.extend) == SUCCESS
    assert int(lines[0].text) > 800_000


async def test_cancelling_ends_what_has_begun(spawner: Spawner, tmp_path: Path) -> None:
    ready = armed(spawner, shell('echo $$ > "$1.new"; mv "$1.new" "$1"; exec sleep 1000', tmp_path / "pid"))
    await asyncio.to_thread(ready.begin)
    running = asyncio.create_task(ready.run(print))
    await until((tmp_path / "pid").exists)

    running.cancel()
    await asyncio.gather(running, return_exceptions=True)

    assert running.cancelled()
    assert not psutil.pid_exists(int((tmp_path / "pid").read_text()))


async def test_a_command_whose_worker_died_meanwhile_is_lost(spawner: Spawner) -> None:
    ready = armed(spawner, shell("true"))
    os.kill(ready._worker.pid, 9)
    await until(lambda: not psutil.pid_exists(ready._worker.pid))

    await asyncio.to_thread(ready.begin)

    assert (await ready.run(print)).kind is ExitKind.LOST
    assert await spawner.run(shell("true"), print) == SUCCESS


async def test_nothing_is_armed_when_every_worker_is_taken_or_the_spawner_is_closed(spawner: Spawner) -> None:
    ready = armed(spawner, shell("true"))
    assert spawner.arm(shell("true")) is None, "there is one worker, and making another takes waiting"

    await ready.run(print)
    await spawner.close()

    assert spawner.arm(shell("true")) is None
