"""`opsuite import`: files of Kamal, Argo Rollouts and Flagger become pipelines."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from opsuite_cli import screen
from opsuite_cli.calls import REFUSED
from opsuite_kernel.errors import InvalidInput, NotFound, OpsuiteError, Violation

if TYPE_CHECKING:
    from opsuite_cli.imports.reading import Imported, Reading


def import_(
    source: Annotated[Path, typer.Argument(help="deploy.yml of Kamal, or manifests with one Rollout or Canary.")],
    env: Annotated[str, typer.Option("--env", "-e", help="Environment that the pipeline deploys to.")] = "production",
    file: Annotated[Path | None, typer.Option("--file", "-f", help="Where to write; else standard output.")] = None,
    force: Annotated[bool, typer.Option("--force", help="Replace a file that exists.")] = False,
    strict: Annotated[bool, typer.Option("--strict", help="Write nothing if any field is refused.")] = False,
) -> None:
    """Make a pipeline of a file of Kamal, Argo Rollouts or Flagger; every field that it cannot keep is named."""
    try:
        imported = imported_from(text_of(source), environment=env)
        refuse_malformed(imported)
    except OpsuiteError as error:
        screen.complain([f"error: {error.message}"])
        raise typer.Exit(REFUSED) from error
    if not screen.wants_table():
        screen.write(asdict(imported))
    elif file is None and not (strict and imported.refused):
        screen.say(rendered(imported, source.name).rstrip())
    if file is not None and not (strict and imported.refused):
        write(file, rendered(imported, source.name), force=force)
    if screen.wants_table():
        screen.complain(told(imported))
    if strict and imported.refused:
        raise typer.Exit(REFUSED)


def imported_from(text: str, *, environment: str) -> Imported:
    """The pipeline of a text. Raises: InvalidInput (not YAML, nothing that is known, or more than one)."""
    return imported_of(documents_in(text), environment=environment)


def imported_of(documents: Sequence[Mapping[str, Any]], *, environment: str) -> Imported:
    """The pipeline of the documents of a file. Raises: InvalidInput (nothing that is known, or more than one)."""
    from opsuite_cli.imports import argo, flagger, kamal
    from opsuite_cli.imports.reading import Reading

    readings = [Reading(document) for document in documents]
    found = [reading for reading in readings if kind_of(reading)]
    if len(found) != 1:
        what = "holds more than one" if found else "holds no"
        raise InvalidInput([Violation("", f"the file {what} Rollout, Canary or Kamal configuration", "MALFORMED")])
    (reading,) = found
    others = [other for other in readings if other is not reading]
    match kind_of(reading):
        case "kamal":
            imported = kamal.pipeline_from(reading, environment=environment)
        case "argo":
            imported = argo.pipeline_from(reading, environment=environment, others=others)
        case _:
            imported = flagger.pipeline_from(reading, environment=environment, others=others)
    return with_others(imported, others)


def kind_of(reading: Reading) -> str:
    """Whose document it is; empty if it is none that is imported."""
    from opsuite_cli.imports import argo, flagger

    root = reading.root
    group, kind = str(root["apiVersion"].value), root["kind"].value
    if group.startswith(argo.API_GROUP) and kind == argo.KIND:
        return "argo"
    if group.startswith(flagger.API_GROUP) and kind == flagger.KIND:
        return "flagger"
    return "kamal" if root["service"] and not root["kind"] else ""


def with_others(imported: Imported, others: Sequence[Reading]) -> Imported:
    """The result with what became of the other documents of the file, by the kind and name of each."""
    from dataclasses import replace

    from opsuite_cli.imports.reading import Finding

    for other in others:
        kind, name = other.root["kind"].value, other.root["metadata"]["name"].value
        place = f"{kind}/{name}"
        if not other.mapped:
            lost = Finding(place, "is not a part of a pipeline: apply it with a `kubernetes` step")
            imported = replace(imported, refused=[*imported.refused, lost])
            continue
        parts = other.imported({})
        imported = replace(
            imported,
            mapped=[*imported.mapped, *(f"{place}: {path}" for path in parts.mapped)],
            refused=[*imported.refused, *(Finding(f"{place}: {one.path}", one.reason) for one in parts.refused)],
            meaningless=[
                *imported.meaningless,
                *(Finding(f"{place}: {one.path}", one.reason) for one in parts.meaningless),
            ],
        )
    return imported


def documents_in(text: str) -> list[Mapping[str, Any]]:
    """The documents of a YAML text. Raises: InvalidInput."""
    import yaml

    try:
        documents = list(yaml.safe_load_all(text))
    except yaml.YAMLError as error:
        raise InvalidInput([Violation("", f"is not YAML: {' '.join(str(error).split())}", "MALFORMED")]) from error
    return [document for document in documents if isinstance(document, Mapping)]


def refuse_malformed(imported: Imported) -> None:
    """Raises: InvalidInput (the document held what no pipeline can have, such as a name that is no DNS label)."""
    import yaml

    from opsuite_cli.documents import parse

    parse(yaml.safe_dump(dict(imported.pipeline)))


def rendered(imported: Imported, source: str) -> str:
    """The pipeline as a text, headed by what it does not do."""
    import yaml

    lines = [f"# Made from {source} by `opsuite import`."]
    if imported.version:
        env = imported.pipeline["spec"]["environments"][0]
        next_step = f"opsuite deploy {name_of(imported)} {imported.version} --env {env}"
        lines.append(f"# The version there is {imported.version}: {next_step}")
    if imported.refused:
        lines += ["# What it does not do:", *(f"#   {one.path}: {one.reason}" for one in imported.refused)]
    return "\n".join([*lines, yaml.safe_dump(dict(imported.pipeline), sort_keys=False, allow_unicode=True)])


def told(imported: Imported) -> Iterator[str]:
    """What became of the fields, for people."""
    counts = f"{len(imported.mapped)} mapped, {len(imported.refused)} refused"
    yield f"{name_of(imported)}: {counts}, {len(imported.meaningless)} without a meaning here"
    yield from (f"  refused {one.path}: {one.reason}" for one in imported.refused)
    yield from (f"  without a meaning {one.path}: {one.reason}" for one in imported.meaningless)


def name_of(imported: Imported) -> str:
    """Name of the pipeline."""
    return str(imported.pipeline["metadata"]["name"])


def text_of(path: Path) -> str:
    """The text of a file. Raises: NotFound."""
    try:
        return path.read_text()
    except OSError as error:
        raise NotFound("document", str(path)) from error


def write(path: Path, text: str, *, force: bool) -> None:
    """Write the file, unless it exists and may not be replaced."""
    if path.exists() and not force:
        screen.complain([f"error: {path} exists; replace it with --force"])
        raise typer.Exit(REFUSED)
    path.write_text(text)
