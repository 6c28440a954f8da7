"""Calls servers of KEDA's external scaler contract, as KEDA does.

A value is the floating-point field if that is above 0, else the integer one, and a negative one counts as 0. Before
each value the server is asked which metrics it has; KEDA's fallback misses a failure of that question, here it is a
failure like any other.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Final

import grpc
import grpc.aio

from opsuite.externalscaler import externalscaler_pb2 as pb
from opsuite.externalscaler.externalscaler_pb2_grpc import ExternalScalerStub
from opsuite_kernel.errors import InvalidInput, Unavailable
from opsuite_scaler.adapters.sources.source import a_value, missing
from opsuite_scaler.application.keda_query import KedaQuery
from opsuite_scaler.domain.policy import MetricSpec, TargetRef
from opsuite_scaler.domain.snapshot import Member, Reading

if TYPE_CHECKING:  # there only for the eyes of a type checker
    from opsuite.externalscaler.externalscaler_pb2_grpc import ExternalScalerAsyncStub

OPTIONS: Final = (
    ("grpc.lb_policy_name", "round_robin"),
    ("grpc.use_local_subchannel_pool", 1),  # a new channel does not inherit the back-off of another
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.max_reconnect_backoff_ms", 3_000),
    ("grpc.keepalive_time_ms", 30_000),
)


@dataclass(frozen=True, slots=True)
class TlsFiles:
    """Certificates, as PEM files; they are read when a connection is made."""

    ca: Path | None = None
    """Who may vouch for a server; None: those the system trusts."""
    certificate: Path | None = None
    key: Path | None = None
    """Both or none: what is shown of ourselves."""

    def credentials(self) -> grpc.ChannelCredentials:
        """What a channel is made with. Raises: Unavailable (a file cannot be read)."""
        try:
            files = [None if path is None else path.read_bytes() for path in (self.ca, self.key, self.certificate)]
        except OSError as fault:
            raise Unavailable(f"a certificate cannot be read: {fault}", reason="SOURCE_UNAVAILABLE") from fault
        return grpc.ssl_channel_credentials(*files)


class KedaClient:
    """Connections to servers, one for each address with and without TLS. `close` it at the end."""

    def __init__(self, tls: TlsFiles | None = None) -> None:
        self._tls = tls or TlsFiles()
        self._channels = dict[tuple[str, bool], grpc.aio.Channel]()

    async def close(self) -> None:
        """Close every connection."""
        channels, self._channels = list(self._channels.values()), {}
        await asyncio.gather(*(channel.close() for channel in channels))

    def server(self, query: KedaQuery) -> ExternalScalerAsyncStub:
        """The server that a query names. Raises: Unavailable."""
        place = (query.address, query.tls)
        if place not in self._channels:
            address = f"dns:///{query.address}"  # nothing but a host and a port, whatever a policy says
            self._channels[place] = (
                grpc.aio.secure_channel(address, self._tls.credentials(), options=OPTIONS)
                if query.tls
                else grpc.aio.insecure_channel(address, options=OPTIONS)
            )
        return ExternalScalerStub(self._channels[place])


class KedaSource:
    """Fits `sources.source.MetricSource`."""

    kind = "keda"
    description = 'a server of KEDA\'s external scaler contract: {"address": "host:port", "metadata": {…}}'

    def __init__(self, client: KedaClient) -> None:
        self._client = client

    async def close(self) -> None:
        """Close every connection."""
        await self._client.close()

    def problem(self, metric: MetricSpec) -> str:
        """Whether it is a query at all."""
        try:
            query = KedaQuery.of(metric.query)
        except InvalidInput as refusal:
            return refusal.message
        host, _, port = str(query.address).rpartition(":")
        return "" if host and port.isdecimal() else f"{query.address!r} is not host:port"

    async def read(self, ref: TargetRef, metric: MetricSpec, members: Sequence[Member], now: datetime) -> Reading:
        """Its value; while the server says that nothing is to be done, no more than the metric's activation."""
        query = KedaQuery.of(metric.query)
        scaled = scaled_object(query, ref)
        server = self._client.server(query)
        with translated(query.address):
            specs = (await server.GetMetricSpec(scaled)).metricSpecs
            name = query.metric or next((spec.metricName for spec in specs), "")
            if name not in {spec.metricName for spec in specs}:
                return missing(f"{query.address} has no metric {name!r}")
            request = pb.GetMetricsRequest(scaledObjectRef=scaled, metricName=name)
            told = (await server.GetMetrics(request)).metricValues
            is_active = (await server.IsActive(scaled)).result
        if not told:
            return missing(f"{query.address} gives no value of {name}")
        total = sum(number_in(value) for value in told)
        return a_value(total if is_active else min(total, metric.activation), now)


def scaled_object(query: KedaQuery, ref: TargetRef) -> pb.ScaledObjectRef:
    """What a server is told of the thing that is scaled."""
    return pb.ScaledObjectRef(
        name=query.object_name or ref.name,
        namespace=query.namespace or ref.namespace,
        scalerMetadata=dict[str, str](query.metadata),
    )


def number_in(value: pb.MetricValue) -> float:
    """The number that a pair of fields means."""
    number = value.metricValueFloat if value.metricValueFloat > 0 else float(value.metricValue)
    return max(0.0, number)


@contextmanager
def translated(address: str) -> Iterator[None]:
    """Whatever a server says in place of an answer is a failure of it."""
    try:
        yield
    except grpc.aio.AioRpcError as fault:
        message = f"{address} answers {fault.code().name}: {(fault.details() or '')[:500]}"
        raise Unavailable(message, reason="SOURCE_UNAVAILABLE") from fault
