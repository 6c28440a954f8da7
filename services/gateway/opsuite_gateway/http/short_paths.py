"""Short paths that operators and their scripts know by heart: other words for methods of the contract.

GET /api/deployments/active        deployments that have not ended
GET /api/deployments/{id}          one deployment, by the last part of its name alone
GET /api/deployments/{id}/logs     what its steps wrote; page_size, page_token, stage and step as for ListLogs
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, cast

from aiohttp import web

from opsuite.deployer.v1 import deployment_pb2
from opsuite.deployer.v1 import deployment_service_pb2 as pb
from opsuite_gateway.http.answers import json_answer
from opsuite_gateway.transcoding.messages import json_of, request_of
from opsuite_gateway.upstreams import Caller, Upstream
from opsuite_kernel.errors import NotFound

EVERYWHERE: Final = "pipelines/-/environments/-"
ENDED: Final = (
    "SUCCEEDED",
    "ROLLED_BACK",
    "FAILED",
    "ROLLBACK_FAILED",
    "ABORTED",
    "CANCELLED",
    "SUPERSEDED",
    "TIMED_OUT",
)
ACTIVE: Final = " AND ".join(f"NOT status = {one}" for one in ENDED)
LONGEST_ID: Final = 40


class ShortPaths:
    """Handlers of /api/deployments."""

    def __init__(self, deployer: Upstream, caller_of: Callable[[web.Request], Caller]) -> None:
        self._deployer = deployer
        self._caller_of = caller_of
        self._list = deployer.method("DeploymentService/ListDeployments")
        self._logs = deployer.method("DeploymentService/ListLogs")

    def routes(self) -> list[web.RouteDef]:
        """The paths; their handlers raise what the methods behind them do."""
        return [
            web.get("/api/deployments/active", self.active),
            web.get("/api/deployments/{id}", self.deployment),
            web.get("/api/deployments/{id}/logs", self.logs),
        ]

    async def active(self, request: web.Request) -> web.StreamResponse:
        """Deployments that have not ended, the newest first; page_size and page_token as for ListDeployments."""
        fields = {"parent": EVERYWHERE, "filter": ACTIVE}
        message = request_of(self._list, fields, list(request.query.items()), b"")
        return json_answer(json_of(await self._deployer.call(self._list, message, self._caller_of(request))))

    async def deployment(self, request: web.Request) -> web.StreamResponse:
        """One deployment, without its stages."""
        found = await self._found(request)
        return json_answer(json_of(found))

    async def logs(self, request: web.Request) -> web.StreamResponse:
        """What the steps of a deployment wrote."""
        fields = {"name": (await self._found(request)).name}
        message = request_of(self._logs, fields, list(request.query.items()), b"")
        return json_answer(json_of(await self._deployer.call(self._logs, message, self._caller_of(request))))

    async def _found(self, request: web.Request) -> deployment_pb2.Deployment:
        """The deployment of an id. Raises NotFound."""
        uid = request.match_info["id"]
        if not (uid.isascii() and uid.isalnum() and uid == uid.lower() and len(uid) <= LONGEST_ID):
            raise NotFound("deployment", uid)
        wanted = pb.ListDeploymentsRequest(parent=EVERYWHERE, filter=f'uid = "{uid}"', page_size=1)
        answer = await self._deployer.call(self._list, wanted, self._caller_of(request))
        deployments = cast("pb.ListDeploymentsResponse", answer).deployments
        if not deployments:
            raise NotFound("deployment", uid)
        return deployments[0]
