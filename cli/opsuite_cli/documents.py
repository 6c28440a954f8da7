"""Pipelines as YAML documents: read, checked with every mistake by its path, turned into the contract's message."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, cast

from opsuite_cli.resource_documents import Kind, loaded
from opsuite_kernel.errors import NotFound, Violation

if TYPE_CHECKING:
    from opsuite.deployer.v1.pipeline_pb2 import Pipeline

PIPELINE: Final = Kind(
    "Pipeline",
    "opsuite.deployer.v1.pipeline_pb2",
    "pipelines/",
    "pipeline",
    "pipeline",
    frozenset({"name", "revision", "etag", "create_time"}),
)


def read(path: Path) -> Pipeline:
    """The pipeline in a file. Raises NotFound; InvalidInput with every mistake, fields as they stand in the file."""
    try:
        text = path.read_text()
    except OSError as error:
        raise NotFound("document", str(path)) from error
    return parse(text)


def parse(text: str) -> Pipeline:
    """The pipeline in a text. Raises InvalidInput with every mistake."""
    return cast("Pipeline", PIPELINE.read(loaded(text)))


def in_document(violation: Violation) -> Violation:
    """A violation that the server found, by its path in the document."""
    return PIPELINE.in_document(violation)


def written(pipeline: Pipeline) -> dict[str, Any]:
    """The document of a pipeline, as plain data that `parse` reads back."""
    return PIPELINE.written(pipeline)
