"""What was deployed, and where its time went: history, trace."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated

import typer

from opsuite_cli import screen
from opsuite_cli.calls import Client, talk
from opsuite_cli.deployments import DeploymentId
from opsuite_cli.names import deployment_name, short

if TYPE_CHECKING:
    from rich.tree import Tree

    from opsuite.deployer.v1.deployment_pb2 import Deployment
    from opsuite.deployer.v1.deployment_service_pb2 import GetTraceResponse, Span

LARGEST_PAGE = 1000


def history(
    pipeline: Annotated[str, typer.Option("--pipeline", "-p", help="Only this pipeline.")] = "-",
    env: Annotated[str, typer.Option("--env", "-e", help="Only this environment.")] = "-",
    status: Annotated[str, typer.Option("--status", "-s", help="Only this status: SUCCEEDED, FAILED …")] = "",
    limit: Annotated[int, typer.Option("--limit", "-n", min=1, help="Most deployments printed.")] = 20,
) -> None:
    """List deployments, newest first."""
    parent = f"pipelines/{short(pipeline)}/environments/{env}"

    async def work(client: Client) -> Sequence[Deployment]:
        from opsuite.deployer.v1.deployment_service_pb2 import ListDeploymentsRequest

        found: list[Deployment] = []
        request = ListDeploymentsRequest(parent=parent, filter=f"status = {status.upper()}" if status else "")
        while True:
            request.page_size = min(limit - len(found), LARGEST_PAGE)
            page = await client.deployments.ListDeployments(request)
            found += page.deployments
            if len(found) >= limit or not page.next_page_token:
                return found
            request.page_token = page.next_page_token

    found = talk(work)
    if screen.wants_table():
        screen.table(
            ["DEPLOYMENT", "PIPELINE", "ENVIRONMENT", "VERSION", "STATUS", "STARTED", "TOOK", "NOTE"],
            [_row(one) for one in found],
        )
    else:
        screen.document(found)


def _row(deployment: Deployment) -> Sequence[str]:
    from opsuite_cli import words

    started = words.moment(deployment, "start_time")
    note = next(
        (
            f"{role} {short(other)}"
            for role, other in (
                ("takes back", deployment.rollback_of),
                ("taken back by", deployment.rolled_back_by),
                ("tries again", deployment.retry_of),
            )
            if other
        ),
        "past the order" if deployment.order_skipped else deployment.reason,
    )
    return [
        deployment.uid,
        short(deployment.pipeline),
        deployment.environment,
        deployment.version,
        words.status(deployment.status),
        words.clock(started),
        words.seconds(words.took(deployment, datetime.now(UTC))),
        note,
    ]


def trace(deployment: DeploymentId) -> None:
    """Print the trace of a deployment as a tree of spans with their durations."""

    async def work(client: Client) -> GetTraceResponse:
        from opsuite.deployer.v1.deployment_service_pb2 import GetTraceRequest

        name = await deployment_name(client, deployment)
        return await client.deployments.GetTrace(GetTraceRequest(name=name))

    found = talk(work)
    if screen.wants_table():
        screen.console().print(tree_of(found, datetime.now(UTC)), no_wrap=True, overflow="ignore", crop=False)
    else:
        screen.document(found)


def tree_of(found: GetTraceResponse, now: datetime) -> Tree:
    """The spans below the one each belongs to, in the order they began; one whose parent is elsewhere is at the top."""
    from rich.tree import Tree

    tree = Tree(f"trace {found.trace_id}")
    known = {span.span_id for span in found.spans}
    children: dict[str, list[Span]] = {}
    for span in found.spans:
        children.setdefault(span.parent_span_id if span.parent_span_id in known else "", []).append(span)

    def hang(branch: Tree, parent: str) -> None:
        for span in children.get(parent, []):
            hang(branch.add(_label(span, now), style="red" if span.failed else ""), span.span_id)

    hang(tree, "")
    return tree


def _label(span: Span, now: datetime) -> str:
    from opsuite_cli import words

    message = span.attributes.get("opsuite.message", "")
    parts = [span.name, words.seconds(words.took(span, now)), "failed" if span.failed else "", message]
    return screen.visible("  ".join(filter(None, parts)))
