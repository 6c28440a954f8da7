"""The client half: a channel whose stubs raise our errors, with deadlines, retries and replay protection by themselves.

    async with connect(default_target("deployer")) as connection:
        stub = DeploymentServiceStub(connection.channel)
        answer = await stub.GetDeployment(GetDeploymentRequest(name=name))

Needs the light install alone: traces and the deadline of the call in work are passed on if the server half is loaded.
A stream that is left before its end has to be cancelled (`call.cancel()`), or the server goes on with it;
`watching.watch` does that.
"""

from __future__ import annotations

import ipaddress
import json
import os
import sys
import uuid
from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Final

import grpc
import grpc.aio

from opsuite_kernel.errors import InvalidInput, NotFound, TimedOut, Violation
from opsuite_rpc.status import from_rpc_error
from opsuite_telemetry.port import current_trace

UNIX: Final = "unix://"
READ_SECONDS: Final = 5.0
CHANGE_SECONDS: Final = 10.0
MARGIN_SECONDS: Final = 0.05
"""Kept of the caller's time, to tell the caller in time what went wrong."""
_READS: Final = ("Get", "List")

# UNAVAILABLE alone: it says that the call was not begun, or can be repeated with its request_id. `timeout` has no
# effect here in Python, so deadlines are set call by call.
SERVICE_CONFIG: Final = json.dumps(
    {
        "methodConfig": [
            {
                "name": [{}],
                "retryPolicy": {
                    "maxAttempts": 4,
                    "initialBackoff": "0.1s",
                    "maxBackoff": "2s",
                    "backoffMultiplier": 2,
                    "retryableStatusCodes": ["UNAVAILABLE"],
                },
            }
        ],
        "retryThrottling": {"maxTokens": 10, "tokenRatio": 0.1},
    }
)
OPTIONS: Final[tuple[tuple[str, Any], ...]] = (
    ("grpc.service_config", SERVICE_CONFIG),
    ("grpc.keepalive_time_ms", 30_000),
    ("grpc.keepalive_timeout_ms", 10_000),
    ("grpc.keepalive_permit_without_calls", 0),
    ("grpc.http2.max_pings_without_data", 0),
    ("grpc.max_receive_message_length", 16 * 1024 * 1024),
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.max_reconnect_backoff_ms", 3_000),  # the default of two minutes is how long a watch would stay blind
    ("grpc.use_local_subchannel_pool", 1),  # a new channel does not inherit the back-off of another
)


# ---- where to -------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Tls:
    """Certificates of a connection, as PEM files."""

    ca: Path | None = None
    """Who may vouch for the server; None: those the system trusts."""
    certificate: Path | None = None
    key: Path | None = None
    """Both or none: what the client shows of itself (mTLS)."""


@dataclass(frozen=True, slots=True)
class Target:
    """A server, and what opens it."""

    address: str
    """`unix:///run/deployer.sock` or `host:port`."""
    token: str | None = field(default=None, repr=False)
    token_file: Path | None = None
    """Read when connecting; `token` wins."""
    tls: Tls | None = None
    """Needed for other machines."""


def data_directory(environ: Mapping[str, str] = os.environ) -> Path:
    """Where the services of this user keep their files, unless told otherwise."""
    if chosen := environ.get("OPSUITE_DATA_DIR"):
        return Path(chosen)
    state = environ.get("XDG_STATE_HOME")
    return (Path(state) if state else Path.home() / ".local" / "state") / "opsuite"


def default_target(service: str, environ: Mapping[str, str] = os.environ) -> Target:
    """Where `service` ("deployer") is found without being told: by the environment, else in the data directory.

    Reads OPSUITE_<SERVICE>_ADDRESS, OPSUITE_TOKEN or OPSUITE_TOKEN_FILE, OPSUITE_CA_FILE, OPSUITE_CERT_FILE and
    OPSUITE_KEY_FILE.
    """
    directory = data_directory(environ)
    address = environ.get(f"OPSUITE_{service.upper()}_ADDRESS")
    ca, certificate, key = (_path(environ, f"OPSUITE_{name}_FILE") for name in ("CA", "CERT", "KEY"))
    token_file = _path(environ, "OPSUITE_TOKEN_FILE")
    if token_file is None and (default := directory / "token").exists() and is_local(address or UNIX):
        token_file = default  # never shown to other machines: it is the key to this one
    return Target(
        address or f"{UNIX}{directory.absolute()}/run/{service}.sock",
        environ.get("OPSUITE_TOKEN") or None,
        token_file,
        Tls(ca, certificate, key) if ca or certificate else None,
    )


def _path(environ: Mapping[str, str], name: str) -> Path | None:
    return Path(environ[name]) if environ.get(name) else None


def is_local(address: str) -> bool:
    """Whether an address is of this machine: a Unix socket, or loopback."""
    host = address.rpartition(":")[0].strip("[]")
    try:
        return address.startswith(UNIX) or host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


# ---- connecting -----------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Connection:
    """An open channel. Stubs over it raise errors of opsuite_kernel."""

    channel: grpc.aio.Channel
    address: str


@asynccontextmanager
async def connect(
    target: str | Target, *, token: str | None = None, token_file: Path | None = None, tls: Tls | None = None
) -> AsyncIterator[Connection]:
    """A channel to `target`, closed at the end. Nothing is sent before the first call.

    Raises:
        InvalidInput: the address is malformed, or on another machine and without TLS.
        NotFound: a token or certificate file is missing.
    """
    if isinstance(target, str):
        target = Target(target)
    target = replace(
        target,
        token=token or (None if token_file else target.token),  # what is given here beats what the target says
        token_file=token_file or (None if token else target.token_file),
        tls=tls or target.tls,
    )
    channel = grpc.aio.secure_channel(
        _grpc_address(target.address),
        _credentials(target),
        options=[*OPTIONS, ("grpc.enable_http_proxy", 0 if is_local(target.address) else 1)],
        interceptors=[_Unary(), _Streams()],
    )
    try:
        yield Connection(channel, target.address)
    finally:
        await channel.close()


def _grpc_address(address: str) -> str:
    if address.startswith(f"{UNIX}/"):
        return f"unix:{address.removeprefix(UNIX)}"
    host, _, port = address.rpartition(":")
    if not host or "/" in host or not port.isdigit():
        raise InvalidInput([Violation("address", f"{address} is neither {UNIX}/path nor host:port")])
    return address


def _credentials(target: Target) -> grpc.ChannelCredentials:
    channel = _channel_credentials(target)
    token = target.token or (None if target.token_file is None else _read(target.token_file).decode().strip())
    if not token:
        return channel
    return grpc.composite_channel_credentials(channel, grpc.access_token_call_credentials(token))


def _channel_credentials(target: Target) -> grpc.ChannelCredentials:
    if (tls := target.tls) is not None:
        files = [None if path is None else _read(path) for path in (tls.ca, tls.key, tls.certificate)]
        return grpc.ssl_channel_credentials(*files)
    if not is_local(target.address):
        raise InvalidInput([Violation("address", f"{target.address} is on another machine and needs TLS")])
    kind = grpc.LocalConnectionType
    return grpc.local_channel_credentials(kind.UDS if target.address.startswith(UNIX) else kind.LOCAL_TCP)


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise NotFound("file", str(path)) from error


# ---- every call -----------------------------------------------------------------------------------------------------


class _Unary(grpc.aio.UnaryUnaryClientInterceptor):
    async def intercept_unary_unary(self, continuation: Any, client_call_details: Any, request: Any) -> Any:
        timeout = _timeout(client_call_details.method, client_call_details.timeout)
        call = await continuation(_details(client_call_details, timeout), _identified(request))
        try:
            return await call
        except grpc.aio.AioRpcError as error:
            raise from_rpc_error(error) from error
        finally:
            call.cancel()  # no effect on one that ended; one that is left alone is never collected


class _Streams(grpc.aio.UnaryStreamClientInterceptor):
    async def intercept_unary_stream(self, continuation: Any, client_call_details: Any, request: Any) -> Any:
        call = await continuation(_details(client_call_details, client_call_details.timeout), request)
        return responses_of(call)


async def responses_of(call: Any) -> AsyncGenerator[Any, None]:
    """The responses of a stream; what ends it badly is raised as one of our errors. Left early, it is cancelled."""
    try:
        async for response in call:
            yield response
    except grpc.aio.AioRpcError as error:
        raise from_rpc_error(error) from error
    finally:
        call.cancel()


def _details(details: Any, timeout: float | None) -> Any:
    metadata = grpc.aio.Metadata(*(details.metadata or ()))
    if (place := current_trace()) is not None and not metadata.get_all("traceparent"):
        metadata.add("traceparent", place.traceparent)
    return grpc.aio.ClientCallDetails(details.method, timeout, metadata, details.credentials, details.wait_for_ready)


def _timeout(method: bytes | str, asked: float | None) -> float:
    """Seconds for this call: what was asked for or the default, but no more than the call in work has left."""
    name = (method.decode() if isinstance(method, bytes) else method).rpartition("/")[2]
    timeout = asked if asked is not None else READ_SECONDS if name.startswith(_READS) else CHANGE_SECONDS
    remaining = _time_remaining()
    if remaining is None:
        return timeout
    if remaining <= MARGIN_SECONDS:
        raise TimedOut(f"no time is left for {name}")
    return min(timeout, remaining - MARGIN_SECONDS)


def _time_remaining() -> float | None:
    """Seconds that the call in work has left; None outside of calls, or without a deadline.

    Asks the server half only if something has loaded it: without that no call can be in work.
    """
    calls: Any = sys.modules.get("opsuite_rpc.calls")
    try:
        remaining: float | None = None if calls is None else calls.time_remaining()
    except LookupError:
        return None
    return remaining


def _identified(request: Any) -> Any:
    """The request with a request_id where it may have one and has none: a copy, so that the next call gets another."""
    wanted = getattr(request, "DESCRIPTOR", None) and request.DESCRIPTOR.fields_by_name.get("request_id")
    if not wanted or not wanted.has_presence or request.HasField("request_id"):
        return request
    identified = type(request)()
    identified.CopyFrom(request)
    identified.request_id = str(uuid.uuid4())
    return identified
