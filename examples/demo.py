"""The main job on this machine, in under a minute: `make demo`.

Starts the suite on free ports with a data directory of its own, makes a git repository with three versions of
hello-web, and deploys them. 1.0.0 and 1.1.0 succeed. 1.2.0 starts but is not healthy, so the deployer puts 1.1.0 back
by itself. Exits 0 only if the application then answers as 1.1.0. Whatever was started is stopped, and no file stays.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

APPLICATION = Path(__file__).parent / "hello-web"
VERSIONS = ("1.0.0", "1.1.0", "1.2.0")
GOOD, BAD = "1.1.0", "1.2.0"
SUCCEEDED, ROLLED_BACK = 0, 3
START_SECONDS = 60.0
OPSUITE = [sys.executable, "-m", "opsuite_cli"]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--make-repository", type=Path, help="only make the repository, in this directory")
    if chosen := parser.parse_args().make_repository:
        print(make_repository(chosen))
        return 0
    return demonstrate()


def demonstrate() -> int:
    began = time.monotonic()
    with ExitStack() as stack:
        place = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="opsuite-demo-")))
        repository = make_repository(place / "repositories" / "hello-web")
        port = free_port()
        environment = settings(place, repository, port)
        stack.enter_context(suite(place, environment))

        say("Register the pipeline")
        expect(0, environment, "apply", "-f", str(APPLICATION / "pipeline.yaml"))
        for version in VERSIONS:
            say(f"Deploy {version}" + (", which will not be healthy" if version == BAD else ""))
            status = ROLLED_BACK if version == BAD else SUCCEEDED
            deploy = ["deploy", "hello-web", version, "--env", "staging", "--var", f"repository={repository}"]
            expect(status, environment, *deploy, "--wait", "--timeout", "60s")
        say("History")
        expect(0, environment, "history")
        say(f"Trace of {BAD}")
        expect(0, environment, "trace", latest(environment, BAD))
        answer = page(f"http://127.0.0.1:{port}/")
        say(f"http://127.0.0.1:{port}/ answers: {answer}")
        if f"version {GOOD}" not in answer:
            print(f"FAILED: it should answer as {GOOD}")
            return 1
    print(f"\n{BAD} was unhealthy, and {GOOD} is back by itself ({time.monotonic() - began:.1f} s).")
    return 0


# ---- what is needed -------------------------------------------------------------------------------------------------


def make_repository(directory: Path) -> Path:
    """A git repository with a tag for each version."""
    directory.mkdir(parents=True)
    git(directory, "init", "--quiet", "--initial-branch=main")
    for name in ("hello_web.py", "test_hello_web.py"):
        shutil.copy(APPLICATION / name, directory)
    for version in VERSIONS:
        shutil.copy(APPLICATION / "versions" / version / "release.py", directory)
        git(directory, "add", ".")
        git(directory, "commit", "--quiet", "--message", f"Release {version}")
        git(directory, "tag", version)
    return directory


def git(directory: Path, *arguments: str) -> None:
    """Run git with an identity and no settings of the user's, so that hooks and signing stay out of it."""
    identity = {f"GIT_{role}_NAME": "demo" for role in ("AUTHOR", "COMMITTER")}
    identity |= {f"GIT_{role}_EMAIL": "demo@localhost" for role in ("AUTHOR", "COMMITTER")}
    environment = {"PATH": os.environ["PATH"], "GIT_CONFIG_NOSYSTEM": "1", "GIT_CONFIG_GLOBAL": os.devnull}
    subprocess.run(["git", "-C", str(directory), *arguments], check=True, env=environment | identity)


def settings(place: Path, repository: Path, port: int) -> dict[str, str]:
    """Environment of the suite and of the commands that talk to it."""
    data = place / "data"
    address = f"127.0.0.1:{free_port()}"
    trusted = [Path("/usr/local/bin"), Path("/usr/bin"), Path("/bin"), Path(sys.base_prefix, "bin")]
    roots = [data / "work", repository.parent, *own_python(trusted)]
    foreign = ("DEPLOYER_", "OPSUITE_")
    return {name: value for name, value in os.environ.items() if not name.startswith(foreign)} | {
        "OPSUITE_DATA_DIR": str(data),
        "OPSUITE_DEPLOYER_ADDRESS": address,
        "DEPLOYER_LISTEN": address,
        "DEPLOYER_SIDE_PORT_LISTEN": f"127.0.0.1:{free_port()}",
        "DEPLOYER_ROOTS": ",".join(map(str, roots)),
        "DEPLOYER_TRUSTED_DIRECTORIES": ",".join(map(str, trusted)),
        "DEPLOYER_WORKLOAD_PORTS": f"{port}-{port}",
    }


def own_python(trusted: list[Path]) -> list[Path]:
    """Where python3 is kept if that is this user's own: steps run it only from below a root, or if it is root's."""
    found = next((place / "python3" for place in trusted if (place / "python3").exists()), None)
    is_roots = found is not None and found.resolve().stat().st_uid == 0
    return [] if is_roots else [Path(sys.base_prefix)]


def free_port() -> int:
    """A TCP port that nobody listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        number: int = probe.getsockname()[1]
        return number


@contextmanager
def suite(place: Path, environment: dict[str, str]) -> Iterator[None]:
    """The suite, from the moment it serves; stopped with its workloads at the end."""
    say("Start the suite: opsuite up")
    log = place / "suite.log"
    with log.open("wb") as output:
        # A session of its own: Ctrl-C ends the demo, which then stops the suite in order.
        running = subprocess.Popen(
            [*OPSUITE, "up"], env=environment, stdout=output, stderr=output, start_new_session=True
        )
    try:
        wait_until_it_serves(running, log, environment)
        yield
    finally:
        stopped = subprocess.run([*OPSUITE, "down"], env=environment, check=False, capture_output=True, text=True)
        running.wait()
        with suppress(BrokenPipeError):  # whoever read our output may have left; nothing is left running all the same
            print("$ opsuite down", stopped.stdout + stopped.stderr, sep="\n", flush=True)


def wait_until_it_serves(running: subprocess.Popen[bytes], log: Path, environment: dict[str, str]) -> None:
    """Return when the side port says so. Exits when the suite has ended or takes too long."""
    url = f"http://{environment['DEPLOYER_SIDE_PORT_LISTEN']}/health"
    give_up_at = time.monotonic() + START_SECONDS
    while page(url) == "":
        if running.poll() is not None or time.monotonic() > give_up_at:
            sys.exit(f"FAILED: the suite did not start\n{log.read_text()}")
        time.sleep(0.05)
    print("it serves at", environment["OPSUITE_DEPLOYER_ADDRESS"])


# ---- what is done ---------------------------------------------------------------------------------------------------


def say(heading: str) -> None:
    """A heading."""
    print(f"\n== {heading}", flush=True)


def expect(status: int, environment: dict[str, str], *arguments: str) -> None:
    """Run a command of opsuite; exits unless it ends with this status."""
    print("$ opsuite", *arguments, flush=True)
    ended = subprocess.run([*OPSUITE, *arguments], env=environment, check=False)
    if ended.returncode != status:
        sys.exit(f"FAILED: it should exit with {status}, not {ended.returncode}")


def latest(environment: dict[str, str], version: str) -> str:
    """Id of the latest deployment of a version."""
    command = [*OPSUITE, "history", "--json"]
    listed = subprocess.run(command, env=environment, check=True, capture_output=True, text=True)
    return next(str(one["uid"]) for one in json.loads(listed.stdout) if one["version"] == version)


def page(url: str) -> str:
    """The body of a page; empty if it does not answer well."""
    try:
        with urllib.request.urlopen(url, timeout=5) as answer:
            return str(answer.read().decode().strip())
    except (urllib.error.URLError, OSError):
        return ""


if __name__ == "__main__":
    sys.exit(main())
