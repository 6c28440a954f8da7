"""The spawner with real processes: what is run, in what surroundings, and that nothing of it stays."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import suppress
from datetime import timedelta
from pathlib import Path

import psutil
import pytest

from opsuite_platforms.port import CommandSpec, Exit, ExitKind, OutputLine, Stream
from opsuite_platforms.spawner import idle
from opsuite_platforms.spawner.client import Spawner

MEBIBYTE = 2**20
C_LIBRARY_SIGNALS = 0b11 << 31
"""The two that glibc keeps for itself and does not let anyone reset."""
LIBS = Path(__file__).parents[3] / "libs"
DAEMON = """
import os, sys, time
os.fork() and os._exit(0)
os.setsid()
os.fork() and os._exit(0)
open(sys.argv[1], "w").write(str(os.getpid()))
os.rename(sys.argv[1], sys.argv[2])
time.sleep(1000)
"""
"""Leaves session and process group, as daemons do, then tells its number in a file."""


@pytest.fixture
async def spawner() -> AsyncIterator[Spawner]:
    spawner = await Spawner.start()
    yield spawner
    await spawner.close()


def a_command(
    *argv: str,
    timeout_seconds: float = 60,
    directory: str = "/",
    env: dict[str, str] | None = None,
    memory_bytes: int | None = None,
    cpu_seconds: int | None = None,
    file_size_bytes: int | None = None,
    grace_seconds: float = 30,
) -> CommandSpec:
    return CommandSpec(
        argv,
        directory,
        {"PATH": "/usr/bin:/bin"} if env is None else env,
        timedelta(seconds=timeout_seconds),
        memory_bytes=memory_bytes,
        cpu_seconds=cpu_seconds,
        file_size_bytes=file_size_bytes,
        grace=timedelta(seconds=grace_seconds),
    )


def python(code: str, *arguments: str, **options: float) -> CommandSpec:
    return a_command(sys.executable, "-S", "-c", code, *arguments, **options)  # type: ignore[arg-type]  # limits


def shell(script: str, *arguments: str, **options: float) -> CommandSpec:
    return a_command("/bin/sh", "-c", script, "sh", *arguments, **options)  # type: ignore[arg-type]  # limits


async def output_of(spawner: Spawner, spec: CommandSpec) -> tuple[Exit, list[OutputLine]]:
    lines = list[OutputLine]()
    return await spawner.run(spec, lines.extend), lines


def texts(lines: Sequence[OutputLine], stream: Stream = Stream.STDOUT) -> list[str]:
    return [line.text for line in lines if line.stream is stream]


async def until(holds: Callable[[], bool]) -> None:
    """Returns when it holds; the test's own time limit is the limit."""
    while not holds():  # noqa: ASYNC110  # other processes do not set our events
        await asyncio.sleep(0.005)


async def told(path: Path) -> int:
    """The number that a process writes into a file, when it has."""
    await until(path.exists)
    return number_in(path)


def number_in(path: Path) -> int:
    return int(path.read_text())


def is_alive(pid: int) -> bool:
    try:
        return bool(psutil.Process(pid).status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False


def daemon(tmp_path: Path) -> tuple[str, ...]:
    return (sys.executable, "-S", "-c", DAEMON, str(tmp_path / "new"), str(tmp_path / "pid"))


async def test_the_environment_is_exactly_the_one_asked_for(spawner: Spawner) -> None:
    _, lines = await output_of(spawner, a_command("/usr/bin/env", env={"A": "1", "B": "ü"}))

    assert sorted(texts(lines)) == ["A=1", "B=ü"]


async def test_a_program_gets_three_streams_and_no_other_descriptor(spawner: Spawner) -> None:
    _, lines = await output_of(
        spawner, python("import os; print(sorted(os.listdir('/proc/self/fd')), os.readlink('/proc/self/fd/0'))")
    )

    assert texts(lines) == ["['0', '1', '2', '3'] /dev/null"], "3 is the folder being listed"


async def test_a_program_leads_a_session_with_default_signals_and_umask(spawner: Spawner, tmp_path: Path) -> None:
    script = "sed -n 's/^Sig[BI][lg][kn]://p' /proc/self/status; umask; pwd; ps -o sid= -p $$ | tr -d ' '; echo $$"

    _, lines = await output_of(spawner, a_command("/bin/sh", "-c", script, directory=str(tmp_path)))

    blocked, ignored, umask, directory, session, pid = texts(lines)
    assert int(blocked, 16) == 0
    assert int(ignored, 16) & ~C_LIBRARY_SIGNALS == 0
    assert (umask, directory, session) == ("0022", str(tmp_path), pid)


@pytest.mark.parametrize(
    ("argv", "directory", "message"),
    [
        (("/nonexistent/program",), "/", "No such file"),
        (("/etc/passwd",), "/", "Permission denied"),
        (("/bin/true",), "/nonexistent", "directory /nonexistent: No such file"),
        (("/bin/true",), "/etc/passwd", "Not a directory"),
    ],
)
async def test_what_cannot_be_started_says_why(
    spawner: Spawner, argv: tuple[str, ...], directory: str, message: str
) -> None:
    end, _ = await output_of(spawner, a_command(*argv, directory=directory))

    assert end.kind is ExitKind.NOT_STARTED
    assert message in end.message


async def test_lines_come_whole_in_order_and_with_their_stream(spawner: Spawner) -> None:
    script = "for i in 1 2 3; do echo out $i; echo err $i >&2; done; printf 'no newline \\377'"

    _, lines = await output_of(spawner, shell(script))

    by_stream = {stream: [line.text for line in lines if line.stream is stream] for stream in Stream}
    assert by_stream[Stream.STDOUT] == ["out 1", "out 2", "out 3", "no newline \ufffd"]
    assert by_stream[Stream.STDERR] == ["err 1", "err 2", "err 3"]
    assert [line.time for line in lines] == sorted(line.time for line in lines)


async def test_a_long_line_comes_in_pieces(spawner: Spawner) -> None:
    _, lines = await output_of(spawner, python("print('x' * 200_000)"))

    assert [len(text) for text in texts(lines)] == [65_536, 65_536, 65_536, 3392]


async def test_a_flood_is_read_and_dropped_without_growing_memory(spawner: Spawner) -> None:
    process = psutil.Process()
    await output_of(spawner, python("print('x' * 2_000_000)"))
    before = process.memory_info().rss

    end, lines = await output_of(spawner, python("import os\nfor _ in range(3000): os.write(1, b'y\\n' * 32_768)"))

    assert end.succeeded
    assert f"{3000 * 65_536 - MEBIBYTE} bytes" in lines[-1].text
    assert process.memory_info().rss - before < 64 * MEBIBYTE, "196 MB were written; 1 MiB of lines is kept"
    ours = [child for child in process.children(recursive=True) if "opsuite_platforms.spawner" in child.cmdline()]
    assert max(child.memory_info().rss for child in ours) < 32 * MEBIBYTE


async def test_a_timeout_kills_a_child_that_ignores_sigterm_after_the_grace(spawner: Spawner, tmp_path: Path) -> None:
    script = f"trap '' TERM; echo $$ > {tmp_path}/pid; while :; do sleep 1000; done"

    end, _ = await output_of(spawner, shell(script, timeout_seconds=0.2, grace_seconds=0.1))

    assert (end.kind, end.code) == (ExitKind.TIMED_OUT, signal.SIGKILL)
    assert not is_alive(await told(tmp_path / "pid"))


async def test_a_timeout_lets_a_program_end_by_itself(spawner: Spawner) -> None:
    spec = shell("trap 'echo bye; exit 7' TERM; echo up; while :; do sleep 0.01; done", timeout_seconds=0.2)

    end, lines = await output_of(spawner, spec)

    assert (end.kind, end.code) == (ExitKind.TIMED_OUT, 7)
    assert texts(lines) == ["up", "bye"]


async def test_cancelling_kills_a_grandchild_that_became_a_daemon(spawner: Spawner, tmp_path: Path) -> None:
    run = asyncio.create_task(spawner.run(shell('"$@"; exec sleep 1000', *daemon(tmp_path)), print))
    pid = await told(tmp_path / "pid")

    run.cancel()

    with pytest.raises(asyncio.CancelledError):
        await run
    assert not is_alive(pid)


async def test_what_a_successful_program_leaves_running_is_killed_and_named(spawner: Spawner, tmp_path: Path) -> None:
    script = '"$@" > /dev/null 2>&1; while [ ! -e "$0" ]; do sleep 0.01; done'
    spec = a_command("/bin/sh", "-c", script, str(tmp_path / "pid"), *daemon(tmp_path))

    end, lines = await output_of(spawner, spec)

    pid = await told(tmp_path / "pid")
    assert end.succeeded
    assert not is_alive(pid)
    assert f"python (pid {pid})" in texts(lines, Stream.SYSTEM)[0].replace("python3", "python")


async def test_what_one_step_leaves_survives_the_end_of_another(spawner: Spawner, tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    cancelled = asyncio.create_task(spawner.run(shell('"$@"; exec sleep 1000', *daemon(tmp_path / "a")), print))
    go_on = tmp_path / "go-on"
    wait = f'"$@"; while [ ! -e {go_on} ]; do sleep 0.01; done'
    other = asyncio.create_task(spawner.run(shell(wait, *daemon(tmp_path)), print))
    theirs, ours = await told(tmp_path / "a" / "pid"), await told(tmp_path / "pid")

    cancelled.cancel()
    await asyncio.wait([cancelled])

    assert (is_alive(theirs), is_alive(ours)) == (False, True)
    go_on.touch()
    assert (await other).succeeded
    assert not is_alive(ours)


async def test_the_memory_limit_holds(spawner: Spawner) -> None:
    end, lines = await output_of(spawner, python("bytearray(500 * 2**20)", memory_bytes=200 * MEBIBYTE))

    assert (end.kind, end.code) == (ExitKind.EXITED, 1)
    assert texts(lines, Stream.STDERR)[-1] == "MemoryError"


async def test_the_cpu_limit_holds(spawner: Spawner) -> None:
    end, _ = await output_of(spawner, shell("while :; do :; done", cpu_seconds=1))

    assert (end.kind, end.code) == (ExitKind.SIGNALLED, signal.SIGXCPU)


async def test_the_file_size_limit_holds(spawner: Spawner, tmp_path: Path) -> None:
    spec = a_command(
        "/bin/sh", "-c", "exec head -c 100000 /dev/zero > big", directory=str(tmp_path), file_size_bytes=4096
    )

    end, _ = await output_of(spawner, spec)

    assert (end.kind, end.code) == (ExitKind.SIGNALLED, signal.SIGXFSZ)
    assert (tmp_path / "big").stat().st_size == 4096


async def test_limits_are_final_and_end_with_their_program(spawner: Spawner) -> None:
    code = "import resource as r; print(r.getrlimit(r.RLIMIT_FSIZE), r.getrlimit(r.RLIMIT_AS))"
    _, limited = await output_of(spawner, python(code, file_size_bytes=4096, memory_bytes=300 * MEBIBYTE))
    _, free = await output_of(spawner, python(code))

    assert texts(limited) == [f"(4096, 4096) ({300 * MEBIBYTE}, {300 * MEBIBYTE})"]
    assert "4096" not in texts(free)[0]


async def test_two_hundred_runs_leak_neither_descriptors_nor_processes(spawner: Spawner) -> None:
    process = psutil.Process()
    await asyncio.gather(*(spawner.run(a_command("/bin/true"), print) for _ in range(4)))

    def footprint() -> tuple[int, int]:
        family = [process, *process.children(recursive=True)]
        return sum(each.num_fds() for each in family), len(family)

    before = footprint()
    for _ in range(50):
        ends = await asyncio.gather(*(spawner.run(a_command("/bin/true"), print) for _ in range(4)))
        assert all(end.succeeded for end in ends)

    assert footprint() == before


async def test_fifty_steps_run_at_once(spawner: Spawner, tmp_path: Path) -> None:
    script = f'touch {tmp_path}/$1; while [ "$(ls {tmp_path} | wc -l)" -lt 50 ]; do sleep 0.05; done'

    ends = await asyncio.gather(*(spawner.run(shell(script, str(number)), print) for number in range(50)))

    assert all(end.succeeded for end in ends), "each waits until all are there"


async def rush(spawner: Spawner, count: int, gate: Path) -> set[int]:
    """Numbers of the workers of `count` programs, all of which ran at once."""
    os.mkfifo(gate)
    workers = list[int]()
    all_run = asyncio.Event()

    def on_output(lines: Sequence[OutputLine]) -> None:
        workers.extend(int(line.text) for line in lines)
        if len(workers) == count:
            all_run.set()

    program = shell('echo $PPID; : < "$1"', str(gate))  # which waits until somebody may write there
    running = [asyncio.ensure_future(spawner.run(program, on_output)) for _ in range(count)]
    await all_run.wait()
    let_go = os.open(gate, os.O_RDWR)
    await asyncio.gather(*running)
    os.close(let_go)
    return set(workers)


async def test_workers_of_a_rush_stay_while_they_are_wanted_and_go_when_they_are_not(
    spawner: Spawner, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(idle, "UNWANTED_SECONDS", 60.0)
    workers = await rush(spawner, 2 * idle.KEPT, tmp_path / "first")
    assert await rush(spawner, 2 * idle.KEPT, tmp_path / "second") == workers

    monkeypatch.setattr(idle, "UNWANTED_SECONDS", 0.01)
    other = await Spawner.start()
    workers = await rush(other, 2 * idle.KEPT, tmp_path / "third")
    while sum(map(is_alive, workers)) > idle.KEPT:  # noqa: ASYNC110 - only the system can tell
        await asyncio.sleep(0.01)
    assert len(workers & await rush(other, idle.KEPT, tmp_path / "fourth")) == idle.KEPT
    await other.close()


async def test_when_the_nursery_is_killed_its_steps_die_and_the_next_run_starts_a_new_one(
    spawner: Spawner, tmp_path: Path
) -> None:
    run = asyncio.create_task(spawner.run(shell('"$@"; exec sleep 1000', *daemon(tmp_path)), print))
    pid = await told(tmp_path / "pid")
    worker = psutil.Process(pid).parent()
    assert worker is not None, "the daemon's parents have ended, so the worker took it over"
    nursery = worker.parent()
    assert nursery is not None

    nursery.kill()

    assert (await run).kind is ExitKind.LOST
    assert not is_alive(pid)
    assert (await spawner.run(a_command("/bin/true"), print)).succeeded


async def test_when_a_worker_is_killed_its_step_dies_and_other_steps_do_not(spawner: Spawner, tmp_path: Path) -> None:
    go_on = tmp_path / "go-on"
    other = asyncio.create_task(spawner.run(shell(f"while [ ! -e {go_on} ]; do sleep 0.01; done"), print))
    run = asyncio.create_task(spawner.run(shell('"$@"; exec sleep 1000', *daemon(tmp_path)), print))
    pid = await told(tmp_path / "pid")
    parent = psutil.Process(pid).parent()
    assert parent is not None, "the daemon's parents have ended, so the worker took it over"

    parent.kill()

    assert (await run).kind is ExitKind.LOST
    assert not is_alive(pid)
    go_on.touch()
    assert (await other).succeeded


def minders(pid: int) -> tuple[psutil.Process, psutil.Process, psutil.Process]:
    """Worker, nursery and guard above a daemon, once whatever forked it has ended and it was handed to the worker."""
    while True:
        with suppress(psutil.NoSuchProcess):
            worker, nursery, guard = psutil.Process(pid).parents()[:3]
            if "opsuite_platforms.spawner" in worker.cmdline():
                return worker, nursery, guard


@pytest.mark.parametrize("victims", [(0, 1), (0, 2), (1, 2)], ids=["worker+nursery", "worker+guard", "nursery+guard"])
async def test_when_two_of_the_spawner_are_killed_at_once_nothing_of_the_step_stays(
    spawner: Spawner, tmp_path: Path, victims: tuple[int, int]
) -> None:
    run = asyncio.create_task(spawner.run(shell('"$@"; exec sleep 1000', *daemon(tmp_path)), print))
    daemon_pid = await told(tmp_path / "pid")
    worker, nursery, guard = minders(daemon_pid)
    family = [*worker.children(recursive=True), worker, nursery, guard]
    assert guard.ppid() == os.getpid()

    dying = [(worker, nursery, guard)[each] for each in victims]
    for process in dying:
        process.suspend()  # none of them can do anything about the end of the other
    for process in dying:
        process.kill()
    killed_at = time.monotonic()

    assert (await run).kind is ExitKind.LOST
    await until(lambda: not any(is_alive(process.pid) for process in family))
    assert time.monotonic() - killed_at < 2, "the promise, with room to spare: it takes milliseconds"
    assert (await spawner.run(a_command("/bin/true"), print)).succeeded


SERVICE = """
import asyncio, sys
from datetime import timedelta
from opsuite_platforms.port import CommandSpec
from opsuite_platforms.spawner.client import Spawner

async def main():
    spawner = await Spawner.start()
    argv = ("/bin/sh", "-c", 'trap "" TERM; "$@"; while :; do sleep 1000; done', "sh", *sys.argv[1:])
    await spawner.run(CommandSpec(argv, "/", {}, timedelta(hours=1)), print)

asyncio.run(main())
"""


def start_service(*step: str) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-c", SERVICE, *step]
    return subprocess.Popen(command, env={"PYTHONPATH": str(LIBS), "PATH": os.defpath})


async def test_when_the_service_is_killed_everything_is_dead_within_two_seconds(tmp_path: Path) -> None:
    with start_service(*daemon(tmp_path)) as service:
        await told(tmp_path / "pid")
        family = psutil.Process(service.pid).children(recursive=True)
        assert len(family) >= 5, "guard, nursery, worker, shell, daemon"

        service.kill()
        killed_at = time.monotonic()

        await until(lambda: not any(is_alive(process.pid) for process in family))
        assert time.monotonic() - killed_at < 2, "the promise of the port, with room to spare: it takes milliseconds"


async def test_closing_kills_what_runs(tmp_path: Path) -> None:
    spawner = await Spawner.start()
    run = asyncio.create_task(spawner.run(shell('"$@"; exec sleep 1000', *daemon(tmp_path)), print))
    pid = await told(tmp_path / "pid")

    await spawner.close()

    assert (await run).kind is ExitKind.LOST
    assert not is_alive(pid)
