"""Names as people type them: `hello-web`, or the short id of a deployment instead of its whole resource name."""

from __future__ import annotations

from opsuite_cli.calls import Client
from opsuite_kernel.errors import NotFound


def pipeline_name(typed: str) -> str:
    """`pipelines/hello-web` for either form."""
    return typed if typed.startswith("pipelines/") else f"pipelines/{typed}"


def short(name: str) -> str:
    """The last part of a resource name."""
    return name.rpartition("/")[2]


async def deployment_name(client: Client, typed: str) -> str:
    """The whole name of a deployment. Raises NotFound."""
    from opsuite.deployer.v1.deployment_service_pb2 import ListDeploymentsRequest

    if "/" in typed:
        return typed
    if not typed.isalnum():
        raise NotFound("deployment", typed)
    found = await client.deployments.ListDeployments(
        ListDeploymentsRequest(parent="pipelines/-/environments/-", filter=f'uid = "{typed}"', page_size=1)
    )
    if not found.deployments:
        raise NotFound("deployment", typed)
    return found.deployments[0].name
