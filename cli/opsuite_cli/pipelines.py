"""Pipelines: register, validate, get, list, delete, and `apply` for documents of any kind."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, TypeVar

import typer

from opsuite_cli import screen
from opsuite_cli.calls import REFUSED, Client, talk
from opsuite_cli.documents import in_document, read, written
from opsuite_cli.explaining import explained
from opsuite_cli.names import pipeline_name, short
from opsuite_kernel.errors import InvalidInput, OpsuiteError, Violation

if TYPE_CHECKING:
    from opsuite.deployer.v1.pipeline_pb2 import Pipeline

T = TypeVar("T")
app = typer.Typer(no_args_is_help=True, help="Pipelines: how a version gets into an environment.")
File = Annotated[Path, typer.Argument(help="Document with the pipeline, as `opsuite init` writes it.")]
Name = Annotated[str, typer.Argument(help="Name of the pipeline.")]


@app.command()
def register(file: File) -> None:
    """Register the pipeline of a document; an unchanged one makes no new revision."""
    _register(file)


def apply(
    file: Annotated[Path, typer.Option("--file", "-f", help="Document to apply.")],
) -> None:
    """Make what a document describes so."""
    _register(file)


def _register(file: Path) -> None:
    async def call(client: Client, pipeline: Pipeline) -> None:
        from opsuite.deployer.v1.pipeline_service_pb2 import RegisterPipelineRequest

        answer = await client.pipelines.RegisterPipeline(RegisterPipelineRequest(pipeline=pipeline))
        if not screen.wants_table():
            screen.document(answer.pipeline)
            return
        what = "registered" if answer.created else "unchanged"
        screen.say(f"pipeline {short(answer.pipeline.name)}: {what}, revision {answer.pipeline.revision}")
        env = answer.pipeline.environments[0]
        screen.say(f"next:   opsuite deploy {short(answer.pipeline.name)} VERSION --env {env} --wait")

    _with_document(file, call)


@app.command()
def validate(file: File) -> None:
    """Check a document as registering would, and change nothing."""

    async def call(client: Client, pipeline: Pipeline) -> None:
        from opsuite.deployer.v1.pipeline_service_pb2 import ValidatePipelineRequest

        answer = await client.pipelines.ValidatePipeline(ValidatePipelineRequest(pipeline=pipeline))
        found = [Violation(one.field, one.description, one.reason) for one in answer.violations]
        if found:
            raise InvalidInput(found)
        screen.say(f"{file}: nothing is wrong with it")

    _with_document(file, call)


@app.command()
def get(
    name: Name, revision: Annotated[int | None, typer.Option(min=1, help="Revision; the latest if absent.")] = None
) -> None:
    """Print a pipeline as a document."""

    async def work(client: Client) -> Pipeline:
        from opsuite.deployer.v1.pipeline_service_pb2 import GetPipelineRequest

        request = GetPipelineRequest(name=pipeline_name(name), revision=revision)
        return (await client.pipelines.GetPipeline(request)).pipeline

    found = talk(work)
    if screen.wants_table():
        import yaml

        screen.say(f"# revision {found.revision}")
        screen.say(yaml.safe_dump(written(found), sort_keys=False, allow_unicode=True).rstrip())
    else:
        screen.write(written(found))


@app.command("list")
def list_() -> None:
    """List the pipelines."""

    async def work(client: Client) -> Sequence[Pipeline]:
        from opsuite.deployer.v1.pipeline_service_pb2 import ListPipelinesRequest

        found: list[Pipeline] = []
        request = ListPipelinesRequest(page_size=1000)
        while True:
            page = await client.pipelines.ListPipelines(request)
            found += page.pipelines
            if not page.next_page_token:
                return found
            request.page_token = page.next_page_token

    found = talk(work)
    if screen.wants_table():
        screen.table(
            ["PIPELINE", "REVISION", "ENVIRONMENTS", "STAGES", "FOR"],
            [
                [
                    short(one.name),
                    str(one.revision),
                    ", ".join(one.environments),
                    ", ".join(stage.name for stage in one.stages),
                    one.display_name,
                ]
                for one in found
            ],
        )
    else:
        screen.document(found)


@app.command()
def delete(name: Name) -> None:
    """Hide a pipeline: nothing new starts from it, and its history stays."""

    async def work(client: Client) -> None:
        from opsuite.deployer.v1.pipeline_service_pb2 import DeletePipelineRequest

        await client.pipelines.DeletePipeline(DeletePipelineRequest(name=pipeline_name(name)))

    talk(work)
    screen.say(f"pipeline {short(name)}: deleted; registering it again brings it back")


def _with_document(file: Path, call: Callable[[Client, Pipeline], Awaitable[T]]) -> T:
    """Read a document and do something with it; what is wrong is told by its path in the document."""
    try:
        pipeline = read(file)
    except OpsuiteError as error:
        screen.complain(explained(error))
        raise typer.Exit(REFUSED) from error

    async def work(client: Client) -> T:
        try:
            return await call(client, pipeline)
        except InvalidInput as error:
            raise InvalidInput([in_document(one) for one in error.violations], reason=error.reason) from error

    return talk(work)
