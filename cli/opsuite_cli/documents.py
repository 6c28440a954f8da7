"""Pipelines as YAML documents: read, checked with every mistake by its path, turned into the contract's message.

    apiVersion: opsuite.dev/v1
    kind: Pipeline
    metadata: {name: hello-web}
    spec: the JSON form of opsuite.deployer.v1.Pipeline without its name

Names of fields may be written as in the contract (`success_threshold`) or in JSON's way (`successThreshold`), values of
enums whole (`ON_ROLLBACK_SKIP`) or by their last part (`skip`).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from difflib import get_close_matches
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from opsuite_kernel.errors import InvalidInput, NotFound, Violation

if TYPE_CHECKING:
    from google.protobuf.descriptor import Descriptor, EnumDescriptor, FieldDescriptor

    from opsuite.deployer.v1.pipeline_pb2 import Pipeline

API_VERSION: Final = "opsuite.dev/v1"
KIND: Final = "Pipeline"
OUTPUT_ONLY: Final = frozenset({"name", "revision", "etag", "create_time"})
"""Fields of the message that are no part of a spec."""
_DURATION: Final = re.compile(r"-?\d+(?:\.\d{1,9})?s").fullmatch
_TOP: Final = ("apiVersion", "kind", "metadata", "spec")


def read(path: Path) -> Pipeline:
    """The pipeline in a file. Raises NotFound; InvalidInput with every mistake, fields as they stand in the file."""
    try:
        text = path.read_text()
    except OSError as error:
        raise NotFound("document", str(path)) from error
    return parse(text)


def parse(text: str) -> Pipeline:
    """The pipeline in a text. Raises InvalidInput with every mistake."""
    from opsuite.deployer.v1.pipeline_pb2 import Pipeline

    document = _yaml(text)
    found = _envelope(document)
    reader = _Reader()
    form: Any = {}
    if isinstance(document.get("spec"), Mapping):
        form = reader.message(document["spec"], Pipeline.DESCRIPTOR, "spec", without=OUTPUT_ONLY)
    if found + reader.found:
        raise InvalidInput(found + reader.found, reason="DOCUMENT_INVALID")
    pipeline = _message(form | {"name": f"pipelines/{document['metadata']['name']}"})
    if wrong := _shape(pipeline):
        raise InvalidInput(wrong, reason="DOCUMENT_INVALID")
    return pipeline


def in_document(violation: Violation) -> Violation:
    """A violation that the server found, by its path in the document."""
    field = violation.field.removeprefix("pipeline.")
    place = "metadata.name" if field == "name" else f"spec.{field}" if field else "spec"
    return Violation(place, violation.description, violation.reason)


def written(pipeline: Pipeline) -> dict[str, Any]:
    """The document of a pipeline, as plain data that `parse` reads back."""
    from google.protobuf.json_format import MessageToDict

    form = MessageToDict(pipeline, preserving_proto_field_name=True)
    spec = {key: value for key, value in form.items() if key not in OUTPUT_ONLY}
    name = pipeline.name.removeprefix("pipelines/")
    return {"apiVersion": API_VERSION, "kind": KIND, "metadata": {"name": name}, "spec": spec}


# ---- around the spec ------------------------------------------------------------------------------------------------


def _yaml(text: str) -> Mapping[str, Any]:
    import yaml

    try:
        document = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise InvalidInput([Violation("", f"is not YAML: {' '.join(str(error).split())}", "MALFORMED")]) from error
    if not isinstance(document, Mapping):
        raise InvalidInput([Violation("", f"is not a document with {', '.join(_TOP)}", "MALFORMED")])
    return document


def _envelope(document: Mapping[str, Any]) -> list[Violation]:
    found = [_unknown(str(key), _TOP, "") for key in document if key not in _TOP]
    for field, wanted in (("apiVersion", API_VERSION), ("kind", KIND)):
        if document.get(field) != wanted:
            found.append(Violation(field, f"must be {wanted}"))
    metadata = document.get("metadata")
    if not isinstance(metadata, Mapping) or not isinstance(metadata.get("name"), str):
        found.append(Violation("metadata.name", "is the name of the pipeline and must be given, as text", "REQUIRED"))
    else:
        found += [_unknown(str(key), ["name"], "metadata") for key in metadata if key != "name"]
    if not isinstance(document.get("spec"), Mapping):
        found.append(Violation("spec", "must be given, with environments and stages", "REQUIRED"))
    return found


def _unknown(key: str, known: Any, path: str) -> Violation:
    close = get_close_matches(key, list(known), n=1)
    meant = f"; did you mean {close[0]}?" if close else f"; known are {', '.join(known)}"
    return Violation(_below(path, key), f"is no field here{meant}", "UNKNOWN_FIELD")


def _below(path: str, key: str) -> str:
    return f"{path}.{key}" if path else key


# ---- the spec -------------------------------------------------------------------------------------------------------


class _Reader:
    """Walks plain data along the contract, collects mistakes, and returns the JSON form that protobuf reads."""

    def __init__(self) -> None:
        self.found: list[Violation] = []

    def message(
        self, data: Any, descriptor: Descriptor, path: str, without: frozenset[str] = frozenset()
    ) -> dict[str, Any]:
        if not isinstance(data, Mapping):
            self._wrong(path, "must have fields")
            return {}
        fields = {field.name: field for field in descriptor.fields if field.name not in without}
        by_json = {field.json_name: field for field in fields.values()}
        form = {}
        for key, value in data.items():
            field = fields.get(key) or by_json.get(key)
            if field is None:
                self.found.append(_unknown(str(key), fields, path))
            elif value is not None:
                form[field.name] = self._field(value, field, _below(path, str(key)))
        return form

    def _field(self, value: Any, field: FieldDescriptor, path: str) -> Any:
        if field.message_type is not None and field.message_type.GetOptions().map_entry:
            return self._map(value, field, path)
        if not field.is_repeated:
            return self._value(value, field, path)
        if not isinstance(value, list):
            return self._wrong(path, "must be a list")
        return [self._value(item, field, f"{path}[{index}]") for index, item in enumerate(value)]

    def _map(self, value: Any, field: FieldDescriptor, path: str) -> Any:
        if not isinstance(value, Mapping):
            return self._wrong(path, "must have fields")
        assert field.message_type is not None  # noqa: S101  # a map is a message of key and value
        of = field.message_type.fields_by_name["value"]
        return {str(key): self._value(item, of, f'{path}["{key}"]') for key, item in value.items()}

    def _value(self, value: Any, field: FieldDescriptor, path: str) -> Any:
        if field.message_type is not None:
            if field.message_type.full_name == "google.protobuf.Duration":
                return self._duration(value, path)
            return self.message(value, field.message_type, path)
        if field.enum_type is not None:
            return self._enum(value, field.enum_type, path)
        if field.type == field.TYPE_STRING:
            return value if isinstance(value, str) else self._wrong(path, f"must be text: write {str(value)!r}")
        if field.type == field.TYPE_BOOL:
            return value if isinstance(value, bool) else self._wrong(path, "must be true or false")
        if isinstance(value, bool) or not isinstance(value, (int, float)):
            return self._wrong(path, "must be a number")
        return value

    def _duration(self, value: Any, path: str) -> Any:
        if isinstance(value, str) and _DURATION(value):
            return value
        return self._wrong(path, 'must be a duration in seconds such as "30s" or "0.5s"')

    def _enum(self, value: Any, enum: EnumDescriptor, path: str) -> Any:
        names = [one.name for one in enum.values]
        prefix = names[0].removesuffix("UNSPECIFIED")
        whole = str(value).upper()
        name = whole if whole in names else f"{prefix}{whole}"
        if name in names:
            return name
        choices = ", ".join(one.removeprefix(prefix).lower() for one in names[1:])
        return self._wrong(path, f"must be one of {choices}")

    def _wrong(self, path: str, why: str) -> None:
        self.found.append(Violation(path, why))


def _message(form: Mapping[str, Any]) -> Pipeline:
    from google.protobuf.json_format import ParseDict, ParseError

    from opsuite.deployer.v1.pipeline_pb2 import Pipeline

    try:
        return ParseDict(dict(form), Pipeline())
    except ParseError as error:
        raise InvalidInput([Violation("spec", str(error))], reason="DOCUMENT_INVALID") from error


def _shape(pipeline: Pipeline) -> list[Violation]:
    from opsuite.deployer.v1.pipeline_pb2 import Pipeline
    from opsuite_rpc.shapes import check_for

    return [in_document(violation) for violation in check_for(Pipeline)(pipeline)]
