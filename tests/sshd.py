"""A real OpenSSH server on loopback with keys of its own, which lets in whoever runs the tests, and hosts behind it.

It runs in the foreground as a child of the test process and dies with it. It shares this machine's files and processes
with the tests, so a "host" is a data directory.
"""

from __future__ import annotations

import os
import pwd
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path, PurePosixPath

import asyncssh
import psutil
import pytest
from components import missing
from ports import free_port as free_port

from opsuite_platforms.ssh import HostSpec
from opsuite_platforms.supervisord import Supervisord

HOW_TO_GET_IT = "apt-get install openssh-server"
ADDRESS = "127.0.0.1"
ONE, TWO = range(21_000, 21_100), range(21_100, 21_200)
"""Ports of the hosts, which are one machine really."""
CONFIGURATION = """\
Port {port}
ListenAddress {address}
HostKey {directory}/host_key
PidFile none
AuthorizedKeysFile {directory}/authorized_keys
PermitRootLogin prohibit-password
PasswordAuthentication no
KbdInteractiveAuthentication no
UsePAM no
StrictModes no
Subsystem sftp internal-sftp
SetEnv SHLVL=1
"""
# SHLVL: bash then reads no start-up file of whoever runs the tests, which may take longer than the tests.


class Sshd:
    """One server; `directory` holds its keys, and `client_key` whom it lets in."""

    def __init__(self, directory: Path, *, port: int | None = None) -> None:
        self._program = find_sshd()
        self._server: subprocess.Popen[bytes] | None = None
        self.directory = directory
        self.port = port or free_port()
        self.client_key = directory / "client_key"
        self.known_hosts = directory / "known_hosts"
        self.new_host_key()
        write_key(self.client_key)
        shutil.copy(f"{self.client_key}.pub", directory / "authorized_keys")
        self.known_hosts.write_text(f"[{ADDRESS}]:{self.port} {self.public_host_key}")

    @property
    def public_host_key(self) -> str:
        """The key by which it proves itself, in OpenSSH's format."""
        return (self.directory / "host_key.pub").read_text()

    def new_host_key(self) -> None:
        """Give it another key; its next start shows it."""
        write_key(self.directory / "host_key")

    def start(self) -> None:
        """Start it, also after its death, and wait until it answers."""
        configuration = self.directory / "sshd_config"
        configuration.write_text(CONFIGURATION.format(port=self.port, address=ADDRESS, directory=self.directory))
        if os.geteuid() == 0:
            Path("/run/sshd").mkdir(mode=0o755, exist_ok=True)  # where a server of root confines its unprivileged part
        until_we_die = ["setpriv", "--pdeathsig", "KILL", "--"]
        command = [*until_we_die, self._program, "-D", "-e", "-f", str(configuration)]
        self._server = subprocess.Popen(command, stderr=subprocess.PIPE, env={"PATH": os.defpath})
        assert self._server.stderr is not None
        told = b""
        while b"listening on" not in told:
            if not (line := self._server.stderr.readline()):
                raise RuntimeError(told.decode())
            told += line
        self._server.stderr.close()

    def processes(self) -> list[psutil.Process]:
        """The server itself, and then those that serve its connections."""
        assert self._server is not None
        server = psutil.Process(self._server.pid)
        return [server, *server.children(recursive=True)]

    def kill(self) -> None:
        """Kill it with all its connections, as if the host had lost power; what was started over it lives on."""
        if self._server is not None:
            kill_all(self.processes())
            self._server.wait()
            self._server = None

    def cut(self) -> None:
        """Kill its connections; it goes on taking new ones."""
        kill_all(self.processes()[1:])


class SshHost:
    """A host as the platform sees it, whose data directory is one of this machine."""

    def __init__(self, sshd: Sshd, name: str, ports: range) -> None:
        self.sshd = sshd
        self.data = Path(tempfile.mkdtemp(prefix="opsuite-host-"))  # tmp_path can be too long for a Unix socket
        self.supervisord = Supervisord(self.data / "supervisor")
        self.spec = HostSpec(
            name=name,
            address=ADDRESS,
            port=sshd.port,
            user=pwd.getpwuid(os.geteuid()).pw_name,
            key_file=sshd.client_key,
            known_hosts=sshd.known_hosts,
            data=PurePosixPath(self.data),
            python=sys.executable,
            ports=ports,
        )

    def close(self) -> None:
        """Stop what runs on it and delete its data."""
        self.supervisord.stop()
        shutil.rmtree(self.data)


@contextmanager
def running_sshd() -> Iterator[Sshd]:
    """A server that answers."""
    with tempfile.TemporaryDirectory(prefix="opsuite-sshd-") as directory:
        sshd = Sshd(Path(directory))
        sshd.start()
        try:
            yield sshd
        finally:
            sshd.kill()


@contextmanager
def ssh_host(sshd: Sshd, name: str, ports: range) -> Iterator[SshHost]:
    """A host without a supervisord yet."""
    host = SshHost(sshd, name, ports)
    try:
        yield host
    finally:
        host.close()


@contextmanager
def running_hosts() -> Iterator[tuple[SshHost, SshHost]]:
    """Two hosts, each behind a server of its own."""
    with (
        running_sshd() as one,
        running_sshd() as two,
        ssh_host(one, "one", ONE) as first,
        ssh_host(two, "two", TWO) as second,
    ):
        yield first, second


@pytest.fixture(scope="module")
def two_hosts() -> Iterator[tuple[SshHost, SshHost]]:
    """Two hosts that the tests of a file share; kill nothing of them."""
    with running_hosts() as hosts:
        yield hosts


@pytest.fixture
def own_hosts() -> Iterator[tuple[SshHost, SshHost]]:
    """Two hosts for one test alone, which may kill what it likes."""
    with running_hosts() as hosts:
        yield hosts


def kill_all(processes: Sequence[psutil.Process]) -> None:
    """Kill those that live."""
    for process in processes:
        with suppress(psutil.NoSuchProcess):
            process.kill()


def find_sshd() -> str:
    """The server's program, which has to be called by its absolute path."""
    found = shutil.which("sshd", path=os.pathsep.join([os.environ.get("PATH", ""), "/usr/sbin", "/usr/local/sbin"]))
    return found or missing("OpenSSH server", HOW_TO_GET_IT)


def write_key(path: Path) -> None:
    """A new key pair, replacing what was there."""
    key = asyncssh.generate_private_key("ssh-ed25519")
    path.write_bytes(key.export_private_key())
    path.chmod(0o600)
    Path(f"{path}.pub").write_bytes(key.export_public_key())
