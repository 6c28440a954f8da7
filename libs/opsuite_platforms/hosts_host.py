"""One host: its connection, and the verbs of its supervisord. What blocks runs in threads of the host's own."""

from __future__ import annotations

import asyncio
import shlex
import time
import xmlrpc.client
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import PurePath
from typing import TypeVar

from opsuite_kernel.errors import Conflict, Unavailable
from opsuite_platforms.port import WorkloadStatus
from opsuite_platforms.programs import Keeping, Tools
from opsuite_platforms.ssh import HostSpec, Session, SshLimits, SshLink, unreachable
from opsuite_platforms.ssh_machine import SshMachine, SshSpawns
from opsuite_platforms.supervised import Settings, Share, SupervisedWorkloads
from opsuite_platforms.supervisord import CONFIGURATION

CHANGES_AT_ONCE = 4
"""Each needs up to two sessions for its locks, and OpenSSH gives ten per connection."""
LOOKS_AT_ONCE = 4
SETPRIV = PurePath("/usr/bin/setpriv")
PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
START_SECONDS = 15.0
POLL_SECONDS = 0.05

T = TypeVar("T")


class Host:
    """One of the hosts of a platform. Raises, whatever is asked: Unavailable, naming the host."""

    def __init__(self, spec: HostSpec, share: Share, keeping: Keeping, limits: SshLimits) -> None:
        self.spec = spec
        self.share = share
        self._keeping = keeping
        self._limits = limits
        self._link = SshLink(spec, limits)
        self._changes = ThreadPoolExecutor(CHANGES_AT_ONCE, f"{spec.name}-changes")
        self._looks = ThreadPoolExecutor(LOOKS_AT_ONCE, f"{spec.name}-looks")
        self._equipped: tuple[Session, SshMachine, SupervisedWorkloads] | None = None

    async def change(self, verb: Callable[[SupervisedWorkloads], T]) -> T:
        """Do something to its workloads. It goes on to its end though the caller is cancelled."""
        session, _, workloads = await self._equipment()
        return await self._run(session, self._changes, partial(verb, workloads))

    async def look(self, verb: Callable[[SupervisedWorkloads], T]) -> T:
        """Ask something about its workloads, however busy it is with changes."""
        session, _, workloads = await self._equipment()
        return await self._run(session, self._looks, partial(verb, workloads))

    async def observe(self, name: str) -> WorkloadStatus:
        """A workload as it is now on this host, however many ask for others at the same time. Raises: NotFound."""
        session, _, workloads = await self._equipment()
        return await self._in_time(session, asyncio.wrap_future(workloads.observe(name)))

    async def prepare(self) -> None:
        """Start its supervisord unless it runs. Raises: Unavailable, saying what the host lacks."""
        session = await self._link.session()
        machine = SshMachine(self.spec, session, self._limits)
        await self._run(session, self._changes, partial(start_supervisord, machine, self.spec))

    async def check(self) -> None:
        """Return if workloads can be run on it now."""
        session, machine, _ = await self._equipment()
        if not await self._run(session, self._looks, partial(answers, machine)):
            message = f"supervisord of host {self.spec.name} is stopping: start it with `opsuite host prepare`"
            raise Unavailable(message, reason="PLATFORM_NOT_RUNNING")

    async def close(self) -> None:
        """Let go; workloads stay."""
        await self._link.close()
        if self._equipped is not None:
            self._equipped[2].close()
        self._changes.shutdown(wait=False)
        self._looks.shutdown(wait=False)

    async def _equipment(self) -> tuple[Session, SshMachine, SupervisedWorkloads]:
        """What belongs to the present connection."""
        session = await self._link.session()
        if self._equipped is None or self._equipped[0] is not session:
            machine = SshMachine(self.spec, session, self._limits)
            self._equipped = session, machine, await self._workloads(session, machine)
        return self._equipped

    async def _workloads(self, session: Session, machine: SshMachine) -> SupervisedWorkloads:
        has_setpriv = await self._run(session, self._looks, partial(machine.exists, SETPRIV))
        tools = Tools("/usr/bin/env", str(SETPRIV) if has_setpriv else None)
        settings = Settings(self.spec.ports, tools, self._keeping, self.spec.address, self.share, joined=False)
        spawns = SshSpawns(machine, self.spec.data / "supervisor" / "supervisord.log")
        return SupervisedWorkloads(machine, self.spec.data, spawns, settings)

    async def _run(self, session: Session, threads: ThreadPoolExecutor, verb: Callable[[], T]) -> T:
        return await self._in_time(session, session.loop.run_in_executor(threads, verb))

    async def _in_time(self, session: Session, work: Awaitable[T]) -> T:
        try:
            async with asyncio.timeout(self._limits.operation.total_seconds()):
                return await work
        except TimeoutError as error:
            session.connection.abort()  # which ends what the thread waits for, and the locks it holds
            raise unreachable(self.spec, error) from error
        except Conflict as error:
            raise Conflict(f"host {self.spec.name}: {error.message}", reason=error.reason) from error
        except xmlrpc.client.Fault as error:
            message = f"supervisord of host {self.spec.name} refuses: {error.faultString}"
            raise Unavailable(message, metadata={"host": self.spec.name}) from error


def answers(machine: SshMachine) -> bool:
    """Whether its supervisord runs and is not about to stop. Raises: Unavailable, when it does not run."""
    with machine.calls() as supervisor:
        return bool(supervisor.getState()["statename"] == "RUNNING")


def start_supervisord(machine: SshMachine, host: HostSpec) -> None:
    """Start the host's supervisord, in a session of its own and with a clean environment, unless it runs."""
    directory = host.data / "supervisor"
    machine.make_directory(directory / "conf.d")
    with machine.locked(directory / "start.lock"):
        if is_up(machine):
            return
        refuse_without_supervisor(machine, host)
        configuration = directory / "supervisord.conf"
        machine.write(configuration, CONFIGURATION.format(directory=str(directory).replace("%", "%%")))
        environment = ["env", "-i", f"PATH={PATH}", "PYTHONUTF8=1", "PYTHONWARNINGS=ignore"]
        supervisord = [host.python, "-m", "supervisor.supervisord", "--nodaemon", "-c", str(configuration)]
        machine.run([*environment, "setsid", "--fork", *supervisord], silent=True)
        wait_until_up(machine, host)


def refuse_without_supervisor(machine: SshMachine, host: HostSpec) -> None:
    """Raises: Unavailable, saying what to install."""
    probe = [host.python, "-c", "import supervisor"]
    if (ended := machine.run(probe)).exit_status != 0:
        why = str(ended.stderr or ended.stdout or "").strip().rpartition("\n")[2]
        message = (
            f"host {host.name} cannot run supervisord (`{shlex.join(probe)}`: {why}): install it there "
            f"(apt-get install supervisor), or name a Python that has it as the host's `python`"
        )
        raise Unavailable(message, reason="SUPERVISOR_MISSING", metadata={"host": host.name})


def is_up(machine: SshMachine) -> bool:
    """Whether its supervisord takes calls."""
    try:
        return answers(machine)
    except (Unavailable, xmlrpc.client.Fault):  # a fault: it is on its way out
        return False


def wait_until_up(machine: SshMachine, host: HostSpec) -> None:
    """Raises: Unavailable."""
    give_up_at = time.monotonic() + START_SECONDS
    while not is_up(machine):
        if time.monotonic() > give_up_at:
            log = host.data / "supervisor" / "supervisord.log"
            raise Unavailable(f"supervisord did not start within {START_SECONDS:.0f} s: see {log} on host {host.name}")
        time.sleep(POLL_SECONDS)
