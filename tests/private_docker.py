"""A Docker Engine that one test module has for itself, to stop and kill it beside the one of the machine."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from components import missing
from docker import HOW_TO_GET_DOCKER, answers, docker


class PrivateEngine:
    """A dockerd that touches nothing of the machine's; `live_restore`: its containers run on while it is away."""

    def __init__(self, directory: Path, *, live_restore: bool) -> None:
        self._directory = directory
        self.url = f"unix://{directory}/docker.sock"
        settings = {
            "live-restore": live_restore,
            "bridge": "none",
            "iptables": False,
            "ip-masq": False,
            "data-root": str(directory / "data"),
            "exec-root": str(directory / "exec"),
            "pidfile": str(directory / "pid"),
            "hosts": [self.url],
        }
        (directory / "daemon.json").write_text(json.dumps(settings))
        self.start()

    def start(self) -> None:
        with (self._directory / "log").open("ab") as log:
            # In a network of its own: a dockerd without a bridge removes that of its neighbour.
            command = ["unshare", "--net", "dockerd", "--config-file", str(self._directory / "daemon.json")]
            self._process = subprocess.Popen(command, stdout=log, stderr=log, start_new_session=True)
        deadline = time.monotonic() + 60
        while not answers(self.url):
            if self._process.poll() is not None or time.monotonic() > deadline:
                missing("docker", f"a second dockerd does not start: {(self._directory / 'log').read_text()[-2000:]}")
            time.sleep(0.05)

    def kill(self) -> None:
        """As the kernel does it: no goodbye. Its containerd ends with it, a little later."""
        containerd = Path("/proc") / (self._directory / "exec/containerd/containerd.pid").read_text().strip()
        self._process.kill()
        self._process.wait()
        while containerd.exists():
            time.sleep(0.02)

    def restart(self) -> None:
        """As an upgrade does it."""
        self._process.terminate()
        self._process.wait()
        self.start()

    def stop(self) -> None:
        if containers := docker("ps", "--all", "--quiet", url=self.url):
            with suppress(RuntimeError):  # it may hold on to mounts of its former self, which are undone below
                docker("rm", "--force", *containers.split(), url=self.url)
        self._process.terminate()
        self._process.wait()
        # With live restore it leaves its mounts.
        mounted = [line.split()[1] for line in Path("/proc/self/mounts").read_text().splitlines()]
        for point in sorted((point for point in mounted if point.startswith(f"{self._directory}/")), reverse=True):
            subprocess.run(["umount", "--lazy", point], check=True)


@contextmanager
def private_engine(*, live_restore: bool) -> Iterator[PrivateEngine]:
    """One that is gone afterwards, with all that it held."""
    if shutil.which("dockerd") is None or os.getuid() != 0:
        missing("docker", HOW_TO_GET_DOCKER)
    # Not tmp_path: addresses of Unix sockets are at most 107 bytes long.
    with tempfile.TemporaryDirectory(prefix="opsuite-dockerd-", ignore_cleanup_errors=True) as directory:
        engine = PrivateEngine(Path(directory), live_restore=live_restore)
        yield engine
        engine.stop()
