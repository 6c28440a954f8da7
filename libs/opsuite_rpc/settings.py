"""What can be chosen about a server. Each service builds this from its own settings."""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import ClassVar, Final

from opsuite_kernel.errors import InvalidInput
from opsuite_rpc.limits import Limits

UNIX: Final = "unix://"


class CannotServe(InvalidInput):
    """The server refuses to start; `violations` says everything that is wrong, and nothing was opened."""

    reason: ClassVar[str] = "CANNOT_SERVE"


@dataclass(frozen=True, slots=True)
class TlsFiles:
    """PEM files of one side; read again when they change, without a restart."""

    certificate: Path
    """Certificate chain, the server's own first."""
    key: Path
    client_ca: Path | None = None
    """Authorities whose client certificates are accepted; with it every client needs one (mTLS)."""


@dataclass(frozen=True, slots=True)
class SideSettings:
    """The HTTP port beside the gRPC one: /health, /metrics, foreign protocols. It knows no callers: keep it inside."""

    host: str = "127.0.0.1"
    port: int | None = None
    """None: the first TCP port + 100, and no side port where only Unix sockets are listened on; 0: any free one."""


@dataclass(frozen=True, slots=True)
class ServerSettings:
    """Where a server listens, how long things may take, how much is let in."""

    listen: tuple[str, ...]
    """`unix:///absolute/path` or `host:port` (port 0: any free one; `[::1]:7401`)."""
    tls: TlsFiles | None = None
    """For the TCP addresses; without it only loopback ones are allowed."""
    side: SideSettings | None = field(default_factory=SideSettings)
    """None: no side port."""
    limits: Limits = field(default_factory=Limits)
    deadline_cap: timedelta = timedelta(seconds=60)
    """Longest time a unary call may take, whatever its deadline says."""
    drain_delay: timedelta = timedelta(0)
    """Time between saying NOT_SERVING and refusing calls: 5 s where a load balancer has to notice, 0 elsewhere."""
    drain_grace: timedelta = timedelta(seconds=25)
    """Longest time calls get to end before they are cancelled."""
    watch_grace: timedelta = timedelta(seconds=5)
    """Time of it that streams get to end by themselves, with a token to resume from, before the server ends them."""
    reload_every: timedelta = timedelta(seconds=10)
    """How often certificates, the policy file and the rights of open streams are looked at."""
    slow_call: timedelta = timedelta(seconds=1)
    """Unary calls that took longer are logged, whatever their outcome."""
    logged_share: float = 0.01
    """Share of ordinary successful calls that is logged."""
    version: str = ""
    """What ServerService answers."""
    debug: bool = False
    """Serve channelz as well."""
    max_receive_bytes: int = 4 * 1024 * 1024
    max_send_bytes: int = 16 * 1024 * 1024
    max_connection_age: timedelta = timedelta(minutes=30)
    """Connections are closed at about this age, which spreads clients over replicas; watches resume."""


def is_unix(address: str) -> bool:
    """Whether `address` names a Unix socket."""
    return address.startswith(UNIX)


def is_loopback(address: str) -> bool:
    """Whether only this machine can reach `address`. A name other than localhost counts as reachable from outside."""
    if is_unix(address):
        return True
    host = address.rpartition(":")[0].strip("[]")
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
