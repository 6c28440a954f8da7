"""Writes the gateway's openapi.json from the contracts; `--check` only sees whether it is current."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from google.protobuf.descriptor_pb2 import DescriptorProto, EnumDescriptorProto, FileDescriptorProto, FileDescriptorSet

from opsuite_gateway.openapi import document
from opsuite_gateway.transcoding.bindings import bindings_of, contracts
from opsuite_gateway.upstreams import SERVICES

Place = tuple[int, ...]
"""Where something stands in a file: see SourceCodeInfo in descriptor.proto."""

TOP: Final = Path(__file__).resolve().parents[1]
PAGE: Final = TOP / "services" / "gateway" / "opsuite_gateway" / "openapi.json"
VERSION: Final = "v1"
MESSAGES, ENUMS, SERVICES_AT, FIELDS, VALUES, METHODS, INNER, INNER_ENUMS = 4, 5, 6, 2, 2, 2, 3, 4
"""Numbers of fields in descriptor.proto, which paths of source locations are made of."""


def main() -> None:
    """Write the page, or complain that it is old."""
    comments = {name: text for file in _image().file for name, text in _comments(file)}
    bindings = [one for name in SERVICES for one in bindings_of(contracts(f"opsuite.{name}.v1"))]
    page = json.dumps(document(bindings, comments, VERSION), indent=1, ensure_ascii=False) + "\n"
    if "--check" not in sys.argv:
        PAGE.write_text(page)
    elif not PAGE.exists() or PAGE.read_text() != page:
        sys.exit(f"{PAGE.relative_to(TOP)} is not what the contracts say; run: make protos")


def _image() -> FileDescriptorSet:
    """The contracts with their comments."""
    buf = Path(sys.executable).parent / "buf"
    built = subprocess.run([buf, "build", "protos", "-o", "-#format=binpb"], cwd=TOP, check=True, capture_output=True)
    return FileDescriptorSet.FromString(built.stdout)


def _comments(file: FileDescriptorProto) -> Iterator[tuple[str, str]]:
    """Full names and their comments."""
    names = dict(_names(file))
    for location in file.source_code_info.location:
        name = names.get(tuple(location.path))
        if name and location.leading_comments:
            yield name, " ".join(location.leading_comments.split())


def _names(file: FileDescriptorProto) -> Iterator[tuple[Place, str]]:
    for number, service in enumerate(file.service):
        name = f"{file.package}.{service.name}"
        yield (SERVICES_AT, number), name
        for at, method in enumerate(service.method):
            yield (SERVICES_AT, number, METHODS, at), f"{name}.{method.name}"
    for number, message in enumerate(file.message_type):
        yield from _message_names((MESSAGES, number), file.package, message)
    for number, enum in enumerate(file.enum_type):
        yield from _enum_names((ENUMS, number), file.package, enum)


def _message_names(path: Place, scope: str, message: DescriptorProto) -> Iterator[tuple[Place, str]]:
    name = f"{scope}.{message.name}"
    yield path, name
    for number, field in enumerate(message.field):
        yield (*path, FIELDS, number), f"{name}.{field.name}"
    for number, inner in enumerate(message.nested_type):
        yield from _message_names((*path, INNER, number), name, inner)
    for number, enum in enumerate(message.enum_type):
        yield from _enum_names((*path, INNER_ENUMS, number), name, enum)


def _enum_names(path: Place, scope: str, enum: EnumDescriptorProto) -> Iterator[tuple[Place, str]]:
    yield path, f"{scope}.{enum.name}"
    for number, value in enumerate(enum.value):
        yield (*path, VALUES, number), f"{scope}.{value.name}"


if __name__ == "__main__":
    main()
