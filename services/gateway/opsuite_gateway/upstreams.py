"""The services behind the gateway, and how they are called: always with the rights of whoever asks."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, replace
from typing import Any, Final

import grpc
from google.protobuf.descriptor import FileDescriptor
from google.protobuf.message import Message

from opsuite_gateway.transcoding.bindings import Binding, Bindings, bindings_of, contracts
from opsuite_kernel.errors import Unauthenticated
from opsuite_rpc.channel import Target, connect

SERVICES: Final = ("deployer", "scaler", "healer")
"""Those that have a contract, in the order in which a path is looked for."""
SHARED: Final = "opsuite.common.v1"
"""Contract that every service has."""


@dataclass(frozen=True, slots=True)
class Caller:
    """On whose behalf the gateway calls."""

    token: str
    """Bearer token; empty: nobody in particular, which services refuse unless they are open."""


@dataclass(frozen=True, slots=True)
class Upstream:
    """One service."""

    name: str
    files: Sequence[FileDescriptor]
    """Its contract."""
    bindings: Bindings
    """Its methods, and those that every service has."""
    channel: grpc.aio.Channel

    def method(self, name: str) -> Binding:
        """The first binding of a method: "DeploymentService/Deploy"."""
        return next(one for one in self.bindings if one.path == f"/opsuite.{self.name}.v1.{name}")

    async def call(self, binding: Binding, request: Message, caller: Caller) -> Message:
        """The answer of a method. Raises OpsuiteError, as the service told it."""
        method = self.channel.unary_unary(
            binding.path,
            request_serializer=binding.request.SerializeToString,
            response_deserializer=binding.response.FromString,
        )
        answer: Message = await method(request, metadata=_metadata(caller))
        return answer

    async def follow(self, binding: Binding, request: Message, caller: Caller) -> AsyncGenerator[Message, None]:
        """The answers of a method that streams them. Raises OpsuiteError from the first step on."""
        method: Any = self.channel.unary_stream(
            binding.path,
            request_serializer=binding.request.SerializeToString,
            response_deserializer=binding.response.FromString,
        )
        call = method(request, metadata=_metadata(caller))
        try:
            async for answer in call:
                yield answer
        finally:
            call.cancel()  # no effect on one that has ended


async def open_upstreams(targets: Mapping[str, Target], stack: AsyncExitStack) -> Mapping[str, Upstream]:
    """The services at these targets, by name; `stack` closes them. Nothing is asked of them yet."""
    shared = contracts(SHARED)
    opened = {}
    for name, target in targets.items():
        # Never with a token of the gateway's own: whoever calls brings theirs.
        connection = await stack.enter_async_context(connect(replace(target, token=None, token_file=None)))
        files = contracts(f"opsuite.{name}.v1")
        opened[name] = Upstream(name, files, bindings_of([*files, *shared]), connection.channel)
    return opened


def _metadata(caller: Caller) -> Sequence[tuple[str, str]]:
    if not caller.token:
        raise Unauthenticated("sign in first, or send a bearer token", reason="NO_CREDENTIALS")
    return (("authorization", f"Bearer {caller.token}"),)
