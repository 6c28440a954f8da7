"""The process platform beyond the contract: what real processes get, and what survives whose death."""

from __future__ import annotations

import asyncio
import os
import resource
import shutil
import signal
import socket
import sys
import tempfile
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from datetime import timedelta
from pathlib import Path, PurePath

import psutil
import pytest

from opsuite_kernel.errors import Conflict, NotFound, Unavailable
from opsuite_platforms.machine import LocalFiles
from opsuite_platforms.port import PortSpec, Replica, ReplicaPhase, WorkloadSpec
from opsuite_platforms.process import ProcessPlatform
from opsuite_platforms.workload_files import WorkloadFiles, next_record

PORTS = range(29_000, 29_100)
"""Those of no other tests: a listener here takes one that a replica of theirs is about to use."""
ODD = ("100%", "a # b", "a ; b", 'it\'s "quoted"', "%(here)s", "$HOME", "back\\slash", "", "ü", " spaces ")


@pytest.fixture
async def platform() -> AsyncIterator[ProcessPlatform]:
    data = Path(tempfile.mkdtemp(prefix="opsuite-"))  # tmp_path can be too long for a Unix socket
    platform = ProcessPlatform(data, ports=PORTS)
    await platform.start()
    yield platform
    await platform.stop()
    platform.close()
    shutil.rmtree(data)


def a_workload(*command: str, env: dict[str, str] | None = None, ports: tuple[PortSpec, ...] = ()) -> WorkloadSpec:
    return WorkloadSpec(
        "web", "1.0.0", command or ("/bin/sleep", "1000"), "/", env or {}, ports, grace=timedelta(seconds=2)
    )


def shell(script: str, *arguments: str, **options: dict[str, str]) -> WorkloadSpec:
    return a_workload("/bin/sh", "-c", script, "sh", *arguments, **options)  # type: ignore[arg-type]  # env alone


async def replica_when(platform: ProcessPlatform, holds: Callable[[Replica], bool]) -> Replica:
    """The first replica when it holds; the test's own time limit is the limit."""
    while not holds(replica := (await platform.observe("web")).replicas[0]):  # noqa: ASYNC110  # it does not tell
        await asyncio.sleep(0.005)
    return replica


async def lines_when(platform: ProcessPlatform, count: int) -> list[str]:
    while len(lines := await platform.logs("web", "web-0")) < count:  # noqa: ASYNC110  # logs are read
        await asyncio.sleep(0.005)
    return list(lines)


def another(platform: ProcessPlatform) -> ProcessPlatform:
    """The same platform as another process would see it."""
    return ProcessPlatform(platform.supervisord.directory.parent)


def pid_of_supervisord(platform: ProcessPlatform) -> int:
    return int((platform.supervisord.directory / "supervisord.pid").read_text())


async def end_of(pid: int) -> None:
    while psutil.pid_exists(pid) and psutil.Process(pid).status() != psutil.STATUS_ZOMBIE:  # noqa: ASYNC110  # not ours
        await asyncio.sleep(0.005)


async def test_arguments_arrive_as_they_are(platform: ProcessPlatform) -> None:
    await platform.apply(shell("printf '<%s>\\n' \"$@\"; exec sleep 1000", *ODD), epoch=1)

    assert await lines_when(platform, len(ODD)) == [f"<{argument}>" for argument in ODD]


async def test_the_environment_is_exactly_the_one_asked_for(platform: ProcessPlatform) -> None:
    env = {f"V{number}": value for number, value in enumerate(ODD)}

    await platform.apply(a_workload("/bin/sh", "-c", "/usr/bin/env; exec /bin/sleep 1000", env=env), epoch=1)

    lines = await lines_when(platform, len(env) + 1)
    assert sorted(lines) == sorted([*(f"{key}={value}" for key, value in env.items()), "PWD=/"]), "PWD is the shell's"


async def test_a_replica_is_told_its_ports(platform: ProcessPlatform) -> None:
    ports = (PortSpec("http"), PortSpec("admin"))
    spec = a_workload(
        "/bin/sh", "-c", "echo $0 $A; exec /bin/sleep 1000", "${port}", env={"A": "${port_admin}"}, ports=ports
    )

    await platform.apply(spec, epoch=1)

    (line,) = await lines_when(platform, 1)
    replica = await replica_when(platform, lambda _: True)
    assert line == f"{replica.ports['http']} {replica.ports['admin']}"


async def test_a_spec_that_cannot_be_written_down_changes_nothing(platform: ProcessPlatform) -> None:
    await platform.apply(a_workload(), epoch=1)

    with pytest.raises(Conflict) as refusal:
        await platform.apply(replace(a_workload("/bin/echo", "two\nlines"), version="2.0.0"), epoch=2)

    assert refusal.value.reason == "SPEC_IMPOSSIBLE"
    assert (await platform.observe("web")).version == "1.0.0"


async def test_a_file_that_supervisord_refuses_is_taken_back(platform: ProcessPlatform) -> None:
    await platform.apply(a_workload(), epoch=1)

    with pytest.raises(Conflict):
        await platform.apply(replace(a_workload(), name="bad:name", version="2.0.0"), epoch=1)

    assert await platform.list_workloads() == ["web"]
    await platform.apply(replace(a_workload(), version="2.0.0"), epoch=1)
    assert (await replica_when(platform, lambda replica: replica.version == "2.0.0")).phase is ReplicaPhase.RUNNING


async def test_one_of_many_that_is_refused_leaves_all_others_alone(platform: ProcessPlatform) -> None:
    names = [*(f"web-{number}" for number in range(20)), "bad:name"]

    applied = await asyncio.gather(
        *(platform.apply(replace(a_workload(), name=name), epoch=1) for name in names), return_exceptions=True
    )

    refused = dict(zip(names, applied, strict=True))
    assert isinstance(refused.pop("bad:name"), Conflict)
    assert set(refused.values()) == {None}
    assert await platform.list_workloads() == sorted(refused)
    statuses = [await platform.observe(name) for name in refused]
    assert all(status.replicas[0].started_at is not None for status in statuses), "started, not only written down"


async def test_callers_that_change_workloads_at_the_same_time_lose_none(platform: ProcessPlatform) -> None:
    callers = [platform, another(platform), another(platform)]
    numbered = [(number, caller) for number in range(8) for caller in callers]

    for version in ("1.0.0", "2.0.0"):
        await asyncio.gather(
            *(
                caller.apply(
                    replace(a_workload(), name=f"web-{callers.index(caller)}-{number}", version=version), epoch=1
                )
                for number, caller in numbered
            )
        )

        for name in await platform.list_workloads():
            (replica,) = (await platform.observe(name)).replicas
            assert (replica.version, replica.phase) == (version, ReplicaPhase.RUNNING), name
    for caller in callers[1:]:
        caller.close()


async def test_a_crash_is_counted_and_the_replica_comes_back(platform: ProcessPlatform, tmp_path: Path) -> None:
    script = f"echo $$ > {tmp_path}/new; mv {tmp_path}/new {tmp_path}/pid; exec sleep 1000"
    await platform.apply(shell(script, env={"PATH": "/usr/bin:/bin"}), epoch=1)
    pid = await number_in(tmp_path / "pid")

    os.kill(pid, signal.SIGKILL)

    replica = await replica_when(platform, lambda replica: replica.restarts == 1)
    assert replica.version == "1.0.0"


async def test_a_replica_that_somebody_took_the_port_of_is_restarted_on_another(
    platform: ProcessPlatform, tmp_path: Path
) -> None:
    await platform.apply(replace(a_server(tmp_path / "may-start"), replicas=2), epoch=1)
    down = await replica_when(platform, lambda replica: replica.phase is ReplicaPhase.BACKOFF)
    neighbour = (await platform.observe("web")).replicas[1]

    with socket.create_server(("127.0.0.1", down.ports["http"])):
        (tmp_path / "may-start").touch()
        await platform.restart("web", "web-0")

        number = await number_listened_on(platform)
    assert number not in (down.ports["http"], neighbour.ports["http"])
    replica, beside = (await platform.observe("web")).replicas
    assert replica.ports == {"http": number}
    assert beside.ports == neighbour.ports


@pytest.mark.parametrize("file", ["web.json", "web-0.conf", "replicas.conf"])
async def test_applying_again_finishes_what_a_caller_killed_at_a_file_began_about_a_taken_port(
    platform: ProcessPlatform, tmp_path: Path, file: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    server = a_server(tmp_path / "may-start")
    await platform.apply(server, epoch=1)
    down = await replica_when(platform, lambda replica: replica.phase is ReplicaPhase.BACKOFF)

    with socket.create_server(("127.0.0.1", down.ports["http"])):
        (tmp_path / "may-start").touch()
        with monkeypatch.context() as patch:
            patch.setattr(LocalFiles, "write", killed_after(file, LocalFiles.write))
            with pytest.raises(Killed):
                await platform.apply(server, epoch=1)
        await platform.apply(server, epoch=1)

        number = await number_listened_on(platform)
    assert (await platform.observe("web")).replicas[0].ports == {"http": number}


class Killed(Exception):
    """Ends a caller where it stands."""


def killed_after(file: str, write: Callable[[LocalFiles, PurePath, str], None]) -> Callable[..., None]:
    """What writes files and ends its caller at that one."""

    def write_and_die(files: LocalFiles, path: PurePath, text: str) -> None:
        write(files, path, text)
        if path.name == file:
            raise Killed

    return write_and_die


def a_server(gate: Path) -> WorkloadSpec:
    """One that fails until there is such a file, or while somebody else has its port; it tells that port."""
    program = "import os, signal, socket, sys; os.stat(sys.argv[1]); s = socket.create_server(('', int(sys.argv[2])))"
    program += "; print(s.getsockname()[1], flush=True); signal.pause()"
    return a_workload(sys.executable, "-SEc", program, str(gate), "${port}", ports=(PortSpec("http"),))


async def number_listened_on(platform: ProcessPlatform) -> int:
    """What the first replica says that it listens on."""
    while not (last := (await platform.logs("web", "web-0"))[-1:]) or not last[0].isdecimal():  # noqa: ASYNC110
        await asyncio.sleep(0.005)
    return int(last[0])


async def test_workloads_outlive_their_callers_and_are_found_again(platform: ProcessPlatform) -> None:
    await platform.apply(a_workload(ports=(PortSpec("http"),)), epoch=1)
    before = await replica_when(platform, lambda replica: replica.phase is ReplicaPhase.RUNNING)

    later = another(platform)
    await later.start()

    (after,) = (await later.observe("web")).replicas
    later.close()
    assert (after.started_at, after.ports, after.restarts) == (before.started_at, before.ports, 0)


async def test_applying_again_finishes_what_a_killed_caller_began(platform: ProcessPlatform) -> None:
    await platform.apply(a_workload(), epoch=1)
    files = WorkloadFiles(platform.supervisord.directory.parent / "workloads")
    wish = replace(a_workload(), version="2.0.0")
    files.put(next_record(files.get("web"), wish, 2, born=1))  # killed right after the record was written
    assert not (await platform.observe("web")).is_ready

    await platform.apply(wish, epoch=2)

    assert (await replica_when(platform, lambda replica: replica.version == "2.0.0")).phase is ReplicaPhase.RUNNING


async def test_applying_again_finishes_what_was_not_told_to_supervisord(platform: ProcessPlatform) -> None:
    await platform.apply(a_workload(), epoch=1)
    (platform.supervisord.programs / "replicas.conf").unlink()  # as if killed before it was written

    await platform.apply(a_workload(), epoch=1)

    supervisord = pid_of_supervisord(platform)
    os.kill(supervisord, signal.SIGKILL)
    await end_of(supervisord)
    await platform.start()
    assert (await replica_when(platform, lambda replica: replica.phase is ReplicaPhase.RUNNING)).version == "1.0.0"


async def test_it_may_keep_more_replicas_than_a_shell_has_descriptors_for() -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    data = Path(tempfile.mkdtemp(prefix="opsuite-"))
    platform = ProcessPlatform(data)
    resource.setrlimit(resource.RLIMIT_NOFILE, (1024, hard))
    try:
        await platform.start()
        allowed, _ = resource.prlimit(pid_of_supervisord(platform), resource.RLIMIT_NOFILE)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        await platform.stop()
        platform.close()
        shutil.rmtree(data)

    assert allowed >= min(8192, hard)


async def test_no_replica_outlives_a_killed_supervisord_and_start_brings_one_back(
    platform: ProcessPlatform, tmp_path: Path
) -> None:
    script = f"echo $$ > {tmp_path}/new; mv {tmp_path}/new {tmp_path}/pid; exec sleep 1000"
    await platform.apply(shell(script, env={"PATH": "/usr/bin:/bin"}), epoch=1)
    pid, supervisord = await number_in(tmp_path / "pid"), pid_of_supervisord(platform)

    os.kill(supervisord, signal.SIGKILL)
    await end_of(supervisord)

    await end_of(pid)
    with pytest.raises(Unavailable, match="opsuite up"):
        await platform.observe("web")
    await platform.start()
    assert (await replica_when(platform, lambda replica: replica.phase is ReplicaPhase.RUNNING)).version == "1.0.0"


async def test_a_replica_that_ignores_sigterm_is_killed(platform: ProcessPlatform) -> None:
    await platform.apply(shell("trap '' TERM; echo up; while :; do sleep 1000; done", env={"PATH": "/bin"}), epoch=1)
    await lines_when(platform, 1)

    await platform.remove("web")

    with pytest.raises(NotFound):
        await platform.observe("web")


async def test_workloads_whose_names_begin_alike_are_strangers(platform: ProcessPlatform) -> None:
    await platform.apply(a_workload(), epoch=1)
    await platform.apply(replace(a_workload(), name="web-0"), epoch=1)

    await platform.remove("web")

    (replica,) = (await platform.observe("web-0")).replicas
    assert (replica.name, replica.phase) == ("web-0-0", ReplicaPhase.RUNNING)


async def number_in(path: Path) -> int:
    """The number that a process writes into a file, when it has."""
    while not await asyncio.to_thread(path.exists):  # noqa: ASYNC110  # other processes do not set our events
        await asyncio.sleep(0.005)
    return int(await asyncio.to_thread(path.read_text))
