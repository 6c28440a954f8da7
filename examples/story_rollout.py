"""A bad version under load, and how little of it anybody notices: `make story-rollout`.

Starts the suite with a real Envoy on free ports of this machine, with a data directory of its own, and deploys three
versions of a shop while a load generator buys tea. 1.0.0 is good. 1.1.0 starts, says that it is healthy, and answers
real requests with 503: a tenth of them, since it is a canary; the edge counts the errors, and the deployer brings the
requests back to 1.0.0 by itself. 1.2.0 is good and takes over without one failed request.

Exits 0 only if all of that happened. Whatever was started is stopped, and no file stays, also after Ctrl-C.
"""

from __future__ import annotations

import http.client
import json
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

from demo import OPSUITE, ROLLED_BACK, SUCCEEDED, expect, free_port, latest, page, say, suite
from demo import settings as settings_of_demo

EXAMPLE = Path(__file__).parent / "rollout"
FIRST, BAD, GOOD = "1.0.0", "1.1.0", "1.2.0"
CANARY_PERCENT = 10
"""What pipeline.yaml gives to a new version first."""
USERS = 8
REQUESTS_PER_SECOND = 160
ANSWER_SECONDS = 10.0


def main() -> int:
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))  # as Ctrl-C does: everything is stopped
    began = time.monotonic()
    try:
        status = tell()
    except KeyboardInterrupt:
        print("\nleft; everything is stopped")
        return 130
    if status == 0:
        print(f"\nThe bad version is gone by itself, and the good one is there ({time.monotonic() - began:.0f} s).")
    return status


def tell() -> int:
    with ExitStack() as stack:
        place = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="opsuite-story-")))
        port = free_port()
        environment = settings(place)
        pipeline = put_down(place, port)
        stack.enter_context(suite(place, environment))
        stack.callback(signal.signal, signal.SIGINT, signal.SIG_IGN)  # a second Ctrl-C does not keep it from stopping
        if "none:" in (missing := line_with("edge", place / "suite.log")):
            sys.exit(f"FAILED: no edge: {missing}")

        say("Register the pipeline, and deploy the first version")
        expect(0, environment, "apply", "-f", str(pipeline))
        expect(SUCCEEDED, environment, "deploy", "shop", FIRST, "--env", "staging", "--wait")
        wait_for_edge(port)

        say(f"Deploy {BAD} under load: healthy by its own account, but its answers are errors")
        bad = deploy(environment, BAD, port, expected=ROLLED_BACK)
        say("What is left of it")
        expect(0, environment, "rollout", "status", bad.uid)
        left = page(f"http://127.0.0.1:{port}/")

        say(f"Deploy {GOOD} under load, which is good")
        good = deploy(environment, GOOD, port, expected=SUCCEEDED)
        now = page(f"http://127.0.0.1:{port}/")

        say("What it cost")
        print_table(bad, good)
        return judge(bad, good, left, now)


# ---- what is needed -------------------------------------------------------------------------------------------------


def settings(place: Path) -> dict[str, str]:
    """Environment of the suite and of the commands that talk to it."""
    environment = settings_of_demo(place, place / "data" / "work" / "shop", 0)
    del environment["DEPLOYER_WORKLOAD_PORTS"]  # each replica gets one of the usual ones
    return environment


def put_down(place: Path, port: int) -> Path:
    """The versions, each in a directory of its own where the pipeline looks for them; the pipeline's document."""
    for version in (FIRST, BAD, GOOD):
        directory = place / "data" / "work" / "shop" / version
        directory.mkdir(parents=True)
        shutil.copy(EXAMPLE / "shop.py", directory)
        shutil.copy(EXAMPLE / "versions" / version / "release.py", directory)
    (place / "data").chmod(0o700)
    document = place / "pipeline.yaml"
    document.write_text((EXAMPLE / "pipeline.yaml").read_text().replace("listen_port: 8080", f"listen_port: {port}"))
    return document


def line_with(word: str, log: Path) -> str:
    """What the greeting of `opsuite up` says about something; waits until it says it."""
    while True:
        for line in log.read_text().splitlines():
            if line.split()[:1] == [word]:
                return line
        time.sleep(0.05)


def wait_for_edge(port: int) -> None:
    """Return when the edge answers; exits when it does not."""
    give_up_at = time.monotonic() + 30
    while not page(f"http://127.0.0.1:{port}/"):
        if time.monotonic() > give_up_at:
            sys.exit("FAILED: the edge does not answer")
        time.sleep(0.05)


# ---- load -----------------------------------------------------------------------------------------------------------


@dataclass
class Load:
    """Requests of some users at a steady pace, and what came of each."""

    port: int
    answers: list[tuple[float, str]] = field(default_factory=list)
    """When each was there (seconds since the epoch) and what it was: empty if it was good."""
    is_over: threading.Event = field(default_factory=threading.Event)

    def use(self, user: int) -> None:
        """One user's requests, until it is over."""
        every = USERS / REQUESTS_PER_SECOND
        next_at = time.monotonic() + every * user / USERS
        with closing(http.client.HTTPConnection("127.0.0.1", self.port, timeout=ANSWER_SECONDS)) as connection:
            while not self.is_over.wait(max(0.0, next_at - time.monotonic())):
                next_at = max(next_at + every, time.monotonic() - 1)  # who cannot keep the pace does not make up for it
                self.answers.append((time.time(), ask(connection)))

    @property
    def failures(self) -> list[tuple[float, str]]:
        """Those that were not good, the oldest first."""
        return sorted(answer for answer in self.answers if answer[1])


def ask(connection: http.client.HTTPConnection) -> str:
    """What was wrong with the answer to one request; empty if nothing was."""
    try:
        connection.request("GET", "/")
        answer = connection.getresponse()
        answer.read()
    except (OSError, http.client.HTTPException) as error:
        connection.close()
        return repr(error)
    return "" if answer.status == 200 else f"HTTP {answer.status}"


@contextmanager
def load(port: int) -> Iterator[Load]:
    """Requests as long as the block lasts."""
    made = Load(port)
    users = [threading.Thread(target=made.use, args=(user,), daemon=True) for user in range(USERS)]
    for user in users:
        user.start()
    try:
        yield made
    finally:
        made.is_over.set()
        for user in users:
            user.join()


# ---- what is done ---------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Deployed:
    """A version that was deployed under load."""

    uid: str
    load: Load
    safe_at: float | None
    """When every edge had acknowledged that a bad canary gets nothing (seconds since the epoch); None without one."""

    @property
    def failed_percent(self) -> float:
        """Of all requests from its first moment to its last."""
        return 100 * len(self.load.failures) / max(1, len(self.load.answers))

    @property
    def seconds_to_safety(self) -> float | None:
        """From the first bad answer to full safety."""
        if self.safe_at is None or not self.load.failures:
            return None
        return self.safe_at - self.load.failures[0][0]


def deploy(environment: dict[str, str], version: str, port: int, *, expected: int) -> Deployed:
    """Deploy a version under load and show it; exits unless it ends as expected."""
    with load(port) as running:
        expect(expected, environment, "deploy", "shop", version, "--env", "staging", "--wait", "--timeout", "120s")
    uid = latest(environment, version)
    return Deployed(uid, running, safe_at(environment, uid))


def safe_at(environment: dict[str, str], uid: str) -> float | None:
    """When a rollout that failed was over: it is once every edge has acknowledged that the canary gets nothing."""
    command = [*OPSUITE, "rollout", "status", uid, "--json"]
    shown = subprocess.run(command, env=environment, check=True, capture_output=True, text=True)
    (step,) = json.loads(shown.stdout)["rollouts"]
    rollout = step["rollout"]
    canary = rollout["tracks"][-1]
    is_safe = canary.get("weight", 0) == 0 and canary.get("weight_in_force", False)
    if rollout["phase"] != "ROLLOUT_PHASE_FAILED" or not is_safe:
        return None
    return datetime.fromisoformat(rollout["since"]).timestamp()


# ---- how it went ----------------------------------------------------------------------------------------------------


def print_table(bad: Deployed, good: Deployed) -> None:
    """Both deployments side by side."""
    rows = [("", f"{BAD}, bad", f"{GOOD}, good")]
    rows += [("requests while it was deployed", *(f"{len(one.load.answers):,}" for one in (bad, good)))]
    rows += [("of these failed", *(f"{len(one.load.failures):,}" for one in (bad, good)))]
    rows += [("failed share", *(f"{one.failed_percent:.1f} %" for one in (bad, good)))]
    rows += [("share that a canary gets first", f"{CANARY_PERCENT:.1f} %", f"{CANARY_PERCENT:.1f} %")]
    safety = bad.seconds_to_safety
    rows += [("first bad answer to full safety", f"{safety:.2f} s" if safety is not None else "never", "-")]
    for name, first, second in rows:
        print(f"{name:<34}{first:>12}{second:>14}")


def judge(bad: Deployed, good: Deployed, left: str, now: str) -> int:
    """0 if everything went as it should; what did not is said."""
    wrong = []
    if f"version {FIRST}" not in left:
        wrong.append(f"after {BAD} the shop should answer as {FIRST}, and says: {left or 'nothing'}")
    if not bad.load.failures:
        wrong.append(f"{BAD} should have failed some requests")
    if bad.failed_percent > CANARY_PERCENT:
        wrong.append(f"{BAD} failed more than the share of a canary")
    if bad.seconds_to_safety is None:
        wrong.append(f"nobody knows when {BAD} got no requests any more")
    if good.load.failures:
        wrong.append(f"{GOOD} failed requests: {good.load.failures[0][1]}")
    if f"version {GOOD}" not in now:
        wrong.append(f"the shop should answer as {GOOD}, and says: {now or 'nothing'}")
    for line in wrong:
        print("FAILED:", line)
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
