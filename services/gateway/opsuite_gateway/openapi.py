"""The contracts as an OpenAPI 3.1 document, made from the same table that requests are served by.

`scripts/openapi.py` writes it to `openapi.json`, with the comments of the protos, which the generated code does not
hold; `make check` sees that it is up to date.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final

from google.protobuf.descriptor import Descriptor, EnumDescriptor, FieldDescriptor

from opsuite.common.v1 import options_pb2
from opsuite_gateway.transcoding.bindings import WHOLE, Binding, field_at
from opsuite_gateway.transcoding.paths import VARIABLE, parameters

Schema = dict[str, Any]
Comments = Mapping[str, str]
"""Comment of a service, method, message, field, enum or value, by its full name."""

_RULE: Final[Any] = options_pb2.rule
_JSON: Final[Mapping[str, Schema]] = {
    "google.protobuf.Duration": {"type": "string", "pattern": r"^-?[0-9]+(\.[0-9]{1,9})?s$", "examples": ["1.5s"]},
    "google.protobuf.Timestamp": {"type": "string", "format": "date-time"},
    "google.protobuf.FieldMask": {"type": "string"},
    "google.protobuf.Struct": {"type": "object"},
    "google.protobuf.Value": {},
    "google.protobuf.ListValue": {"type": "array"},
    "google.protobuf.Any": {"type": "object"},
    "google.protobuf.Empty": {"type": "object"},
    "google.protobuf.BoolValue": {"type": ["boolean", "null"]},
    "google.protobuf.StringValue": {"type": ["string", "null"]},
    "google.protobuf.DoubleValue": {"type": ["number", "null"]},
    "google.protobuf.Int32Value": {"type": ["integer", "null"]},
    "google.protobuf.Int64Value": {"type": ["string", "null"], "format": "int64"},
    "google.protobuf.UInt32Value": {"type": ["integer", "null"]},
}
"""Messages with a JSON form of their own (proto3 JSON mapping)."""
_SCALARS: Final[Mapping[int, Schema]] = {
    FieldDescriptor.CPPTYPE_INT32: {"type": "integer", "format": "int32"},
    FieldDescriptor.CPPTYPE_UINT32: {"type": "integer", "minimum": 0},
    FieldDescriptor.CPPTYPE_INT64: {"type": "string", "format": "int64"},
    FieldDescriptor.CPPTYPE_UINT64: {"type": "string", "format": "uint64"},
    FieldDescriptor.CPPTYPE_DOUBLE: {"type": "number", "format": "double"},
    FieldDescriptor.CPPTYPE_FLOAT: {"type": "number", "format": "float"},
    FieldDescriptor.CPPTYPE_BOOL: {"type": "boolean"},
    FieldDescriptor.CPPTYPE_STRING: {"type": "string"},
}
_PROBLEM: Final[Schema] = {
    "type": "object",
    "description": "What went wrong (RFC 9457). `reason` is stable, for programs.",
    "required": ["type", "title", "status"],
    "properties": {
        "type": {"type": "string"},
        "title": {"type": "string"},
        "status": {"type": "integer"},
        "detail": {"type": "string"},
        "instance": {"type": "string"},
        "reason": {"type": "string"},
        "metadata": {"type": "object", "additionalProperties": {"type": "string"}},
        "violations": {
            "type": "array",
            "items": {
                "type": "object",
                "properties": {
                    "field": {"type": "string"},
                    "description": {"type": "string"},
                    "reason": {"type": "string"},
                },
            },
        },
        "retryAfterSeconds": {"type": "number"},
    },
}


def document(bindings: Iterable[Binding], comments: Comments, version: str) -> Schema:
    """The whole document; equal input gives equal output."""
    known = list(bindings)
    schemas: dict[str, Schema] = {"Problem": _PROBLEM}
    paths: dict[str, Schema] = {}
    for binding in known:
        operations = paths.setdefault(binding.template.openapi, {})
        operations[binding.verb.lower()] = _operation(binding, comments)
    for message in _reachable(known):
        schemas[_name(message)] = _object(message, comments)
    services = {one.method.containing_service.full_name: one.method.containing_service.name for one in known}
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "opsuite",
            "version": version,
            "summary": "Operations for a fleet: deployments, scaling and healing over HTTP.",
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "security": [{"token": []}, {"session": []}],
        "tags": [{"name": name, "description": comments.get(full, "")} for full, name in sorted(services.items())],
        "paths": dict(sorted(paths.items())),
        "components": {
            "schemas": dict(sorted(schemas.items())),
            "securitySchemes": {
                "token": {"type": "http", "scheme": "bearer"},
                "session": {"type": "apiKey", "in": "cookie", "name": "opsuite_session"},
            },
        },
    }


def _operation(binding: Binding, comments: Comments) -> Schema:
    method = binding.method
    text = comments.get(method.full_name, "")
    answer: Schema = {"$ref": _ref(method.output_type)}
    content = {"application/json": {"schema": answer}}
    if binding.is_stream:
        content = {"text/event-stream": {"schema": {"type": "string"}}, "application/x-ndjson": {"schema": answer}}
    operation: Schema = {
        "operationId": f"{method.containing_service.name}_{method.name}",
        "tags": [method.containing_service.name],
        "summary": text.split(". ")[0].rstrip("."),
        "description": text,
        "parameters": [*_path_parameters(binding), *_query_parameters(binding, comments)],
        "responses": {
            "200": {"description": "The answer.", "content": content},
            "default": {
                "description": "What went wrong.",
                "content": {"application/problem+json": {"schema": {"$ref": "#/components/schemas/Problem"}}},
            },
        },
    }
    if binding.body:
        body: Schema = {"$ref": _ref(method.input_type)}
        if binding.body != WHOLE:
            body = _field(field_at(method.input_type, binding.body), {})
        operation["requestBody"] = {"required": True, "content": {"application/json": {"schema": body}}}
    return operation


def _path_parameters(binding: Binding) -> Iterator[Schema]:
    for variable in VARIABLE.finditer(binding.template.text):
        for name in parameters(variable["inner"]) if variable["inner"] else [variable["field"]]:
            schema = {"type": "string", "minLength": 1, "pattern": "^[^/:]+$"}
            yield {"name": name, "in": "path", "required": True, "schema": schema}


def _query_parameters(binding: Binding, comments: Comments) -> Iterator[Schema]:
    if binding.body == WHOLE:
        return
    taken = {name.split(".")[0] for name in (*binding.template.fields, binding.body)}
    for field in binding.method.input_type.fields:
        is_text = field.message_type is None or field.message_type.full_name in _JSON
        if field.name in taken or not is_text:
            continue
        yield {
            "name": field.json_name,
            "in": "query",
            "required": bool(_rule(field).required),
            "description": comments.get(field.full_name, ""),
            "schema": _field(field, {}),
        }


def _object(message: Descriptor, comments: Comments) -> Schema:
    required = [field.json_name for field in message.fields if _rule(field).required]
    schema: Schema = {
        "type": "object",
        "description": comments.get(message.full_name, ""),
        "properties": {field.json_name: _field(field, comments) for field in message.fields},
        "additionalProperties": False,
    }
    return schema | ({"required": required} if required else {})


def _field(field: FieldDescriptor, comments: Comments) -> Schema:
    """The schema of a field, with what its rule says."""
    rule = _rule(field)
    entry = field.message_type if field.message_type and field.message_type.GetOptions().map_entry else None
    if entry is not None:
        value = entry.fields_by_name["value"]
        schema: Schema = {"type": "object", "additionalProperties": _one(value) | _constraints(rule.items)}
        schema |= {"maxProperties": rule.max_items} if rule.HasField("max_items") else {}
    elif field.is_repeated:
        schema = {"type": "array", "items": _one(field) | _constraints(rule.items)}
        schema |= {"minItems": rule.min_items} if rule.HasField("min_items") else {}
        schema |= {"maxItems": rule.max_items} if rule.HasField("max_items") else {}
    else:
        schema = _one(field) | _constraints(rule)
    text = comments.get(field.full_name, "")
    return schema | ({"description": text} if text else {})


def _one(field: FieldDescriptor) -> Schema:
    """The schema of one value of a field."""
    if field.type == FieldDescriptor.TYPE_BYTES:
        return {"type": "string", "contentEncoding": "base64"}
    if field.enum_type is not None:
        return _enum(field.enum_type)
    if field.message_type is None:
        return dict(_SCALARS[field.cpp_type])
    known = _JSON.get(field.message_type.full_name)
    return {"$ref": _ref(field.message_type)} if known is None else dict(known)


def _enum(enum: EnumDescriptor) -> Schema:
    return {"type": "string", "enum": [value.name for value in enum.values]}


def _constraints(rule: Any) -> Schema:
    """What a rule says in JSON Schema's words; predicates that have none are judged by the service alone."""
    found: Schema = {}
    for ours, theirs in (("min_len", "minLength"), ("max_len", "maxLength"), ("gte", "minimum"), ("lte", "maximum")):
        if rule.HasField(ours):
            found[theirs] = getattr(rule, ours)
    if rule.uuid:
        found["format"] = "uuid"
    if rule.pattern:
        found["pattern"] = f"^({rule.pattern})$"
    if values := getattr(rule, "in"):
        found["enum"] = ["", *values]
    return found


def _reachable(bindings: Iterable[Binding]) -> list[Descriptor]:
    """Every message that requests and answers are made of, but those with a JSON form of their own."""
    found: dict[str, Descriptor] = {}
    waiting = [kind for one in bindings for kind in (one.method.input_type, one.method.output_type)]
    while waiting:
        message = waiting.pop()
        if message.full_name in found or message.full_name in _JSON:
            continue
        if not message.GetOptions().map_entry:
            found[message.full_name] = message
        waiting += [field.message_type for field in message.fields if field.message_type is not None]
    return list(found.values())


def _rule(field: FieldDescriptor) -> Any:
    return field.GetOptions().Extensions[_RULE]


def _name(message: Descriptor) -> str:
    """The full name without what they all begin with: "deployer.v1.Deployment"."""
    name: str = message.full_name.removeprefix("opsuite.")
    return name


def _ref(message: Descriptor) -> str:
    return f"#/components/schemas/{_name(message)}"
