"""The audit log: who did what, and whether a row was changed or cut."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from opsuite_cli import screen
from opsuite_cli.calls import Client, talk

if TYPE_CHECKING:
    from opsuite.deployer.v1.history_service_pb2 import ListAuditEventsResponse, VerifyAuditResponse

app = typer.Typer(no_args_is_help=True, help="The audit log: who did what, provably.")


@app.command("list")
def list_(
    where: Annotated[
        str, typer.Option("--filter", help='For example: outcome = "PERMISSION_DENIED" AND actor = "mallory"')
    ] = "",
    limit: Annotated[int, typer.Option("--limit", "-n", min=1, max=1000, help="Most rows printed.")] = 20,
) -> None:
    """List what was done or refused, newest first."""

    async def work(client: Client) -> ListAuditEventsResponse:
        from opsuite.deployer.v1.history_service_pb2 import ListAuditEventsRequest

        return await client.history.ListAuditEvents(ListAuditEventsRequest(page_size=limit, filter=where))

    found = talk(work)
    if not screen.wants_table():
        screen.document(list(found.events))
        return
    from opsuite_cli import words

    screen.table(
        ["ROW", "TIME", "ACTOR", "ACTION", "RESOURCE", "OUTCOME"],
        [
            [
                str(one.sequence),
                words.clock(words.moment(one, "time")),
                one.actor,
                one.action.rpartition("/")[2],
                one.resource,
                one.outcome,
            ]
            for one in found.events
        ],
    )


@app.command()
def verify(
    head: Annotated[
        str, typer.Option(help="A head printed before, SEQUENCE:HASH: also proves that no row was cut.")
    ] = "",
) -> None:
    """Recompute the chain of hashes; exit status 1 when it is broken."""

    async def work(client: Client) -> VerifyAuditResponse:
        from opsuite.deployer.v1.history_service_pb2 import VerifyAuditRequest

        return await client.history.VerifyAudit(VerifyAuditRequest(head=head), timeout=60)

    found = talk(work)
    if not screen.wants_table():
        screen.document(found)
    elif found.intact:
        screen.say(f"intact: {found.checked} rows", "green")
        screen.say(f"head: {found.head}")
    if not found.intact:
        screen.complain([f"error: broken at row {found.broken_at}: {found.message}"])
        raise typer.Exit(1)
