"""A real Docker Engine for tests, and a 2 MB image for it. Import the fixtures `docker_url` and `tiny_image` by name.

An engine that answers is used as it is. Otherwise `dockerd` is started once for all test processes of this machine; it
is stopped when the last of them has ended, however that ended: each holds a shared lock on a file, and a small process
beside dockerd waits for the exclusive one.
"""

from __future__ import annotations

import fcntl
import functools
import hashlib
import os
import shutil
import subprocess
import tarfile
import tempfile
import time
from io import BytesIO
from pathlib import Path

import pytest
from components import missing

HOW_TO_GET_DOCKER = "a running Docker Engine, or as root: apt-get install docker.io iptables"
HOW_TO_GET_BUSYBOX = "apt-get install busybox-static"
SOCKET = "unix:///var/run/docker.sock"
STATE = Path(tempfile.gettempdir()) / f"opsuite-test-docker-{os.getuid()}"
START_SECONDS = 60
BUSYBOX = Path("/bin/busybox")


@pytest.fixture(scope="session")
def docker_url() -> str:
    """Address of an engine that answers."""
    return engine_url()


@pytest.fixture(scope="session")
def tiny_image(docker_url: str) -> str:
    """Name of an image that holds busybox and nothing else."""
    return import_tiny_image(docker_url)


def docker(*arguments: str, stdin: bytes | None = None, url: str | None = None) -> str:
    """What the command line of Docker prints."""
    environment = {**os.environ, "DOCKER_HOST": url or engine_url()}
    done = subprocess.run(["docker", *arguments], input=stdin, capture_output=True, env=environment, check=False)
    if done.returncode:
        raise RuntimeError(f"docker {' '.join(arguments)}: {done.stderr.decode()}")
    return done.stdout.decode().strip()


@functools.cache
def engine_url() -> str:
    """Address of an engine that answers; one is started if need be."""
    url = os.environ.get("DOCKER_HOST", SOCKET)
    if shutil.which("docker") is None:
        missing("docker", HOW_TO_GET_DOCKER)
    _hold_shared_lock()  # before asking, so that an engine that answers is not about to be stopped
    if not answers(url):
        if shutil.which("dockerd") is None or os.getuid() != 0 or url != SOCKET:
            missing("docker", HOW_TO_GET_DOCKER)
        _start_once()
    return url


def answers(url: str) -> bool:
    """Whether an engine answers at that address."""
    command = ["docker", "--host", url, "version", "--format", "{{.Server.Version}}"]
    return subprocess.run(command, capture_output=True, check=False).returncode == 0


def _hold_shared_lock() -> None:
    STATE.mkdir(mode=0o700, exist_ok=True)
    users = os.open(STATE / "users", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)  # open until this process ends
    fcntl.flock(users, fcntl.LOCK_SH)


def _start_once() -> None:
    with (STATE / "start").open("w") as starting:
        fcntl.flock(starting, fcntl.LOCK_EX)
        if not answers(SOCKET):
            _start_engine()


def _start_engine() -> None:
    with (STATE / "dockerd.log").open("wb") as log:
        engine = subprocess.Popen(["dockerd"], stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True)
    end = f"kill {engine.pid}; while [ -e /proc/{engine.pid}/exe ]; do sleep 0.1; done"
    subprocess.Popen(
        ["flock", "--exclusive", STATE / "users", "sh", "-c", end], stdin=subprocess.DEVNULL, start_new_session=True
    )
    deadline = time.monotonic() + START_SECONDS
    while not answers(SOCKET):
        if engine.poll() is not None or time.monotonic() > deadline:
            missing("docker", f"dockerd does not start: {(STATE / 'dockerd.log').read_text()[-2000:]}")
        time.sleep(0.1)


@functools.cache
def import_tiny_image(url: str) -> str:
    """Have the image on that engine; returns its name."""
    if not BUSYBOX.is_file() or b"/lib64/ld-linux" in (program := BUSYBOX.read_bytes()):
        missing("busybox-static", HOW_TO_GET_BUSYBOX)
    name = f"opsuite-test/busybox:{hashlib.sha256(program).hexdigest()[:12]}"
    if not docker("image", "ls", "--quiet", name, url=url):
        docker("import", "-", name, stdin=_root_filesystem(program), url=url)
    return name


def _root_filesystem(busybox: bytes) -> bytes:
    applets = subprocess.run([BUSYBOX, "--list"], capture_output=True, text=True, check=True).stdout.split()
    archive = BytesIO()
    with tarfile.open(fileobj=archive, mode="w") as tar:
        entry = tarfile.TarInfo("bin/busybox")
        entry.mode, entry.size = 0o755, len(busybox)
        tar.addfile(entry, BytesIO(busybox))
        for applet in set(applets) - {"busybox"}:
            link = tarfile.TarInfo(f"bin/{applet}")
            link.type, link.linkname = tarfile.SYMTYPE, "busybox"
            tar.addfile(link)
    return archive.getvalue()
