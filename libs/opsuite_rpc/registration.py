"""What a server serves: its services, and those that every server has, read from their contracts."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from google.protobuf import descriptor_pool
from google.protobuf.descriptor import MethodDescriptor, ServiceDescriptor
from grpc_channelz.v1 import channelz_pb2, channelz_pb2_grpc
from grpc_channelz.v1._async import ChannelzServicer
from grpc_health.v1 import health, health_pb2_grpc
from grpc_reflection.v1alpha import reflection, reflection_pb2_grpc

from opsuite.common.v1 import options_pb2, server_service_pb2, server_service_pb2_grpc
from opsuite_kernel.errors import Violation
from opsuite_rpc.about import ServerServicer
from opsuite_rpc.access import Rights, rights_of
from opsuite_rpc.interceptors import Method
from opsuite_rpc.shapes import compile_service

RESOURCE_FIELDS: Final = ("name", "parent")
"""Fields that name what is acted on, in requests of methods without a resource_field; for the audit log."""
SERVER: Final = server_service_pb2.DESCRIPTOR.services_by_name["ServerService"].full_name
CHANNELZ: Final = channelz_pb2.DESCRIPTOR.services_by_name["Channelz"].full_name


@dataclass(frozen=True, slots=True)
class Service:
    """One service to serve."""

    servicer: Any
    register: Callable[[Any, Any], None]
    """The generated `add_XServicer_to_server`."""
    full_name: str
    """`opsuite.deployer.v1.DeploymentService`."""
    descriptor: ServiceDescriptor | None = None
    """For contracts that live in a descriptor pool of their own; otherwise found by name in the default pool."""


@dataclass(frozen=True, slots=True)
class Registered:
    """One method with the handler (`grpc.RpcMethodHandler`) that its servicer has for it."""

    method: Method
    handler: Any


def standard_services(health_servicer: Any, served: Sequence[Service], *, version: str, debug: bool) -> list[Service]:
    """Health, reflection and ServerService, and channelz in debug."""
    names = [*(service.full_name for service in served), SERVER, health.SERVICE_NAME, reflection.SERVICE_NAME]
    listed = reflection.aio.ReflectionServicer(names)
    standard = [
        Service(health_servicer, health_pb2_grpc.add_HealthServicer_to_server, health.SERVICE_NAME),
        Service(ServerServicer(version), server_service_pb2_grpc.add_ServerServiceServicer_to_server, SERVER),
        Service(listed, reflection_pb2_grpc.add_ServerReflectionServicer_to_server, reflection.SERVICE_NAME),
    ]
    if debug:
        standard.append(Service(ChannelzServicer(), channelz_pb2_grpc.add_ChannelzServicer_to_server, CHANNELZ))
    return standard


def registered(service: Service) -> tuple[list[Registered], list[Violation]]:
    """The methods of a service, and what is wrong with its contract: any of that has to stop the start."""
    try:
        descriptor = service.descriptor or descriptor_pool.Default().FindServiceByName(service.full_name)
    except KeyError:
        return [], [Violation(service.full_name, "is in no contract that was imported")]
    methods, violations = _methods(descriptor)
    registrar = _Registrar()
    service.register(service.servicer, registrar)
    for name in registrar.handlers.keys() - descriptor.methods_by_name.keys():
        violations.append(Violation(f"{service.full_name}/{name}", "is not in the contract"))
    handlers = registrar.handlers
    return [Registered(method, handlers[method.name]) for method in methods if method.name in handlers], violations


def _methods(descriptor: ServiceDescriptor) -> tuple[list[Method], list[Violation]]:
    rights, violations = rights_of(descriptor)
    try:
        checks = compile_service(descriptor)
    except ValueError as error:
        return [], [*violations, Violation(descriptor.full_name, f"has a rule that does not compile: {error}")]
    methods = [
        Method(
            descriptor.full_name,
            method.name,
            rights[method.name],
            checks.get(method.full_name),
            _resource_field(method, rights[method.name]),
            method.client_streaming,
            method.server_streaming,
            method.GetOptions().Extensions[options_pb2.judges_shape],
        )
        for method in descriptor.methods
        if method.name in rights
    ]
    return methods, violations


def _resource_field(method: MethodDescriptor, rights: Rights) -> str:
    if rights.resource_field or method.client_streaming:
        return rights.resource_field
    return next((name for name in RESOURCE_FIELDS if name in method.input_type.fields_by_name), "")


class _Registrar:
    """Stands in for a server where generated code registers: keeps the handlers, so that they can be wrapped."""

    def __init__(self) -> None:
        self.handlers: dict[str, Any] = {}

    def add_generic_rpc_handlers(self, _handlers: Any) -> None:
        """Generated code registers twice; this form hides the methods."""

    def add_registered_method_handlers(self, _service: str, handlers: Mapping[str, Any]) -> None:
        """Keep them."""
        self.handlers.update(handlers)
