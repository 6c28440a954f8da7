"""ServerService: what every server says of itself."""

from __future__ import annotations

from typing import Any

from opsuite.common.v1 import server_service_pb2 as pb
from opsuite.common.v1 import server_service_pb2_grpc as stubs


class ServerServicer(stubs.ServerServiceServicer):
    """Serves the contract with facts that do not change while it runs."""

    def __init__(self, version: str) -> None:
        self._version = version

    async def GetServer(  # noqa: N802  # the contract names it
        self, request: pb.GetServerRequest, context: Any
    ) -> pb.GetServerResponse:
        """Say which version this is."""
        return pb.GetServerResponse(version=self._version)
