"""Requests out of path, query and body, and answers into JSON.

JSON is that of protobuf (proto3 JSON mapping): lowerCamelCase is written, and field names as in the proto are read too.
A query names fields by their dotted path; one that is repeated stands as often as it has elements.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any, Final

from google.protobuf import json_format
from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.message import Message

from opsuite_gateway.transcoding.bindings import WHOLE, Binding
from opsuite_kernel.errors import InvalidInput, Violation

DEEPEST: Final = 64
"""Levels of a JSON body."""
_WELL_KNOWN: Final = {
    "google.protobuf.Duration",
    "google.protobuf.Timestamp",
    "google.protobuf.FieldMask",
    "google.protobuf.BoolValue",
    "google.protobuf.Int32Value",
    "google.protobuf.Int64Value",
    "google.protobuf.UInt32Value",
    "google.protobuf.DoubleValue",
    "google.protobuf.StringValue",
}
"""Messages that one text stands for in JSON."""
_WHOLE_NUMBERS: Final = {
    FieldDescriptor.CPPTYPE_INT32,
    FieldDescriptor.CPPTYPE_INT64,
    FieldDescriptor.CPPTYPE_UINT32,
    FieldDescriptor.CPPTYPE_UINT64,
}


def request_of(binding: Binding, path: Mapping[str, str], query: Sequence[tuple[str, str]], body: bytes) -> Message:
    """The request that HTTP asks for. Raises InvalidInput, with everything that is wrong with path and query."""
    document = _body(binding, body)
    violations: list[Violation] = []
    if binding.body == WHOLE:
        violations += [Violation(name, "goes into the body", "UNKNOWN_FIELD") for name, _ in query]
    else:
        for name, text in query:
            if name.split(".")[0] == binding.body:
                violations.append(Violation(name, "goes into the body", "UNKNOWN_FIELD"))
            else:
                _put(document, binding.method.input_type, name, text, violations)
    for name, text in path.items():
        _put(document, binding.method.input_type, name, text, violations, replaces=True)
    if violations:
        raise InvalidInput(violations)
    return parsed(binding.request, document)


def parsed(kind: type[Message], document: dict[str, Any]) -> Message:
    """A message out of JSON. Raises InvalidInput (MALFORMED)."""
    request = kind()
    try:
        json_format.ParseDict(document, request, max_recursion_depth=DEEPEST)
    except (json_format.ParseError, ValueError, TypeError, RecursionError) as error:
        raise InvalidInput([Violation("", f"{kind.DESCRIPTOR.name}: {error}"[:500], "MALFORMED")]) from error
    return request


def json_of(message: Message) -> bytes:
    """A message as JSON, UTF-8."""
    return json_format.MessageToJson(message, indent=None, ensure_ascii=False).encode()


def _body(binding: Binding, body: bytes) -> dict[str, Any]:
    """The JSON document of the request, as far as the body gives it. Raises InvalidInput (MALFORMED)."""
    if not binding.body:
        if body.strip():
            raise InvalidInput([Violation("", "this method takes no body", "MALFORMED")])
        return {}
    if not body.strip():
        return {}
    try:
        document = json.loads(body, parse_constant=_refused)
    except (ValueError, RecursionError) as error:
        raise InvalidInput([Violation("", f"the body is not JSON: {error}", "MALFORMED")]) from error
    if binding.body != WHOLE:
        return {binding.body: document}
    if not isinstance(document, dict):
        raise InvalidInput([Violation("", "the body is no JSON object", "MALFORMED")])
    return document


def _put(
    document: dict[str, Any],
    message: Descriptor,
    path: str,
    text: str,
    violations: list[Violation],
    *,
    replaces: bool = False,
) -> None:
    """Set the field at a dotted path to what a text says."""
    *parents, last = path.split(".")
    for name in parents:
        field = _field(message, name)
        if field is None or field.message_type is None or field.is_repeated:
            violations.append(_unknown(path))
            return
        message = field.message_type
        key = next((one for one in (field.name, field.json_name) if one in document), field.json_name)
        document = document.setdefault(key, {})
        if not isinstance(document, dict):
            violations.append(Violation(path, "is given twice", "MALFORMED"))
            return
    field = _field(message, last)
    if field is None or not _is_text(field):
        violations.append(_unknown(path))
        return
    for alias in (field.name, field.json_name):
        if replaces:
            document.pop(alias, None)
    try:
        value = _value(field, text)
    except ValueError:
        violations.append(Violation(path, f"{text[:100]!r} does not fit the field", "MALFORMED"))
        return
    if field.is_repeated:
        document.setdefault(field.json_name, []).append(value)
    elif field.json_name in document:
        violations.append(Violation(path, "is given twice", "MALFORMED"))
    else:
        document[field.json_name] = value


def _field(message: Descriptor, name: str) -> FieldDescriptor | None:
    return message.fields_by_name.get(name) or message.fields_by_camelcase_name.get(name)


def _unknown(path: str) -> Violation:
    return Violation(path, "is no field that a path or query can set", "UNKNOWN_FIELD")


def _is_text(field: FieldDescriptor) -> bool:
    return field.message_type is None or field.message_type.full_name in _WELL_KNOWN


def _value(field: FieldDescriptor, text: str) -> Any:
    """What JSON has for a text of a query. Raises ValueError."""
    if field.cpp_type == FieldDescriptor.CPPTYPE_BOOL:
        return {"true": True, "false": False, "": True}[text] if text in {"true", "false", ""} else _refused(text)
    if field.enum_type is not None:
        known = field.enum_type.values_by_name
        return text if text in known else int(text)
    if field.cpp_type in _WHOLE_NUMBERS:
        return int(text)
    return text


def _refused(text: str) -> Any:
    raise ValueError(text)
