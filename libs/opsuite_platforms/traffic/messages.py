"""Messages of the xDS API, from the descriptors in `xds/`.

They live in a descriptor pool of their own, so that nothing clashes with packages that bring the full API.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any, Final

from google.protobuf import descriptor_pb2, message_factory
from google.protobuf.descriptor import ServiceDescriptor
from google.protobuf.descriptor_pool import DescriptorPool

DESCRIPTORS: Final = Path(__file__).parent / "xds" / "xds.binpb"
TYPE_URL_PREFIX: Final = "type.googleapis.com/"


@cache
def pool() -> DescriptorPool:
    """The pool with the xDS messages and the well-known types that they use."""
    pool = DescriptorPool()
    for file in descriptor_pb2.FileDescriptorSet.FromString(DESCRIPTORS.read_bytes()).file:
        pool.Add(file)
    return pool


@cache
def message_class(full_name: str) -> Any:
    """The class of `envoy.config.cluster.v3.Cluster`."""
    return message_factory.GetMessageClass(pool().FindMessageTypeByName(full_name))


def service(full_name: str) -> ServiceDescriptor:
    """The descriptor of `envoy.service.discovery.v3.AggregatedDiscoveryService`."""
    return pool().FindServiceByName(full_name)


def packed(message: Any) -> Any:
    """The message as a google.protobuf.Any."""
    return message_class("google.protobuf.Any")(
        type_url=TYPE_URL_PREFIX + message.DESCRIPTOR.full_name, value=message.SerializeToString(deterministic=True)
    )
