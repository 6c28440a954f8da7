"""A server and a client of KEDA's external scaler contract that share no code with ours.

They are generated here, when tests run, from the facts of the public contract alone: package, service, methods,
messages, field names, numbers and types. That they understand our stubs shows that the bytes are the same.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import grpc
import grpc.aio
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

SERVICE = "externalscaler.ExternalScaler"
# Message: field: number, type, and whether it is repeated.
MESSAGES: Mapping[str, Mapping[str, tuple[int, str, bool]]] = {
    "ScaledObjectRef": {
        "name": (1, "string", False),
        "namespace": (2, "string", False),
        "scalerMetadata": (3, ".externalscaler.ScaledObjectRef.ScalerMetadataEntry", True),
    },
    "IsActiveResponse": {"result": (1, "bool", False)},
    "GetMetricSpecResponse": {"metricSpecs": (1, ".externalscaler.MetricSpec", True)},
    "MetricSpec": {
        "metricName": (1, "string", False),
        "targetSize": (2, "int64", False),
        "targetSizeFloat": (3, "double", False),
    },
    "GetMetricsRequest": {
        "scaledObjectRef": (1, ".externalscaler.ScaledObjectRef", False),
        "metricName": (2, "string", False),
    },
    "GetMetricsResponse": {"metricValues": (1, ".externalscaler.MetricValue", True)},
    "MetricValue": {
        "metricName": (1, "string", False),
        "metricValue": (2, "int64", False),
        "metricValueFloat": (3, "double", False),
    },
}
# Method: request, response, and whether that is a stream.
METHODS = {
    "IsActive": ("ScaledObjectRef", "IsActiveResponse", False),
    "StreamIsActive": ("ScaledObjectRef", "IsActiveResponse", True),
    "GetMetricSpec": ("ScaledObjectRef", "GetMetricSpecResponse", False),
    "GetMetrics": ("GetMetricsRequest", "GetMetricsResponse", False),
    "StreamMetricSpec": ("ScaledObjectRef", "GetMetricSpecResponse", True),
}


def generated() -> Mapping[str, Any]:
    """Classes of the messages, in a pool of their own."""
    file = descriptor_pb2.FileDescriptorProto(name="keda.proto", package="externalscaler", syntax="proto3")
    for name, fields in MESSAGES.items():
        message = file.message_type.add(name=name)
        for field_name, (number, kind, is_repeated) in fields.items():
            add_field(message, field_name, number, kind, is_repeated)
    entry = file.message_type[0].nested_type.add(name="ScalerMetadataEntry")
    entry.options.map_entry = True
    add_field(entry, "key", 1, "string", False)
    add_field(entry, "value", 2, "string", False)
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return message_factory.GetMessageClassesForFiles(["keda.proto"], pool)


def add_field(message: Any, name: str, number: int, kind: str, is_repeated: bool) -> None:
    types = descriptor_pb2.FieldDescriptorProto
    field = message.field.add(name=name, number=number)
    field.label = types.LABEL_REPEATED if is_repeated else types.LABEL_OPTIONAL
    if kind.startswith("."):
        field.type, field.type_name = types.TYPE_MESSAGE, kind
    else:
        field.type = types.Type.Value(f"TYPE_{kind.upper()}")


CLASSES = {name.rpartition(".")[2]: kind for name, kind in generated().items()}


class KedaStub:
    """What KEDA calls."""

    def __init__(self, channel: grpc.aio.Channel) -> None:
        self._channel = channel

    def __getattr__(self, method: str) -> Any:
        request, response, is_stream = METHODS[method]
        make = self._channel.unary_stream if is_stream else self._channel.unary_unary
        return make(
            f"/{SERVICE}/{method}",
            request_serializer=CLASSES[request].SerializeToString,
            response_deserializer=CLASSES[response].FromString,
        )


def scaled_object(**metadata: str) -> Any:
    """A trigger with that metadata."""
    return CLASSES["ScaledObjectRef"](name="checkout", namespace="shop", scalerMetadata=metadata)


@dataclass
class KedaServer:
    """An external scaler, as somebody else could have written it."""

    port: int = 0
    values: list[dict[str, Any]] = field(default_factory=lambda: [{"metricName": "queue", "metricValue": 7}])
    specs: list[dict[str, Any]] = field(default_factory=lambda: [{"metricName": "queue", "targetSize": 5}])
    is_active: bool = True
    refuses: set[str] = field(default_factory=set)
    """Methods that fail."""
    lacks: set[str] = field(default_factory=set)
    """Methods that it does not have."""
    asked: list[tuple[str, Any]] = field(default_factory=list)
    """Every call, oldest first."""
    pushes: asyncio.Queue[bool | None] = field(default_factory=asyncio.Queue)
    """What streams say; None ends the one that there is."""

    async def answer(self, method: str, request: Any, context: Any) -> Any:
        await self._note(method, request, context)
        match method:
            case "IsActive":
                return CLASSES["IsActiveResponse"](result=self.is_active)
            case "GetMetricSpec":
                specs = [CLASSES["MetricSpec"](**spec) for spec in self.specs]
                return CLASSES["GetMetricSpecResponse"](metricSpecs=specs)
            case _:
                values = [CLASSES["MetricValue"](**value) for value in self.values]
                return CLASSES["GetMetricsResponse"](metricValues=values)

    async def stream(self, method: str, request: Any, context: Any) -> AsyncIterator[Any]:
        await self._note(method, request, context)
        while (pushed := await self.pushes.get()) is not None:
            yield CLASSES["IsActiveResponse"](result=pushed)

    async def _note(self, method: str, request: Any, context: Any) -> None:
        self.asked.append((method, request))
        if method in self.lacks:
            await context.abort(grpc.StatusCode.UNIMPLEMENTED, "there is no such thing")
        if method in self.refuses:
            await context.abort(grpc.StatusCode.INTERNAL, "it does not work today")

    def handler(self, method: str) -> Any:
        request, response, is_stream = METHODS[method]
        codec = {
            "request_deserializer": CLASSES[request].FromString,
            "response_serializer": CLASSES[response].SerializeToString,
        }
        if is_stream:

            async def stream(request: Any, context: Any) -> AsyncIterator[Any]:  # which grpc knows by its kind
                async for each in self.stream(method, request, context):
                    yield each

            return grpc.unary_stream_rpc_method_handler(stream, **codec)

        async def answer(request: Any, context: Any) -> Any:
            return await self.answer(method, request, context)

        return grpc.unary_unary_rpc_method_handler(answer, **codec)


@asynccontextmanager
async def a_keda_server(credentials: grpc.ServerCredentials | None = None) -> AsyncIterator[KedaServer]:
    """One on loopback."""
    scaler, server = KedaServer(), grpc.aio.server()
    handlers = {method: scaler.handler(method) for method in METHODS}
    server.add_generic_rpc_handlers([grpc.method_handlers_generic_handler(SERVICE, handlers)])
    place = "127.0.0.1:0"
    scaler.port = server.add_secure_port(place, credentials) if credentials else server.add_insecure_port(place)
    await server.start()
    try:
        yield scaler
    finally:
        await server.stop(0)
