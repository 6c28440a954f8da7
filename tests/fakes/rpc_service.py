"""A small service with every kind of method, for tests of what stands in front of methods."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import grpc
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory
from google.rpc import status_pb2
from opentelemetry import trace
from prometheus_client import CollectorRegistry

from opsuite.common.v1 import options_pb2
from opsuite_kernel.errors import Unavailable
from opsuite_rpc.access import AccessControl
from opsuite_rpc.audit import AuditEntry
from opsuite_rpc.calls import shape_violations
from opsuite_rpc.identity import local_token, token_hash
from opsuite_rpc.policy_file import PolicyFile
from opsuite_rpc.server import RpcServer, Service, Telemetry
from opsuite_rpc.settings import ServerSettings, SideSettings

PACKAGE = "opsuite.rpctest.v1"
SERVICE = f"{PACKAGE}.ThingService"
REFUSED, ALWAYS = options_pb2.AUDIT_REFUSED, options_pb2.AUDIT_ALWAYS
SINGLE, OUT, BOTH = "", "out", "both"  # what is a stream
METHODS: Mapping[str, tuple[str, str, Any, str]] = {  # name: (permission, resource_field, audit, streams)
    "Get": ("things.read", "name", REFUSED, SINGLE),
    "Change": ("things.start", "environment", ALWAYS, SINGLE),
    "Register": ("things.register", "", ALWAYS, SINGLE),
    "Judge": ("things.read", "", REFUSED, SINGLE),
    "Watch": ("things.read", "name", REFUSED, OUT),
    "Tail": ("things.read", "name", REFUSED, OUT),
    "Chat": ("things.read", "", REFUSED, BOTH),
}
VIEWER, OPERATOR = "viewer-secret", "operator-secret"
POLICY = f"""
principals:
  - name: vera
    token_sha256: {token_hash(VIEWER)}
    roles: {{viewer: ["*"]}}
  - name: otto
    token_sha256: {token_hash(OPERATOR)}
    roles: {{operator: [staging]}}
"""


def a_file(name: str, methods: Mapping[str, tuple[str, str, Any, str]], without_access: Sequence[str] = ()) -> Any:
    """A proto file with one request, one response and a service of these methods."""
    package = name
    file = descriptor_pb2.FileDescriptorProto(name=f"{name}.proto", package=package, syntax="proto3")
    file.dependency.append("opsuite/common/v1/options.proto")
    request = file.message_type.add(name="Request")
    for number, field_name in enumerate(("name", "environment", "text"), start=1):
        added = request.field.add(name=field_name, number=number, type=9, label=1)
        if field_name == "text":
            added.options.Extensions[options_pb2.rule].max_len = 100
    file.message_type.add(name="Response").field.add(name="text", number=1, type=9, label=1)
    service = file.service.add(name="ThingService")
    for method_name, (permission, resource_field, audit, streams) in methods.items():
        method = service.method.add(
            name=method_name,
            input_type=f".{package}.Request",
            output_type=f".{package}.Response",
            server_streaming=streams in (OUT, BOTH),
            client_streaming=streams == BOTH,
        )
        if method_name not in without_access:
            access = method.options.Extensions[options_pb2.access]
            access.permission, access.resource_field, access.audit = permission, resource_field, audit
        method.options.Extensions[options_pb2.judges_shape] = method_name == "Judge"
    return file


def add_file(file: Any) -> None:
    """Make a file known to the process."""
    descriptor_pool.Default().AddSerializedFile(file.SerializeToString())


add_file(a_file(PACKAGE, METHODS))


def message_class(name: str) -> Any:
    return message_factory.GetMessageClass(descriptor_pool.Default().FindMessageTypeByName(f"{PACKAGE}.{name}"))


Request, Response = message_class("Request"), message_class("Response")


def handlers_of(servicer: Any) -> dict[str, Any]:
    """What generated code builds: a handler for each method of METHODS."""
    make: dict[str, Callable[..., Any]] = {
        SINGLE: grpc.unary_unary_rpc_method_handler,
        OUT: grpc.unary_stream_rpc_method_handler,
        BOTH: grpc.stream_stream_rpc_method_handler,
    }
    return {
        name: make[streams](getattr(servicer, name), Request.FromString, Response.SerializeToString)
        for name, (_, _, _, streams) in METHODS.items()
    }


def register(servicer: Any, server: Any) -> None:
    """Fits the generated `add_XServicer_to_server`."""
    server.add_registered_method_handlers(SERVICE, handlers_of(servicer))


Behaviour = Callable[[Any, Any], Any]


class ThingServicer:
    """Does what it is told: `on[method]` takes a request and the context."""

    def __init__(self, draining: asyncio.Event) -> None:
        self.draining = draining
        self.on: dict[str, Behaviour] = {}
        self.calls: list[str] = []

    async def _single(self, method: str, request: Any, context: Any) -> Any:
        self.calls.append(method)
        if method in self.on:
            return await self.on[method](request, context)
        return Response(text=request.text)

    async def Get(self, request: Any, context: Any) -> Any:
        return await self._single("Get", request, context)

    async def Change(self, request: Any, context: Any) -> Any:
        return await self._single("Change", request, context)

    async def Register(self, request: Any, context: Any) -> Any:
        return await self._single("Register", request, context)

    async def Judge(self, request: Any, context: Any) -> Any:
        """Answers with the paths of what is wrong with the shape of the request."""
        self.calls.append("Judge")
        return Response(text=" ".join(violation.field for violation in shape_violations()))

    async def Watch(self, request: Any, context: Any) -> AsyncIterator[Any]:
        """One message as an object, one as bytes, then nothing until the server drains."""
        self.calls.append("Watch")
        yield Response(text="first")
        yield Response(text="second").SerializeToString()
        await self.draining.wait()
        raise Unavailable("resume elsewhere", reason="SERVER_DRAINING")

    async def Chat(self, requests: AsyncIterator[Any], context: Any) -> AsyncIterator[Any]:
        """Says again what it hears."""
        self.calls.append("Chat")
        async for request in requests:
            yield Response(text=request.text)

    async def Tail(self, request: Any, context: Any) -> None:
        """Writes to the context, then knows of no end."""
        self.calls.append("Tail")
        await context.write(Response(text="first"))
        await asyncio.Event().wait()


@dataclass
class RecordingAudit:
    """Fits `opsuite_rpc.audit.AuditSink`."""

    entries: list[AuditEntry] = field(default_factory=list)
    fault: Exception | None = None

    async def record(self, entry: AuditEntry) -> None:
        if self.fault is not None:
            raise self.fault
        self.entries.append(entry)

    @property
    def told(self) -> list[tuple[str, str, str, str]]:
        """Actor, method or action, resource, outcome."""
        return [(e.actor, e.action.rpartition("/")[2], e.resource, e.outcome) for e in self.entries]


@dataclass
class Running:
    """A server and everything around it."""

    server: RpcServer
    servicer: ThingServicer
    audit: RecordingAudit
    local: str
    policy: Path

    def channel(self, index: int = 0) -> grpc.aio.Channel:
        address = self.server.addresses[index]
        return grpc.aio.insecure_channel(address.replace("unix://", "unix:"))


def metadata(token: str | None, *more: tuple[str, str]) -> tuple[tuple[str, str], ...]:
    return more if token is None else (("authorization", f"Bearer {token}"), *more)


async def call(channel: grpc.aio.Channel, method: str, token: str | None = None, **options: Any) -> Any:
    """One unary call; `options` are fields of the request, but for `timeout` and `more` (metadata)."""
    timeout, more = options.pop("timeout", 20), options.pop("more", ())
    stub = channel.unary_unary(
        f"/{SERVICE}/{method}",
        request_serializer=Request.SerializeToString,
        response_deserializer=Response.FromString,
    )
    return await stub(Request(**options), timeout=timeout, metadata=metadata(token, *more))


def detail(error: grpc.aio.AioRpcError, kind: Any) -> Any:
    """The detail of that kind (`error_details_pb2.ErrorInfo`) in a rich status; fails where there is none."""
    packed = dict(error.trailing_metadata() or ()).get("grpc-status-details-bin", b"")
    found = kind()
    assert isinstance(packed, bytes)
    assert any(each.Unpack(found) for each in status_pb2.Status.FromString(packed).details), f"no {kind.__name__}"
    return found


def watch(channel: grpc.aio.Channel, method: str, token: str | None = None, **fields: Any) -> Any:
    """One stream."""
    stub = channel.unary_stream(
        f"/{SERVICE}/{method}",
        request_serializer=Request.SerializeToString,
        response_deserializer=Response.FromString,
    )
    return stub(Request(**fields), metadata=metadata(token))


def chat(channel: grpc.aio.Channel, token: str | None, *texts: str) -> Any:
    """One stream in both directions that says these texts."""
    stub = channel.stream_stream(
        f"/{SERVICE}/Chat",
        request_serializer=Request.SerializeToString,
        response_deserializer=Response.FromString,
    )
    return stub(iter([Request(text=text) for text in texts]), metadata=metadata(token))


def a_server(
    directory: Path,
    *,
    settings: ServerSettings | None = None,
    services: Sequence[Service] | None = None,
    audit: RecordingAudit | None = None,
    tracer: trace.Tracer | None = None,
    access: AccessControl | None = None,
) -> Running:
    """A server that is built and not started: loopback TCP, any free port, POLICY and a local token."""
    draining = asyncio.Event()
    servicer, audit = ThingServicer(draining), audit or RecordingAudit()
    policy = directory / "policy.yaml"
    if not policy.exists():
        policy.write_text(POLICY)
    access = access or AccessControl(PolicyFile(policy), local=local_token(directory / "token"))
    server = RpcServer(
        [Service(servicer, register, SERVICE)] if services is None else services,
        access=access,
        settings=settings or ServerSettings(listen=("127.0.0.1:0",), side=SideSettings(port=0)),
        audit=audit,
        telemetry=Telemetry(tracer or trace.NoOpTracer(), CollectorRegistry()),
        draining=draining,
    )
    return Running(server, servicer, audit, (directory / "token").read_text().strip(), policy)


@asynccontextmanager
async def serving(directory: Path, **options: Any) -> AsyncIterator[Running]:
    """The same, running."""
    running = a_server(directory, **options)
    await running.server.start()
    try:
        yield running
    finally:
        await running.server.stop()
