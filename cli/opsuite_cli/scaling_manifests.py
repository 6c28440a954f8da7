"""Policies from HorizontalPodAutoscalers and ScaledObjects, and back."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from opsuite_cli import screen
from opsuite_cli.calls import REFUSED
from opsuite_cli.importing import documents_in, text_of, told, write
from opsuite_cli.scaling_calls import full, refuse, talk
from opsuite_kernel.errors import InvalidInput, OpsuiteError, Violation

if TYPE_CHECKING:
    from opsuite_cli.imports.reading import Imported

File = Annotated[Path | None, typer.Option("--file", "-f", help="Where to write; else standard output.")]
Force = Annotated[bool, typer.Option("--force", help="Replace a file that exists.")]
Strict = Annotated[bool, typer.Option("--strict", help="Write nothing if any field is refused.")]


def add_to(app: typer.Typer) -> None:
    """Add the commands of this module."""
    app.command("import")(import_)
    app.command()(export)


def import_(
    manifests: Annotated[Path, typer.Argument(help="File of HorizontalPodAutoscalers and ScaledObjects.")],
    source: Annotated[
        str, typer.Option(help="Metric source to ask for Pods and External metrics of a HorizontalPodAutoscaler.")
    ] = "",
    external_target: Annotated[
        float | None, typer.Option(min=0.000001, help="Wanted value of external scalers, which a policy has to name.")
    ] = None,
    file: File = None,
    force: Force = False,
    strict: Strict = False,
) -> None:
    """Make policies of manifests; every field that they cannot keep is named."""
    try:
        found = imported_from(documents_in(text_of(manifests)), source=source, external_target=external_target)
    except OpsuiteError as error:
        refuse(error)
    _deliver(found, file, force=force, strict=strict)


def export(
    policy: Annotated[str, typer.Argument(metavar="POLICY|FILE", help="Name of a policy, or a document of one.")],
    as_: Annotated[str, typer.Option("--as", help="hpa or scaledobject.")] = "hpa",
    file: File = None,
    force: Force = False,
    strict: Strict = False,
) -> None:
    """Write a policy as a manifest of Kubernetes; every field that it cannot keep is named."""
    try:
        found = exported(_document(policy), as_)
    except OpsuiteError as error:
        refuse(error)
    _deliver([found], file, force=force, strict=strict)


def imported_from(
    documents: Sequence[Mapping[str, Any]], *, source: str = "", external_target: float | None = None
) -> list[Imported]:
    """The policies of manifests. Raises: InvalidInput (there is none, or what is made is no policy)."""
    from opsuite_cli.imports.reading import Reading
    from opsuite_cli.scaling_documents import hpa, scaled_object
    from opsuite_cli.scaling_documents.document import policy_in

    found = []
    for document in documents:
        if document.get("kind") == hpa.KIND:
            found.append(hpa.policy_from(Reading(document), source=source))
        elif document.get("kind") == scaled_object.KIND:
            found.append(scaled_object.policy_from(Reading(document), external_target=external_target))
    if not found:
        problem = "the file holds no HorizontalPodAutoscaler and no ScaledObject"
        raise InvalidInput([Violation("kind", problem, "MALFORMED")])
    for one in found:
        policy_in(one.pipeline)
    return found


def exported(document: Mapping[str, Any], kind: str) -> Imported:
    """The manifest of a policy. Raises: InvalidInput (no such kind)."""
    from opsuite_cli.imports.reading import Reading
    from opsuite_cli.scaling_documents.hpa_export import hpa_from
    from opsuite_cli.scaling_documents.scaled_object_export import scaled_object_from

    writers = {"hpa": hpa_from, "scaledobject": scaled_object_from}
    if kind.lower() not in writers:
        raise InvalidInput([Violation("--as", f"must be one of {', '.join(writers)}")])
    return writers[kind.lower()](Reading(document))


def _document(policy: str) -> Mapping[str, Any]:
    """The document of a policy: of a file if there is one of that name, else as the server has it."""
    from opsuite_cli.scaling_documents.document import is_policy, policy_in, written

    if Path(policy).is_file():
        known = [one for one in documents_in(text_of(Path(policy))) if is_policy(one)]
        if len(known) != 1:
            raise InvalidInput([Violation("kind", "the file must hold one ScalingPolicy")])
        return written(policy_in(known[0]))

    from opsuite.scaler.v1.scaler_service_pb2 import GetScalingPolicyRequest

    async def work(client: Any) -> Any:
        return (await client.scaler.GetScalingPolicy(GetScalingPolicyRequest(name=full(policy)))).policy

    return written(talk(work))


def _deliver(found: Sequence[Imported], file: Path | None, *, force: bool, strict: bool) -> None:
    """Print or write what was made, and tell what was not kept."""
    withheld = strict and any(one.refused for one in found)
    if not screen.wants_table():
        screen.write([asdict(one) for one in found])
    elif file is None and not withheld:
        screen.say(_rendered(found).rstrip())
    if file is not None and not withheld:
        write(file, _rendered(found), force=force)
    if screen.wants_table():
        for one in found:
            screen.complain(told(one), headed=bool(one.refused))
    if withheld:
        raise typer.Exit(REFUSED)


def _rendered(found: Sequence[Imported]) -> str:
    import yaml

    texts = []
    for one in found:
        lost = [f"#   {field.path}: {field.reason}" for field in one.refused]
        head = "".join(f"{line}\n" for line in (["# What it does not keep:", *lost] if lost else []))
        texts.append(head + yaml.safe_dump(dict(one.pipeline), sort_keys=False, allow_unicode=True))
    return "---\n".join(texts)
