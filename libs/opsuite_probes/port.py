"""Questions to running things, and how they are answered.

A probe says what is asked; a `Prober` asks once. When to ask, and what a series of answers means, is decided by the
pure modules `check` and `hysteresis`. This module imports only the standard library, so application code may use it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from enum import Enum
from typing import Final, Protocol

BODY_LIMIT_BYTES: Final = 65_536
"""How much of an HTTP body is read, at most, in search of `HttpProbe.body_contains`."""


@dataclass(frozen=True, slots=True)
class HttpProbe:
    """An HTTP GET; redirects are not followed and certificates are verified."""

    url: str
    expected_status: int = 200
    body_contains: str = ""
    """Text within the first 64 KiB of the body, compared as UTF-8; empty means any body, which is then not read."""


@dataclass(frozen=True, slots=True)
class TcpProbe:
    """A TCP connection, which has to be accepted."""

    address: str
    """`host:port`, an IPv6 host in brackets."""


@dataclass(frozen=True, slots=True)
class GrpcProbe:
    """A call of `grpc.health.v1.Health/Check` without TLS, which has to say SERVING."""

    address: str
    """`host:port`, an IPv6 host in brackets."""
    service: str = ""
    """Service to ask for; empty means the server as a whole."""


@dataclass(frozen=True, slots=True)
class CommandProbe:
    """A program, which has to exit with status 0. The caller has judged the command."""

    argv: tuple[str, ...]
    """`argv[0]` is the absolute path of the program."""
    directory: str
    env: Mapping[str, str] = field(default_factory=dict, hash=False)
    """The whole environment of the program."""


@dataclass(frozen=True, slots=True)
class PrometheusProbe:
    """An expression that Prometheus evaluates to one number, the `value` of the answer. No number is UNKNOWN."""

    url: str
    """Of Prometheus, or of whatever else speaks its API: `http://127.0.0.1:9090`."""
    query: str


@dataclass(frozen=True, slots=True)
class PostgresqlProbe:
    """A connection over which `SELECT 1` is answered."""

    url: str
    """`postgresql://user@host:5432/database`."""
    password: str = field(default="", repr=False)


@dataclass(frozen=True, slots=True)
class RedisProbe:
    """A connection over which PING is answered."""

    url: str
    """`redis://host:6379/0`, `rediss://…`."""
    password: str = field(default="", repr=False)


@dataclass(frozen=True, slots=True)
class CertificateProbe:
    """A TLS handshake that shows a certificate; seconds until it expires are the `value`. Nobody's trust is asked."""

    address: str
    """`host:port`, an IPv6 host in brackets."""
    server_name: str = ""
    """Name that is asked for (SNI); empty means the host."""


@dataclass(frozen=True, slots=True)
class DiskProbe:
    """Space on a file system of this machine; percent in use are the `value`, as `df` counts them."""

    path: str


Probe = (
    HttpProbe
    | TcpProbe
    | GrpcProbe
    | CommandProbe
    | PrometheusProbe
    | PostgresqlProbe
    | RedisProbe
    | CertificateProbe
    | DiskProbe
)


class Outcome(Enum):
    """What one try said."""

    HEALTHY = "healthy"
    UNHEALTHY = "unhealthy"
    """The target said no, said something else, or said nothing in time."""
    UNKNOWN = "unknown"
    """We could not ask: no such host name, malformed address, a resource of this machine used up."""


@dataclass(frozen=True, slots=True)
class ProbeResult:
    """The answer to one try."""

    outcome: Outcome
    message: str
    """Why, for people: `HTTP 503, expected 200`. Holds nothing that the target sent except numbers and names."""
    latency: timedelta
    value: float | None = None
    """The number that was asked for, by probes that ask for one: then HEALTHY only says that there is a number."""


class Prober(Protocol):
    """Asks a target one question, once."""

    async def ask(self, probe: Probe, *, timeout: timedelta) -> ProbeResult:
        """The answer, at the latest after `timeout`, however the target behaves; never raises because of the target.

        Nothing stays behind: each try opens a connection of its own and closes it, so that the answer comes from
        whoever listens now, not from whoever did so at the last try.
        """


@dataclass(frozen=True, slots=True)
class CommandAnswer:
    """How the program of a CommandProbe ended."""

    outcome: Outcome
    message: str


class CommandAsker(Protocol):
    """Runs the program of a CommandProbe. Bound to a command runner where classes meet."""

    async def __call__(self, probe: CommandProbe, *, timeout: timedelta) -> CommandAnswer:
        """HEALTHY for exit status 0, UNHEALTHY for any other end, UNKNOWN where it could not be started.

        Leaves no process behind, neither after `timeout` nor when cancelled.
        """
