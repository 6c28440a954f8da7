"""Manifests from files: documents of YAML or JSON, directories, and kustomizations by way of `kubectl`."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Final

import yaml

from opsuite_kernel.errors import InvalidInput, Unavailable, Violation
from opsuite_platforms.manifests_port import Document

KUSTOMIZATIONS: Final = ("kustomization.yaml", "kustomization.yml", "Kustomization")
SUFFIXES: Final = frozenset({".yaml", ".yml", ".json"})
BUILD_SECONDS: Final = 60


async def load(path: Path) -> Sequence[Document]:
    """The documents of a file or directory, in order. Raises: InvalidInput, Unavailable (no `kubectl`)."""
    kind = await asyncio.to_thread(kind_of, path)
    if kind == "kustomization":
        return parse(await kustomize(path), path.name)
    return await asyncio.to_thread(read_all, path)


def kind_of(path: Path) -> str:
    """`file`, `directory` or `kustomization`. Raises: InvalidInput."""
    if path.is_file():
        return "file"
    if not path.is_dir():
        raise _invalid(f"{path}: there is no such file or directory")
    return "kustomization" if any((path / name).is_file() for name in KUSTOMIZATIONS) else "directory"


def read_all(path: Path) -> Sequence[Document]:
    """The documents of a file, or of all files of a directory by name."""
    files = [path] if path.is_file() else sorted(each for each in path.iterdir() if each.suffix in SUFFIXES)
    try:
        return [document for each in files for document in parse(each.read_text(), each.name)]
    except (OSError, UnicodeDecodeError) as fault:
        raise _invalid(f"{path}: {fault}") from fault


async def kustomize(directory: Path) -> str:
    """What `kubectl kustomize` makes of the directory."""
    if (program := shutil.which("kubectl")) is None:
        message = f"{directory.name} is a kustomization: that takes kubectl, which is not installed beside the service"
        raise Unavailable(message, reason="KUBECTL_MISSING")
    environment = {name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ}
    process = await asyncio.create_subprocess_exec(
        program,
        "kustomize",
        str(directory),
        env=environment,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        async with asyncio.timeout(BUILD_SECONDS):
            output, errors = await process.communicate()
    except TimeoutError:
        raise _invalid(f"{directory.name}: kubectl kustomize takes more than {BUILD_SECONDS} s") from None
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    if process.returncode:
        raise _invalid(f"{directory.name}: {errors.decode(errors='replace').strip()}")
    return output.decode()


def parse(text: str, source: str) -> Sequence[Document]:
    """The documents of one text, the items of lists among them. Raises: InvalidInput, with every bad one."""
    try:
        documents = [each for found in yaml.load_all(text, Loader) for each in items_of(found)]
    except yaml.YAMLError as fault:
        raise _invalid(f"{source}: {fault}") from fault
    wrong = [
        Violation("manifest_path", f"{source}: document {number}: {problem}")
        for number, document in enumerate(documents, 1)
        if (problem := problem_of(document))
    ]
    if wrong:
        raise InvalidInput(wrong, reason="NOT_A_MANIFEST")
    return documents


def items_of(document: Any) -> Iterator[Any]:
    """The document itself, or what a `List` holds; nothing for an empty one."""
    if isinstance(document, dict) and document.get("kind") == "List" and isinstance(document.get("items"), list):
        for item in document["items"]:
            yield from items_of(item)
    elif document is not None:
        yield document


def problem_of(document: Any) -> str:
    """Why it is not a manifest; empty if it is one."""
    if not isinstance(document, dict):
        return "not a mapping"
    missing = [name for name in ("apiVersion", "kind") if not isinstance(document.get(name), str)]
    metadata = document.get("metadata")
    if not isinstance(metadata, dict) or not isinstance(metadata.get("name"), str):
        missing.append("metadata.name")
    if missing:
        return f"no {', '.join(missing)}"
    try:
        json.dumps(document)
    except TypeError as fault:
        return f"holds what JSON cannot: {fault}"
    return ""


class Loader(yaml.SafeLoader):
    """Safe, and a date stays the text that it is, as for Kubernetes."""


Loader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in resolvers if tag != "tag:yaml.org,2002:timestamp"]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}


def _invalid(message: str) -> InvalidInput:
    return InvalidInput([Violation("manifest_path", message)], reason="NOT_A_MANIFEST")
