"""An application that is crashed, hung and broken, and mended each time by nobody: `make story-healer`.

Starts the suite with a real Envoy on free ports of this machine, with a data directory of its own, and deploys a bakery
of three replicas. While customers buy bread, one replica crashes and cannot start again until supervisord has given it
up; another one hangs; then a version is rolled out that passes every gate and is sick a little later. A health check
finds each of them, a healing policy restarts what is sick, or takes the version back, and nothing counts as mended
before it has stayed healthy.

Prints the time to repair of each fault, as customers saw it. Exits 0 only if everything was mended, nothing was acted
on twice, and the bakery answers as the good version at the end. Whatever was started is stopped, and no file stays,
also after Ctrl-C.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import datetime
from itertools import pairwise
from pathlib import Path
from typing import Any

from demo import OPSUITE, SUCCEEDED, expect, free_port, page, say, suite
from demo import settings as settings_of_demo
from story_rollout import Load, line_with, load, wait_for_edge

EXAMPLE = Path(__file__).parent / "healing"
GOOD, BAD = "1.0.0", "1.1.0"
MENDED_SECONDS = 120.0
"""Longest time that a fault may take to be found, mended and proved."""
LOOK_EVERY_SECONDS = 0.1


@dataclass(frozen=True)
class Mended:
    """A fault and what became of it."""

    fault: str
    began: float
    """Seconds since the epoch."""
    healthy: float
    """When customers could buy from every replica again."""
    remediations: list[dict[str, Any]]

    @property
    def attempts(self) -> list[dict[str, Any]]:
        """What was done, in order."""
        attempts = [one for each in self.remediations for one in each.get("attempts", [])]
        return sorted(attempts, key=lambda one: str(one["start_time"]))


def main() -> int:
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))  # as Ctrl-C does: everything is stopped
    began = time.monotonic()
    try:
        status = tell()
    except KeyboardInterrupt:
        print("\nleft; everything is stopped")
        return 130
    if status == 0:
        print(f"\nThree faults, and nobody was woken ({time.monotonic() - began:.0f} s).")
    return status


def tell() -> int:
    with ExitStack() as stack:
        place = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="opsuite-story-")))
        port = free_port()
        environment = settings(place)
        pipeline = put_down(place, port)
        stack.enter_context(suite(place, environment))
        stack.callback(signal.signal, signal.SIGINT, signal.SIG_IGN)  # a second Ctrl-C does not keep it from stopping
        for word in ("edge", "healer"):
            if "none" in (missing := line_with(word, place / "suite.log")):
                sys.exit(f"FAILED: {missing}")

        say("Deploy the bakery, and say what is watched and what is done about trouble")
        expect(0, environment, "apply", "-f", str(pipeline))
        deploy(environment, GOOD)
        wait_for_edge(port)
        wait_until("the healer answers", lambda: call(environment, "heal", "status") is not None)
        expect(0, environment, "heal", "apply", "-f", str(EXAMPLE / "healing.yaml"))
        bakery = Bakery(place, port, environment)
        wait_until("every replica is healthy", bakery.is_healthy)

        with load(port) as customers:
            faults = [bakery.crash(), bakery.hang(), bakery.break_by_release()]
        say("What was open, and what was done")
        expect(0, environment, "incident", "list", "--all")
        expect(0, environment, "heal", "list")
        expect(0, environment, "incident", "stats")
        say("What it cost")
        print_table(faults, customers)
        woken = [one for one in call(environment, "incident", "list", "--all") if one.get("told")]
        return judge(faults, woken, page(f"http://127.0.0.1:{port}/"))


# ---- what is needed -------------------------------------------------------------------------------------------------


def settings(place: Path) -> dict[str, str]:
    """Environment of the suite and of the commands that talk to it."""
    environment = settings_of_demo(place, place / "data" / "work" / "bakery", 0)
    del environment["DEPLOYER_WORKLOAD_PORTS"]  # each replica gets one of the usual ones
    return {name: value for name, value in environment.items() if not name.startswith("HEALER_")} | {
        "OPSUITE_TOKEN_FILE": str(place / "data" / "token"),
        "DEPLOYER_START_RETRIES": "0",  # supervisord gives up at once, so that it is the healer's to mend
    }


def put_down(place: Path, port: int) -> Path:
    """The versions, each in a directory of its own where the pipeline looks for them; the pipeline's document."""
    for version in (GOOD, BAD):
        directory = place / "data" / "work" / "bakery" / version
        directory.mkdir(parents=True)
        shutil.copy(EXAMPLE / "bakery.py", directory)
        shutil.copy(EXAMPLE / "versions" / version / "release.py", directory)
    (place / "data").chmod(0o700)
    document = place / "pipeline.yaml"
    document.write_text((EXAMPLE / "pipeline.yaml").read_text().replace("listen_port: 8080", f"listen_port: {port}"))
    return document


def deploy(environment: dict[str, str], version: str) -> None:
    """Deploy a version and show it; exits unless it succeeds."""
    expect(SUCCEEDED, environment, "deploy", "bakery", version, "--env", "staging", "--wait", "--timeout", "120s")


def call(environment: dict[str, str], *words: str) -> Any:
    """What a command answers, as plain data; None when it fails."""
    done = subprocess.run([*OPSUITE, *words, "--json"], env=environment, check=False, capture_output=True, text=True)
    return json.loads(done.stdout or "null") if done.returncode == 0 else None


def wait_until(what: str, is_so: Callable[[], bool]) -> float:
    """Wait for something; the time at which it was so. Exits when it takes too long."""
    give_up_at = time.monotonic() + MENDED_SECONDS
    while not is_so():
        if time.monotonic() > give_up_at:
            sys.exit(f"FAILED: not in time: {what}")
        time.sleep(LOOK_EVERY_SECONDS)
    return time.time()


# ---- the faults -----------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Replica:
    """One process of the bakery."""

    pid: int
    port: int
    version: str


@dataclass(frozen=True)
class Bakery:
    """The application, seen from outside: by requests to each replica, and by the processes that there are."""

    place: Path
    port: int
    environment: dict[str, str]

    def crash(self) -> Mended:
        """Kill a replica that then cannot start; when supervisord has given it up, the cause goes away by itself."""
        say("A replica crashes, and cannot start again for a while")
        no_flour = self._work(GOOD) / "no-flour"
        no_flour.touch()
        began = time.time()
        os.kill(self.replicas()[0].pid, signal.SIGKILL)
        wait_until("supervisord gives the replica up", lambda: "FATAL" in self._supervisord_log())
        no_flour.unlink()
        return self._mended("a crash", began)

    def hang(self) -> Mended:
        """Stop a replica where it is: it takes connections and answers none."""
        say("A replica hangs")
        began = time.time()
        os.kill(self.replicas()[0].pid, signal.SIGSTOP)
        return self._mended("a hang", began)

    def break_by_release(self) -> Mended:
        """Roll out the version that is sick a little later."""
        say(f"Deploy {BAD}: every gate passes, and then the bread is sold out")
        deploy(self.environment, BAD)
        (self._work(BAD).parent / "store-is-empty").touch()
        began = wait_until("the bread is sold out", lambda: not self.is_healthy())
        return self._mended("a bad release", began)

    def replicas(self) -> list[Replica]:
        """The processes that run now, by what they were started with."""
        listed = subprocess.run(["ps", "-eo", "pid,args"], check=True, capture_output=True, text=True).stdout
        found = []
        for line in listed.splitlines()[1:]:
            pid, _, command = line.strip().partition(" ")
            directory = self._directory(int(pid)) if "bakery.py --port" in command else ""
            if directory.startswith(str(self.place)):
                found.append(Replica(int(pid), int(command.rpartition(" ")[2]), Path(directory).name))
        return found

    def is_healthy(self) -> bool:
        """Whether customers can buy from each of three replicas of one version."""
        found = self.replicas()
        versions = {one.version for one in found}
        return len(found) == 3 and len(versions) == 1 and all(_sells(one) for one in found)

    def _mended(self, fault: str, began: float) -> Mended:
        """Wait until the fault is mended and proved, and tell what was done."""
        before = time.time()
        wait_until("it is noticed", lambda: bool(self._remediations(began)))
        healthy = wait_until("customers can buy from every replica", self.is_healthy)
        wait_until("every remediation has ended", lambda: self._have_ended(began))
        wait_until("no incident is open", lambda: not call(self.environment, "incident", "list"))
        names = [one["name"] for one in self._remediations(began)]
        found = [call(self.environment, "heal", "show", name) for name in names]
        print(f"{fault}: mended after {healthy - began:.1f} s, proved {time.time() - before:.1f} s after it was left")
        return Mended(fault, began, healthy, found)

    def _remediations(self, since: float) -> list[dict[str, Any]]:
        listed = call(self.environment, "heal", "list", "--limit", "100") or []
        return [one for one in listed if seconds_of(one["create_time"]) >= since]

    def _have_ended(self, since: float) -> bool:
        return all("end_time" in one for one in self._remediations(since))

    def _work(self, version: str) -> Path:
        return self.place / "data" / "work" / "bakery" / version

    def _supervisord_log(self) -> str:
        return (self.place / "data" / "supervisor" / "supervisord.log").read_text()

    @staticmethod
    def _directory(pid: int) -> str:
        try:
            return str(Path(f"/proc/{pid}/cwd").readlink())
        except OSError:
            return ""


def _sells(replica: Replica) -> bool:
    return "loaf" in page(f"http://127.0.0.1:{replica.port}/")


def seconds_of(moment: str) -> float:
    """A time of an answer, in seconds since the epoch."""
    return datetime.fromisoformat(moment).timestamp()


# ---- how it went ----------------------------------------------------------------------------------------------------


def print_table(faults: list[Mended], customers: Load) -> None:
    """The faults in figures."""
    print(f"{'fault':<16}{'time to repair':>16}  what was done")
    for one in faults:
        print(f"{one.fault:<16}{one.healthy - one.began:>14.1f} s  {told(one)}")
    mean = sum(one.healthy - one.began for one in faults) / len(faults)
    print(f"{'mean':<16}{mean:>14.1f} s")
    print(f"{len(customers.answers):,} requests meanwhile, of which {len(customers.failures):,} failed")


def told(fault: Mended) -> str:
    """What was done about a fault, with what came of it."""
    done = [f"{one['action']} {one['state'].removeprefix('ATTEMPT_STATE_')}" for one in fault.attempts]
    return ", ".join(done) or "nothing"


def is_doubled(attempts: list[dict[str, Any]]) -> bool:
    """Whether one action had begun before the one before it had ended."""
    return any(
        "end_time" not in one or seconds_of(after["start_time"]) < seconds_of(one["end_time"])
        for one, after in pairwise(attempts)
    )


def judge(faults: list[Mended], woken: list[dict[str, Any]], now: str) -> int:
    """0 if everything went as it should; what did not is said."""
    wrong = []
    expected = {"a crash": "RESTART_SERVICE", "a hang": "RESTART_SERVICE", "a bad release": "ROLL_BACK_DEPLOYMENT"}
    for one in faults:
        if {each["action"] for each in one.attempts} != {expected[one.fault]}:
            wrong.append(f"{one.fault} should have been mended by {expected[one.fault]}: {told(one)}")
        if is_doubled(one.attempts):
            wrong.append(f"{one.fault} was acted on twice at once: {one.attempts}")
        wrong += [f"{one.fault}: {each['reason']}" for each in one.remediations if each.get("is_escalated")]
    wrong += [f"somebody was woken: {one['summary']}" for one in woken]
    if f"version {GOOD}" not in now:
        wrong.append(f"the bakery should answer as {GOOD}, and says: {now or 'nothing'}")
    for line in wrong:
        print("FAILED:", line)
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
