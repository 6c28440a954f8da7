"""What every CommandRunner promises, asked of the one in memory and of the spawner with real processes."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import timedelta
from typing import Protocol

import pytest
from fakes.commands import FakeCommands, Script

from opsuite_kernel.errors import Unavailable
from opsuite_platforms.port import CommandRunner, CommandSpec, Exit, ExitKind, OutputLine, Stream
from opsuite_platforms.spawner.client import Spawner

OUT, ERR, SYSTEM = Stream.STDOUT, Stream.STDERR, Stream.SYSTEM


class ClosableRunner(CommandRunner, Protocol):
    async def close(self) -> None: ...


@pytest.fixture(params=["fake", "spawner"])
async def runner(request: pytest.FixtureRequest) -> AsyncIterator[ClosableRunner]:
    runner: ClosableRunner = FakeCommands() if request.param == "fake" else await Spawner.start()
    yield runner
    await runner.close()


def a_command(script: str, *, timeout: timedelta = timedelta(seconds=30), output_bytes: int = 1000) -> CommandSpec:
    return CommandSpec(("/bin/sh", "-c", script), "/", {"PATH": "/usr/bin:/bin"}, timeout, output_bytes=output_bytes)


def teach(runner: CommandRunner, spec: CommandSpec, script: Script) -> None:
    """Tell the runner in memory what a real shell would do."""
    if isinstance(runner, FakeCommands):
        runner.scripts[spec.argv] = script


async def test_a_program_that_exits_tells_its_status_and_its_lines(runner: CommandRunner) -> None:
    spec = a_command("echo one; sleep 0.05; echo two >&2; exit 3")
    teach(runner, spec, Script(((OUT, "one"), (ERR, "two")), Exit(ExitKind.EXITED, 3)))
    lines = list[OutputLine]()

    end = await runner.run(spec, lines.extend)

    assert (end.kind, end.code, end.succeeded) == (ExitKind.EXITED, 3, False)
    assert [(line.stream, line.text) for line in lines] == [(OUT, "one"), (ERR, "two")]


async def test_a_program_that_dies_of_a_signal_tells_which(runner: CommandRunner) -> None:
    spec = a_command("kill -11 $$")
    teach(runner, spec, Script(exit=Exit(ExitKind.SIGNALLED, 11)))

    assert await runner.run(spec, print) == Exit(ExitKind.SIGNALLED, 11)


async def test_output_beyond_the_limit_is_cut_with_a_mark(runner: CommandRunner) -> None:
    spec = a_command("echo 12345678; echo 87654321", output_bytes=12)
    teach(runner, spec, Script(((OUT, "12345678"), (OUT, "87654321"))))
    lines = list[OutputLine]()

    end = await runner.run(spec, lines.extend)

    assert end.succeeded
    assert [(line.stream, line.text) for line in lines[:-1]] == [(OUT, "12345678"), (OUT, "876")]
    assert lines[-1].stream is SYSTEM
    assert "cut" in lines[-1].text


async def test_secrets_are_masked_also_where_the_limit_would_cut_them(runner: CommandRunner) -> None:
    spec = replace(a_command("echo my hunter2; echo hunter2", output_bytes=9), secrets=("hunter2", ""))
    teach(runner, spec, Script(((OUT, "my hunter2"), (OUT, "hunter2"))))
    lines = list[OutputLine]()

    await runner.run(spec, lines.extend)

    assert [line.text for line in lines if line.stream is not SYSTEM] == ["my ***", "**"]


async def test_a_program_that_takes_too_long_is_stopped(runner: CommandRunner) -> None:
    spec = a_command("sleep 1000", timeout=timedelta(milliseconds=50))
    teach(runner, spec, Script(stays=True))

    assert (await runner.run(spec, print)).kind is ExitKind.TIMED_OUT


async def test_cancelling_raises_after_the_program_has_ended(runner: CommandRunner) -> None:
    spec = a_command("echo up; exec sleep 1000")
    teach(runner, spec, Script(((OUT, "up"),), stays=True))
    is_up = asyncio.Event()
    run = asyncio.create_task(runner.run(spec, lambda _: is_up.set()))
    await is_up.wait()

    run.cancel()

    with pytest.raises(asyncio.CancelledError):
        await run


async def test_a_program_that_does_not_exist_is_not_started(runner: CommandRunner) -> None:
    spec = CommandSpec(("/nonexistent/program",), "/", {}, timedelta(seconds=5))
    teach(runner, spec, Script(exit=Exit(ExitKind.NOT_STARTED, message="/nonexistent/program: No such file")))

    end = await runner.run(spec, print)

    assert end.kind is ExitKind.NOT_STARTED
    assert "/nonexistent/program" in end.message


async def test_a_closed_runner_is_unavailable(runner: ClosableRunner) -> None:
    await runner.close()

    with pytest.raises(Unavailable):
        await runner.run(a_command("true"), print)
