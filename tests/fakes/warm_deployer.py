"""Deployers that start in a fraction of the time: forked from a process that has imported everything already.

Each is a process of its own, from its first line on the same as `python -m opsuite_deployer`; only the imports, most
of what a start costs, are done once for all. Suites that end hundreds of deployers need that.

    with a_nursery() as nursery:
        deployer = WarmDeployer(directory / "data", nursery=nursery)
        deployer.start(OPSUITE_FAULT="deployer.settled")
"""

from __future__ import annotations

import json
import os
import runpy
import select
import signal
import subprocess
import sys
import threading
import traceback
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NoReturn

from deployer import DeployerProcess


class Nursery:
    """The process that has imported everything, seen from the tests. Threads may share it."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._process = subprocess.Popen(
            [sys.executable, "-m", "fakes.warm_deployer"],
            env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[1])},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            start_new_session=True,
        )

    def fork(self, environment: Mapping[str, str], log: Path) -> WarmProcess:
        """A new deployer with this environment, whose output goes to the end of `log`."""
        return WarmProcess(self, self._ask({"environment": dict(environment), "log": str(log)}))

    def status_of(self, pid: int) -> int:
        """Exit status of a deployer that has ended, negative for a signal; to be asked once."""
        return self._ask({"wait": pid})

    def close(self) -> None:
        """End it and every deployer that came of it."""
        self._process.communicate(timeout=60)

    def _ask(self, request: Mapping[str, Any]) -> int:
        with self._lock:
            assert self._process.stdin is not None
            assert self._process.stdout is not None
            self._process.stdin.write(json.dumps(request).encode() + b"\n")
            self._process.stdin.flush()
            return int(self._process.stdout.readline())


class WarmProcess:
    """The part of subprocess.Popen that DeployerProcess uses, for a process that is no child of ours."""

    def __init__(self, nursery: Nursery, pid: int) -> None:
        self._nursery = nursery
        self.pid = pid
        self.returncode: int | None = None
        self._descriptor = os.pidfd_open(pid)
        self._reaping = threading.Lock()

    def poll(self) -> int | None:
        """Its exit status, None while it runs."""
        return self.returncode if self.returncode is not None else self._wait(0)

    def wait(self, timeout: float) -> int:
        """Its exit status, once it has ended. Raises subprocess.TimeoutExpired."""
        status = self.returncode if self.returncode is not None else self._wait(timeout)
        if status is None:
            raise subprocess.TimeoutExpired(["opsuite_deployer"], timeout)
        return status

    def send_signal(self, number: signal.Signals) -> None:
        """Send a signal, unless it has ended."""
        if self.poll() is None:
            signal.pidfd_send_signal(self._descriptor, number)

    def _wait(self, seconds: float) -> int | None:
        if select.select([self._descriptor], [], [], seconds)[0]:
            with self._reaping:  # several threads may wait; its status can be asked for once
                if self.returncode is None:
                    self.returncode = self._nursery.status_of(self.pid)
        return self.returncode

    def __del__(self) -> None:
        os.close(self._descriptor)


@dataclass
class WarmDeployer(DeployerProcess):
    """A DeployerProcess that starts warm."""

    nursery: Nursery = field(kw_only=True)

    def start(self, *, wait: bool = True, **settings: str) -> None:
        """Start it, by default until it serves; `settings` are for this life alone."""
        assert self.process is None or self.process.poll() is not None, "it runs already"
        process: Any = self.nursery.fork(self._environment(settings), self.log_file)
        self.process = process
        if wait:
            self.wait_until_healthy()


@contextmanager
def a_nursery() -> Iterator[Nursery]:
    """A nursery, ended with all that came of it."""
    nursery = Nursery()
    try:
        yield nursery
    finally:
        nursery.close()


# ---- the other side -------------------------------------------------------------------------------------------------


def serve() -> None:
    """Fork one deployer after the other, as asked for on standard input; end them all at its end."""
    import opsuite_deployer.composition  # noqa: F401 - the whole point, and only on this side

    alive = set[int]()
    answers = os.fdopen(os.dup(1), "w")
    for line in sys.stdin:
        request = json.loads(line)
        if pid := request.get("wait"):
            alive.discard(pid)
            answer = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
        else:
            answer = os.fork()
            if answer == 0:
                become_deployer(request["environment"], request["log"])
            alive.add(answer)
        print(answer, file=answers, flush=True)
    for pid in alive:
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


def become_deployer(environment: Mapping[str, str], log: str) -> NoReturn:
    """Run the deployer in this process as if it had just been started."""
    status = 1
    try:
        settle_in(environment, log)
        sys.argv = ["opsuite_deployer"]
        runpy.run_module("opsuite_deployer", run_name="__main__", alter_sys=True)
        status = 0
    except BaseException:
        traceback.print_exc()
        raise
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)


def settle_in(environment: Mapping[str, str], log: str) -> None:
    """Make this process what a new one would be: its session, streams, environment, fault point."""
    from opsuite_runs import faults  # only on this side

    os.setsid()
    output = os.open(log, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    nothing = os.open(os.devnull, os.O_RDONLY)
    for descriptor, place in [(nothing, 0), (output, 1), (output, 2)]:
        os.dup2(descriptor, place)
    os.closerange(3, 256)
    os.environ.clear()
    os.environ.update(environment)
    # What the module reads when it is imported.
    arm: Any = faults
    arm._ARMED = faults.parse(environment.get(faults.VARIABLE, ""))
    arm._LOG = environment.get(faults.LOG_VARIABLE, "")
    arm._IS_IDLE = arm._ARMED is None and not arm._LOG


if __name__ == "__main__":
    serve()
