"""Asks over the network: HTTP, TCP and gRPC health here, what has a protocol of its own by the modules beside this one.

Programs are asked by whatever runs them. Drivers of databases are loaded with the first question to one.
"""

from __future__ import annotations

import asyncio
import errno
import socket
import ssl
from datetime import timedelta
from types import TracebackType
from typing import Final, Self

import aiohttp
import grpc
import grpc.aio
from grpc_health.v1 import health_pb2

from opsuite_kernel.clock import Clock, SystemClock
from opsuite_probes.address import MalformedAddress, split_address
from opsuite_probes.answer import Answer
from opsuite_probes.body import holds
from opsuite_probes.certificate import ask_certificate
from opsuite_probes.disk import ask_disk
from opsuite_probes.port import (
    BODY_LIMIT_BYTES,
    CertificateProbe,
    CommandAsker,
    CommandProbe,
    DiskProbe,
    GrpcProbe,
    HttpProbe,
    Outcome,
    PostgresqlProbe,
    Probe,
    ProbeResult,
    PrometheusProbe,
    RedisProbe,
    TcpProbe,
)
from opsuite_probes.prometheus import ask_prometheus

# Faults of this machine or of its network, which say nothing about the target.
_OURS: Final = frozenset(
    {errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM, errno.EADDRNOTAVAIL, errno.ENETUNREACH, errno.ENETDOWN}
)
_CHANNEL_OPTIONS: Final = (
    # Subchannels shared between channels would remember a refused connection and refuse the next try unasked.
    ("grpc.use_local_subchannel_pool", 1),
    ("grpc.enable_http_proxy", 0),
    ("grpc.enable_retries", 0),
    ("grpc.service_config_disable_resolution", 1),
    ("grpc.max_receive_message_length", BODY_LIMIT_BYTES),
)


class NetworkProber:
    """Fits `opsuite_probes.port.Prober`. Use as an async context manager, inside the loop that asks."""

    def __init__(
        self, *, commands: CommandAsker | None = None, tls: ssl.SSLContext | None = None, clock: Clock | None = None
    ) -> None:
        """`tls` None means the certificate authorities of the system; without `commands` such probes are UNKNOWN."""
        self._commands = commands
        self._tls = tls
        self._clock = clock or SystemClock()
        self._session: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """Let go of what is kept between tries; repeating is fine."""
        if self._session is not None:
            await self._session.close()
            self._session = None

    async def ask(self, probe: Probe, *, timeout: timedelta) -> ProbeResult:
        """The answer, at the latest after `timeout`."""
        began = self._clock.monotonic()
        answer = await self._answer(probe, timeout)
        latency = timedelta(seconds=self._clock.monotonic() - began)
        return ProbeResult(answer.outcome, answer.message, latency, answer.value)

    async def _answer(self, probe: Probe, timeout: timedelta) -> Answer:
        try:
            async with asyncio.timeout(timeout.total_seconds()):
                return await self._ask_once(probe, timeout)
        except MalformedAddress as error:
            return Answer(Outcome.UNKNOWN, f"cannot be asked: {error}")
        except (aiohttp.InvalidURL, UnicodeError):
            # The URL is not quoted: it may hold a password.
            return Answer(Outcome.UNKNOWN, "cannot be asked: the URL or host is malformed")
        except TimeoutError:
            return Answer(Outcome.UNHEALTHY, f"no answer within {timeout.total_seconds():g} s")
        except OSError as error:
            return _answer_for(error)
        except aiohttp.ClientError as error:
            return Answer(Outcome.UNHEALTHY, f"no valid HTTP answer ({type(error).__name__})")

    async def _ask_once(self, probe: Probe, timeout: timedelta) -> Answer:
        match probe:
            case HttpProbe():
                return await self._ask_http(probe)
            case TcpProbe():
                return await _ask_tcp(probe)
            case GrpcProbe():
                return await _ask_grpc(probe)
            case CommandProbe():
                return await self._ask_command(probe, timeout)
            case PrometheusProbe():
                return await ask_prometheus(self._http(), probe)
            case CertificateProbe():
                return await ask_certificate(probe, self._clock)
            case DiskProbe():
                return await ask_disk(probe)
            case PostgresqlProbe():
                return await _ask_postgresql(probe)
            case RedisProbe():
                return await _ask_redis(probe)

    async def _ask_http(self, probe: HttpProbe) -> Answer:
        if not probe.url.lower().startswith(("http://", "https://")):
            raise MalformedAddress("the URL is not of http or https")
        async with self._http().get(probe.url, allow_redirects=False) as response:
            if response.status != probe.expected_status:
                return Answer(Outcome.UNHEALTHY, f"HTTP {response.status}, expected {probe.expected_status}")
            if probe.body_contains and not await holds(response.content, probe.body_contains.encode()):
                return Answer(
                    Outcome.UNHEALTHY, f"HTTP {response.status}, but the body does not hold the expected text"
                )
            return Answer(Outcome.HEALTHY, f"HTTP {response.status}")

    async def _ask_command(self, probe: CommandProbe, timeout: timedelta) -> Answer:
        if self._commands is None:
            return Answer(Outcome.UNKNOWN, "cannot be asked: no commands can be run here")
        answer = await self._commands(probe, timeout=timeout)
        return Answer(answer.outcome, answer.message)

    def _http(self) -> aiohttp.ClientSession:
        """The session: shared for its set-up, while cookies, connections and resolved names are not kept."""
        if self._session is None:
            self._session = aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(
                    limit=0, force_close=True, use_dns_cache=False, ssl=True if self._tls is None else self._tls
                ),
                cookie_jar=aiohttp.DummyCookieJar(),
                timeout=aiohttp.ClientTimeout(total=None, sock_connect=None),
                headers={"User-Agent": "opsuite-probe", "Accept-Encoding": "identity"},
                # A body is compared as it came: unpacking one would let a small answer become a huge one.
                auto_decompress=False,
                trust_env=False,
            )
        return self._session


async def _ask_postgresql(probe: PostgresqlProbe) -> Answer:
    from opsuite_probes.postgresql import ask_postgresql  # the driver is loaded only where it is used

    return await ask_postgresql(probe)


async def _ask_redis(probe: RedisProbe) -> Answer:
    from opsuite_probes.redis import ask_redis  # the driver is loaded only where it is used

    return await ask_redis(probe)


async def _ask_tcp(probe: TcpProbe) -> Answer:
    host, port = split_address(probe.address)
    transport, _ = await asyncio.get_running_loop().create_connection(asyncio.Protocol, host, port)
    transport.close()
    return Answer(Outcome.HEALTHY, "connected")


async def _ask_grpc(probe: GrpcProbe) -> Answer:
    split_address(probe.address)  # nothing else may reach the channel, which would take `unix:` and `xds:` as well
    async with grpc.aio.insecure_channel(f"dns:///{probe.address}", options=_CHANNEL_OPTIONS) as channel:
        request = health_pb2.HealthCheckRequest(service=probe.service)
        try:
            response = await _check_method(channel)(request)
        except grpc.aio.AioRpcError as error:
            return _answer_for_status(error)
    name = health_pb2.HealthCheckResponse.ServingStatus.Name(response.status)
    return Answer(Outcome.HEALTHY if name == "SERVING" else Outcome.UNHEALTHY, name)


def _check_method(
    channel: grpc.aio.Channel,
) -> grpc.aio.UnaryUnaryMultiCallable[health_pb2.HealthCheckRequest, health_pb2.HealthCheckResponse]:
    """The method itself: the generated stub is untyped and prepares methods that are not called."""
    return channel.unary_unary(
        "/grpc.health.v1.Health/Check",
        request_serializer=health_pb2.HealthCheckRequest.SerializeToString,
        response_deserializer=health_pb2.HealthCheckResponse.FromString,
    )


def _answer_for(error: OSError) -> Answer:
    """What a failed connection says about the target."""
    if isinstance(error, ssl.SSLError | ssl.CertificateError | aiohttp.ClientSSLError):
        return Answer(
            Outcome.UNHEALTHY, "TLS handshake failed: the certificate is not valid for us, or it does not speak TLS"
        )
    if isinstance(error, socket.gaierror | aiohttp.ClientConnectorDNSError):
        return Answer(Outcome.UNKNOWN, "cannot be asked: the host name does not resolve")
    cause = error.os_error if isinstance(error, aiohttp.ClientConnectorError) else error
    if cause.errno in _OURS:
        return Answer(Outcome.UNKNOWN, f"cannot be asked: {cause.strerror}")
    if isinstance(cause, ConnectionRefusedError):
        return Answer(Outcome.UNHEALTHY, "connection refused")
    return Answer(Outcome.UNHEALTHY, f"connection failed: {cause.strerror or type(cause).__name__}")


def _answer_for_status(error: grpc.aio.AioRpcError) -> Answer:
    """What a failed health call says about the target."""
    details = error.details() or ""
    match error.code():
        case grpc.StatusCode.UNAVAILABLE if "resolv" in details:
            return Answer(Outcome.UNKNOWN, "cannot be asked: the host name does not resolve")
        case grpc.StatusCode.UNAUTHENTICATED | grpc.StatusCode.PERMISSION_DENIED:
            return Answer(Outcome.UNKNOWN, "cannot be asked: the health service wants credentials")
        case grpc.StatusCode.UNAVAILABLE if "refused" in details:
            return Answer(Outcome.UNHEALTHY, "connection refused")
        case grpc.StatusCode.UNIMPLEMENTED:
            return Answer(Outcome.UNHEALTHY, "has no health service")
        case grpc.StatusCode.NOT_FOUND:
            return Answer(Outcome.UNHEALTHY, "its health service does not know the service asked for")
        case code:
            return Answer(Outcome.UNHEALTHY, f"gRPC {code.name}")
