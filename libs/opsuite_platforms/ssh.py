"""A connection to another machine over SSH: kept while it lives, opened again when it is needed.

Who is on the other side is proved by a file of known host keys, always. We prove ourselves by one key file; no agent,
no password and no configuration of the user who runs us takes part.
"""

from __future__ import annotations

import asyncio
import itertools
import tempfile
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path, PurePosixPath

import asyncssh

from opsuite_kernel.errors import Unavailable

PORTS = range(20_000, 21_000)
KEEPALIVES = 3


@dataclass(frozen=True, slots=True)
class HostSpec:
    """A machine on which workloads run, and how it is reached."""

    name: str
    address: str
    """For SSH, for checks of replicas and for the edge."""
    user: str
    key_file: Path
    known_hosts: Path
    """Holds the host's key, in OpenSSH's format."""
    data: PurePosixPath
    """Directory on the host, which belongs to `user`; its path has at most 70 bytes, since it holds a socket."""
    port: int = 22
    python: str = "/usr/bin/python3"
    """On the host; has `supervisor` installed."""
    ports: range = PORTS
    """From which replicas get theirs."""


@dataclass(frozen=True, slots=True)
class SshLimits:
    """How long what is waited for."""

    connect: timedelta = timedelta(seconds=10)
    silence: timedelta = timedelta(seconds=15)
    """A connection over which nothing comes for so long counts as lost."""
    lock: timedelta = timedelta(seconds=30)
    """For another caller that changes the same workload on the same host."""
    operation: timedelta = timedelta(minutes=5)
    """One verb on one host; it includes the time that replicas take to stop."""


@dataclass(frozen=True, slots=True)
class Session:
    """One connection, with what all verbs need of it."""

    connection: asyncssh.SSHClientConnection
    sftp: asyncssh.SFTPClient
    supervisor: Path
    """Unix socket of this machine that leads to the host's supervisord."""
    loop: asyncio.AbstractEventLoop = field(default_factory=asyncio.get_running_loop)


class SshLink:
    """The connection to one host. Belongs to the event loop in which it is used first."""

    def __init__(self, host: HostSpec, limits: SshLimits) -> None:
        self._host = host
        self._limits = limits
        self._opening: asyncio.Task[Session] | None = None
        self._serials = itertools.count()
        self._sockets: tempfile.TemporaryDirectory[str] | None = None

    async def session(self) -> Session:
        """The connection that there is, or a new one, which all who wait share. Raises: Unavailable."""
        if self._opening is None or is_over(self._opening):
            self._opening = asyncio.create_task(self._open())
        return await asyncio.shield(self._opening)

    async def close(self) -> None:
        """Let go; what runs on the host goes on."""
        if self._opening is not None:
            self._opening.cancel()
            await asyncio.wait([self._opening])
            if not self._opening.cancelled() and self._opening.exception() is None:
                connection = self._opening.result().connection
                connection.close()
                await connection.wait_closed()
        if self._sockets is not None:
            self._sockets.cleanup()

    async def _open(self) -> Session:
        host, witness = self._host, KeyWitness()
        try:
            connection = await asyncssh.connect(
                host.address,
                host.port,
                username=host.user,
                client_keys=[str(host.key_file)],
                known_hosts=str(host.known_hosts),
                client_factory=lambda: witness,
                config=None,
                agent_path=None,
                preferred_auth="publickey",
                connect_timeout=self._limits.connect.total_seconds(),
                login_timeout=self._limits.connect.total_seconds(),
                keepalive_interval=self._limits.silence.total_seconds() / KEEPALIVES,
                keepalive_count_max=KEEPALIVES,
            )
            return await self._equip(connection)
        except asyncssh.HostKeyNotVerifiable as error:
            raise distrusted(host, witness.key) from error
        except asyncssh.PermissionDenied as error:
            message = f"host {host.name} does not let {host.user} in with {host.key_file}: add its public key there"
            raise Unavailable(message, reason="LOGIN_REFUSED", metadata={"host": host.name}) from error
        except (asyncssh.Error, asyncssh.KeyImportError, OSError, TimeoutError) as error:
            raise unreachable(host, error) from error

    async def _equip(self, connection: asyncssh.SSHClientConnection) -> Session:
        """The session over a new connection, which is given up when the host does not take part in all of it."""
        if self._sockets is None:
            self._sockets = tempfile.TemporaryDirectory(prefix="opsuite-ssh-")  # for its owner alone
        socket = Path(self._sockets.name) / f"{next(self._serials)}.sock"
        try:
            await connection.forward_local_path(str(socket), str(self._host.data / "supervisor" / "supervisor.sock"))
            return Session(connection, await connection.start_sftp_client(), socket)
        except BaseException:
            connection.abort()
            raise


class KeyWitness(asyncssh.SSHClient):
    """Remembers the key that a host showed though nobody vouches for it."""

    key: asyncssh.SSHKey | None = None

    def validate_host_public_key(self, host: str, addr: str, port: int, key: asyncssh.SSHKey) -> bool:
        """No."""
        self.key = key
        return False


def is_over(opening: asyncio.Task[Session]) -> bool:
    """Whether that connection was lost, or never came to be."""
    if not opening.done():
        return False
    return opening.cancelled() or opening.exception() is not None or opening.result().connection.is_closed()


def unreachable(host: HostSpec, error: BaseException) -> Unavailable:
    """What to raise when the way to a host is cut."""
    why = str(error) or type(error).__name__
    message = f"host {host.name} ({host.address} port {host.port}) cannot be reached: {why}"
    return Unavailable(message, reason="HOST_UNREACHABLE", metadata={"host": host.name})


def distrusted(host: HostSpec, key: asyncssh.SSHKey | None) -> Unavailable:
    """What to raise when a host shows a key that is not the known one."""
    shown = f"{key.get_algorithm()} {key.get_fingerprint()}" if key else "a key of an unknown kind"
    where = f"host {host.name} ({host.address} port {host.port})"
    known = asyncssh.match_known_hosts(str(host.known_hosts), host.address, host.address, host.port)[0]
    if known:
        message = f"{where} shows another key than {host.known_hosts} holds: {shown}. Somebody may stand in between."
        return Unavailable(message, reason="HOST_KEY_CHANGED", metadata={"host": host.name, "key": shown})
    message = (
        f"{where} shows a key that {host.known_hosts} does not hold: {shown}. If `ssh-keygen -lf` on the host names "
        f"the same one, add it: ssh-keyscan -p {host.port} {host.address} >> {host.known_hosts}"
    )
    return Unavailable(message, reason="HOST_KEY_UNKNOWN", metadata={"host": host.name, "key": shown})
