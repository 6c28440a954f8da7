"""Resources of every kind as YAML documents: read with every mistake by its path, and written back.

    apiVersion: opsuite.dev/v1
    kind: HealthCheck
    metadata: {name: home-page}
    spec: the JSON form of the message without its name

Names of fields may be written as in the contract (`success_threshold`) or in JSON's way (`successThreshold`), values of
enums whole (`ON_ROLLBACK_SKIP`) or by their last part (`skip`).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from difflib import get_close_matches
from importlib import import_module
from typing import TYPE_CHECKING, Any, Final, cast

from opsuite_kernel.errors import InvalidInput, Violation

if TYPE_CHECKING:
    from google.protobuf.descriptor import Descriptor, EnumDescriptor, FieldDescriptor
    from google.protobuf.message import Message

API_VERSION: Final = "opsuite.dev/v1"
_TOP: Final = ("apiVersion", "kind", "metadata", "spec")
_DURATION: Final = re.compile(r"-?\d+(?:\.\d{1,9})?s").fullmatch


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind of resource that documents describe."""

    name: str
    """"HealthCheck": what stands behind `kind`."""
    module: str
    """Where the message is: "opsuite.healer.v1.check_pb2"."""
    collection: str
    """What resource names begin with: "healthChecks/"."""
    field: str
    """The field of requests that holds it: "check"."""
    noun: str
    """What people call it."""
    output_only: frozenset[str] = frozenset({"name", "etag", "create_time", "update_time", "created_by"})
    """Fields that are no part of a spec."""
    type_name: str = ""
    """Of the message; empty: the same as `name`."""

    @property
    def message(self) -> type[Message]:
        """The message of the contract; loads the contract."""
        found: type[Message] = getattr(import_module(self.module), self.type_name or self.name)
        return found

    def is_in(self, document: Mapping[str, Any]) -> bool:
        """Whether a document is of this kind."""
        return document.get("kind") == self.name

    def read(self, document: Mapping[str, Any]) -> Any:
        """The message that a document describes. Raises InvalidInput with every mistake, by its path."""
        found = _envelope(document, self)
        reader = _Reader()
        form: Any = {}
        if isinstance(document.get("spec"), Mapping):
            descriptor = cast("Descriptor", self.message.DESCRIPTOR)
            form = reader.message(document["spec"], descriptor, "spec", without=self.output_only)
        if found + reader.found:
            raise InvalidInput(found + reader.found, reason="DOCUMENT_INVALID")
        has_name = "name" in self.message.DESCRIPTOR.fields_by_name  # there is only one of a kind that has none
        return self._checked(form | ({"name": self.full(document["metadata"]["name"])} if has_name else {}))

    def written(self, message: Message) -> dict[str, Any]:
        """The document of a message, as plain data that `read` reads back."""
        from google.protobuf.json_format import MessageToDict

        form = MessageToDict(message, preserving_proto_field_name=True)
        spec = {key: value for key, value in form.items() if key not in self.output_only}
        name = form["name"].removeprefix(self.collection)
        return {"apiVersion": API_VERSION, "kind": self.name, "metadata": {"name": name}, "spec": spec}

    def in_document(self, violation: Violation) -> Violation:
        """A violation that the server found, by its path in the document."""
        field = violation.field.removeprefix(f"{self.field}.")
        place = "metadata.name" if field == "name" else f"spec.{field}" if field else "spec"
        return Violation(place, violation.description, violation.reason)

    def full(self, typed: str) -> str:
        """The resource name of what people type, which may be its last part alone."""
        return typed if typed.startswith(self.collection) else f"{self.collection}{typed}"

    def _checked(self, form: Mapping[str, Any]) -> Message:
        from google.protobuf.json_format import ParseDict, ParseError

        from opsuite_rpc.shapes import check_for

        try:
            message = ParseDict(dict(form), self.message())
        except ParseError as error:
            raise InvalidInput([Violation("spec", str(error))], reason="DOCUMENT_INVALID") from error
        if wrong := [self.in_document(one) for one in check_for(self.message)(message)]:
            raise InvalidInput(wrong, reason="DOCUMENT_INVALID")
        return message


def loaded(text: str) -> Mapping[str, Any]:
    """The one document of a text. Raises InvalidInput."""
    import yaml

    try:
        document = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise InvalidInput([Violation("", f"is not YAML: {' '.join(str(error).split())}", "MALFORMED")]) from error
    if not isinstance(document, Mapping):
        raise InvalidInput([Violation("", f"is not a document with {', '.join(_TOP)}", "MALFORMED")])
    return document


# ---- around the spec ------------------------------------------------------------------------------------------------


def _envelope(document: Mapping[str, Any], kind: Kind) -> list[Violation]:
    found = [_unknown(str(key), _TOP, "") for key in document if key not in _TOP]
    for field, wanted in (("apiVersion", API_VERSION), ("kind", kind.name)):
        if document.get(field) != wanted:
            found.append(Violation(field, f"must be {wanted}"))
    metadata = document.get("metadata")
    if not isinstance(metadata, Mapping) or not isinstance(metadata.get("name"), str):
        problem = f"is the name of the {kind.noun} and must be given, as text"
        found.append(Violation("metadata.name", problem, "REQUIRED"))
    else:
        found += [_unknown(str(key), ["name"], "metadata") for key in metadata if key != "name"]
    if not isinstance(document.get("spec"), Mapping):
        found.append(Violation("spec", f"must be given: what the {kind.noun} is", "REQUIRED"))
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
            return self._well_known(value, field.message_type, path)
        if field.enum_type is not None:
            return self._enum(value, field.enum_type, path)
        if field.type == field.TYPE_STRING:
            return value if isinstance(value, str) else self._wrong(path, f"must be text: write {str(value)!r}")
        if field.type == field.TYPE_BOOL:
            return value if isinstance(value, bool) else self._wrong(path, "must be true or false")
        if isinstance(value, bool) or not isinstance(value, (int, float)):
            return self._wrong(path, "must be a number")
        return value

    def _well_known(self, value: Any, of: Descriptor, path: str) -> Any:
        match of.full_name:
            case "google.protobuf.Duration":
                return self._duration(value, path)
            case "google.protobuf.Timestamp":
                # YAML reads what looks like a time as one.
                return value.isoformat() if isinstance(value, datetime) else value
            case name if name.startswith("google.protobuf."):
                return value
        return self.message(value, of, path)

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
