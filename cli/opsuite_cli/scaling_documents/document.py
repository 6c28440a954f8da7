"""Scaling policies as YAML documents, read into the contract's message and written from it.

    apiVersion: opsuite.dev/v1
    kind: ScalingPolicy
    metadata: {name: checkout}
    spec: the JSON form of opsuite.scaler.v1.ScalingPolicy without its name

Names of fields may be written as in the contract (`max_replicas`) or in JSON's way (`maxReplicas`), values of enums
whole (`TARGET_KIND_WORKLOAD`) or by their last part (`workload`).
"""

from __future__ import annotations

from collections.abc import Mapping
from difflib import get_close_matches
from typing import TYPE_CHECKING, Any, Final

from opsuite_cli.scaling_documents.hpa import API, POLICY
from opsuite_kernel.errors import InvalidInput, Violation

if TYPE_CHECKING:
    from google.protobuf.descriptor import Descriptor, FieldDescriptor

    from opsuite.scaler.v1.policy_pb2 import ScalingPolicy

OUTPUT_ONLY: Final = frozenset({"name", "etag", "create_time", "update_time", "created_by"})
"""Fields of the message that are no part of a spec."""
PREFIX: Final = "scalingPolicies/"


def is_policy(document: Mapping[str, Any]) -> bool:
    """Whether a document is one of these."""
    return document.get("kind") == POLICY


def policy_in(document: Mapping[str, Any]) -> ScalingPolicy:
    """The policy in a document. Raises InvalidInput with every mistake, by its path in the document."""
    from google.protobuf.json_format import ParseDict, ParseError

    from opsuite.scaler.v1.policy_pb2 import ScalingPolicy
    from opsuite_rpc.shapes import check_for

    found = list(_envelope(document))
    form: Any = _Walk(found).message(document.get("spec"), ScalingPolicy.DESCRIPTOR, "spec")
    if found:
        raise InvalidInput(found, reason="DOCUMENT_INVALID")
    try:
        policy = ParseDict(form | {"name": PREFIX + str(document["metadata"]["name"])}, ScalingPolicy())
    except ParseError as error:
        raise InvalidInput([Violation("spec", str(error))], reason="DOCUMENT_INVALID") from error
    if wrong := [in_document(one) for one in check_for(ScalingPolicy)(policy)]:
        raise InvalidInput(wrong, reason="DOCUMENT_INVALID")
    return policy


def written(policy: ScalingPolicy) -> dict[str, Any]:
    """The document of a policy, as plain data that `policy_in` reads back."""
    from google.protobuf.json_format import MessageToDict

    form = MessageToDict(policy, preserving_proto_field_name=True)
    spec = {key: value for key, value in form.items() if key not in OUTPUT_ONLY}
    return {"apiVersion": API, "kind": POLICY, "metadata": {"name": policy.name.removeprefix(PREFIX)}, "spec": spec}


def in_document(violation: Violation) -> Violation:
    """A violation that the server found, by its path in the document."""
    field = violation.field.removeprefix("policy.")
    place = "metadata.name" if field == "name" else f"spec.{field}" if field else "spec"
    return Violation(place, violation.description, violation.reason)


def _envelope(document: Mapping[str, Any]) -> list[Violation]:
    found = [
        Violation(key, f"must be {wanted}")
        for key, wanted in (("apiVersion", API), ("kind", POLICY))
        if document.get(key) != wanted
    ]
    metadata = document.get("metadata")
    if not isinstance(metadata, Mapping) or not isinstance(metadata.get("name"), str):
        found.append(Violation("metadata.name", "is missing", "REQUIRED"))
    known = ("apiVersion", "kind", "metadata", "spec")
    return found + [Violation(str(key), "is no field here", "UNKNOWN_FIELD") for key in document if key not in known]


class _Walk:
    """Goes through plain data along the contract: unknown fields are told, short names of enums spelt out."""

    def __init__(self, found: list[Violation]) -> None:
        self._found = found

    def message(self, data: Any, descriptor: Descriptor, path: str) -> dict[str, Any]:
        if not isinstance(data, Mapping):
            self._found.append(Violation(path, "must have fields"))
            return {}
        fields = {name: one for one in descriptor.fields for name in (one.name, one.json_name)}
        if path == "spec":
            fields = {name: one for name, one in fields.items() if one.name not in OUTPUT_ONLY}
        form: dict[str, Any] = {}
        for key, value in data.items():
            if key not in fields:
                close = get_close_matches(str(key), list(fields), n=1)
                meant = f"; did you mean {close[0]}?" if close else ""
                self._found.append(Violation(f"{path}.{key}", f"is no field here{meant}", "UNKNOWN_FIELD"))
            elif value is not None:
                form[fields[key].name] = self._field(value, fields[key], f"{path}.{key}")
        return form

    def _field(self, value: Any, field: FieldDescriptor, path: str) -> Any:
        of = field.message_type
        if of is not None and of.GetOptions().map_entry:
            return value
        if field.is_repeated and isinstance(value, list):
            return [self._value(one, field, f"{path}[{index}]") for index, one in enumerate(value)]
        return self._value(value, field, path)

    def _value(self, value: Any, field: FieldDescriptor, path: str) -> Any:
        if field.message_type is not None and not field.message_type.full_name.startswith("google."):
            return self.message(value, field.message_type, path)
        if field.enum_type is None:
            return value
        names = [one.name for one in field.enum_type.values]
        prefix = names[0].removesuffix("UNSPECIFIED")
        word = str(value).upper()
        whole = word if word in names else prefix + word
        if whole not in names:
            choices = ", ".join(name.removeprefix(prefix).lower() for name in names[1:])
            self._found.append(Violation(path, f"must be one of {choices}"))
        return whole
