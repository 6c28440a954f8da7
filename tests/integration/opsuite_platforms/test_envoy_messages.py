"""Our part of the xDS API is a part of the xDS API: every field compared with the package that brings all of it."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from components import missing
from google.protobuf import descriptor_pb2

from opsuite_platforms.traffic import messages

ROOT = Path(__file__).resolve().parents[3]
NOT_IN_THE_PACKAGE = ("envoy.service.metrics.v3.", "io.prometheus.client.")
"""The package leaves these out; that Envoy's figures arrive (test_envoy.py) is what proves them."""

# Runs in an environment of its own: installed beside our packages it would overwrite their files.
FIELDS = """
import importlib, json, pathlib, sys
import google.rpc.status_pb2
from google.protobuf import descriptor_pool
import envoy
wanted = json.load(sys.stdin)
packages = {name.rpartition(".")[0] for name in wanted}
for folder in {package for package in packages if package.startswith("envoy.")}:
    for base in map(pathlib.Path, envoy.__path__):
        for file in sorted((base.parent / folder.replace(".", "/")).glob("*_pb2.py")):
            importlib.import_module(f"{folder}.{file.stem}")
pool, found = descriptor_pool.Default(), {}
def told(message):
    fields = {}
    for field in message.fields:
        kind = field.message_type or field.enum_type
        fields[field.name] = [field.number, field.type, field.is_repeated, kind.full_name if kind else ""]
    found[message.full_name] = fields
    for inner in message.nested_types:
        told(inner)
    for enum in message.enum_types:
        values(enum)
def values(enum):
    found[enum.full_name] = {value.name: value.number for value in enum.values}
for name in wanted:
    try:
        told(pool.FindMessageTypeByName(name))
    except KeyError:
        try:
            values(pool.FindEnumTypeByName(name))
        except KeyError:
            service = pool.FindServiceByName(name)
            found[name] = {m.name: [m.input_type.full_name, m.output_type.full_name] for m in service.methods}
json.dump(found, sys.stdout)
"""


@pytest.fixture(scope="module")
def whole_api() -> dict[str, dict[str, object]]:
    """Fields of the messages of the package, by message; also values of enums and methods of services."""
    if shutil.which("uv") is None:
        missing("uv", "pip install uv")
    command = ["uv", "run", "--quiet", "--isolated", "--no-project", "--with", "xds-protos>=1.85,<1.86", "python"]
    done = subprocess.run(
        [*command, "-c", FIELDS], input=json.dumps(top_level_names()), capture_output=True, text=True, check=False
    )
    if done.returncode:
        missing("xds-protos", f"a package index that has it: {done.stderr.strip()[-300:]}")
    return dict(json.loads(done.stdout))


def files() -> list[descriptor_pb2.FileDescriptorProto]:
    every = descriptor_pb2.FileDescriptorSet.FromString(messages.DESCRIPTORS.read_bytes()).file
    return [file for file in every if file.package != "google.protobuf" and not_left_out(file.package)]


def not_left_out(package: str) -> bool:
    return f"{package}." not in NOT_IN_THE_PACKAGE


def top_level_names() -> list[str]:
    return [
        f"{file.package}.{each.name}"
        for file in files()
        for group in (file.message_type, file.enum_type, file.service)
        for each in group
    ]


def test_every_field_has_the_number_and_the_type_that_it_has_in_the_api(
    whole_api: dict[str, dict[str, object]],
) -> None:
    different = []

    def compare(scope: str, message: descriptor_pb2.DescriptorProto) -> None:
        name = f"{scope}.{message.name}"
        descriptor = messages.pool().FindMessageTypeByName(name)
        for field in descriptor.fields:
            kind = field.message_type or field.enum_type
            ours = [field.number, field.type, field.is_repeated, kind.full_name if kind else ""]
            if whole_api[name].get(field.name) != ours:
                different.append((name, field.name, ours, whole_api[name].get(field.name)))
        for inner in message.nested_type:
            compare(name, inner)

    for file in files():
        for message in file.message_type:
            compare(file.package, message)
    assert different == []


def test_every_value_of_an_enum_and_every_method_is_that_of_the_api(whole_api: dict[str, dict[str, object]]) -> None:
    for file in files():
        for enum in file.enum_type:
            ours = {value.name: value.number for value in enum.value}
            assert ours.items() <= whole_api[f"{file.package}.{enum.name}"].items()
        for message in file.message_type:
            for enum in message.enum_type:
                ours = {value.name: value.number for value in enum.value}
                assert ours.items() <= whole_api[f"{file.package}.{message.name}.{enum.name}"].items()
        for service in file.service:
            theirs = whole_api[f"{file.package}.{service.name}"]
            for method in service.method:
                types = [method.input_type.strip("."), method.output_type.strip(".")]
                assert theirs[method.name] == types


def test_the_descriptors_are_those_of_the_protos_beside_them() -> None:
    script = ROOT / "scripts" / "xds_descriptors.py"
    done = subprocess.run([sys.executable, str(script), "--check"], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
