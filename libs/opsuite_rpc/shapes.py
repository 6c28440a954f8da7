"""Reads the rules that stand in the contracts and compiles them, once, to one check per message type.

A check looks at a message and everything below it and returns all that is wrong, by paths of proto names:
`pipeline.stages[0].steps[1].command.args[2]`, `variables["name"]`. Besides the rules every duration, timestamp and enum
value has to be well formed. Elements of a collection with too many are not looked at: what one request can make a
server do stays bounded. Of a text that is too long only that is said.
"""

from __future__ import annotations

import json
from collections import ChainMap
from collections.abc import Callable, Iterable, Mapping, MutableMapping
from typing import Any, Final

from google.protobuf.descriptor import Descriptor, FieldDescriptor, OneofDescriptor, ServiceDescriptor
from google.protobuf.message import Message

from opsuite.common.v1 import options_pb2
from opsuite.common.v1.options_pb2 import Rule
from opsuite_kernel.errors import Violation
from opsuite_rpc.shape_rules import (
    REQUIRED,
    Found,
    InvalidRule,
    ValueCheck,
    kind_of,
    refuse_misfits,
    refuse_reversed,
    value_check,
)

Check = Callable[[Message], list[Violation]]
"""All violations of a message; empty if it is good."""
_Checks = MutableMapping[Descriptor, ValueCheck]

LONGEST_KEY: Final = 64
"""Characters of a map's key that are shown in a path."""

_COMPILED: Final[dict[Descriptor, ValueCheck]] = {}


def check_for(message: Descriptor | type[Message]) -> Check:
    """Return the check of a message type. Raises InvalidRule naming the field, and then nothing is remembered."""
    descriptor = message if isinstance(message, Descriptor) else message.DESCRIPTOR
    known = ChainMap[Descriptor, ValueCheck]({}, _COMPILED)
    found = _message_check(descriptor, known)
    _COMPILED.update(known.maps[0])
    return lambda request: list(found(request) or ())


def compile_service(service: ServiceDescriptor) -> Mapping[str, Check]:
    """Checks of the requests of a service by full name of the method: `opsuite.deployer.v1.DeployerService.Deploy`.

    Raises InvalidRule, so that a server whose contract is wrong does not start.
    """
    return {method.full_name: check_for(method.input_type) for method in service.methods}


# --- messages --------------------------------------------------------------------------------------------------------


def _message_check(descriptor: Descriptor, known: _Checks) -> ValueCheck:
    if descriptor in known:
        return known[descriptor]
    parts: list[ValueCheck] = []

    def check(message: Message) -> Found:
        found: list[Violation] | None = None
        for part in parts:
            if (wrong := part(message)) is not None:
                found = [*found, *wrong] if found else [*wrong]
        return found

    # Known before its parts are: a message may hold itself.
    known[descriptor] = check
    parts += _parts(descriptor, known)
    return check


def _parts(descriptor: Descriptor, known: _Checks) -> Iterable[ValueCheck]:
    for field in descriptor.fields:
        if _real_oneof(field) is None and (part := _field_check(field, known)) is not None:
            yield part
    for oneof in descriptor.oneofs:
        if _is_real(oneof) and (part := _oneof_check(oneof, known)) is not None:
            yield part


def _field_check(field: FieldDescriptor, known: _Checks) -> ValueCheck | None:
    try:
        rule = _rule_of(field)
        if field.is_repeated:
            return _map_check(field, rule, known) if _is_map(field) else _list_check(field, rule, known)
        return _single_check(field, rule, known)
    except InvalidRule as error:
        if error.args[0].startswith(field.containing_type.full_name.partition(".")[0] + "."):
            raise
        raise InvalidRule(f"{field.full_name}: {error}") from error


def _oneof_check(oneof: OneofDescriptor, known: _Checks) -> ValueCheck | None:
    required = oneof.GetOptions().Extensions[options_pb2.oneof_required]
    members = {field.name: check for field in oneof.fields if (check := _field_check(field, known)) is not None}
    if not required and not members:
        return None
    name = oneof.name
    names = ", ".join(field.name for field in oneof.fields)
    missing = (Violation(name, f"one of {names} must be set", "REQUIRED"),) if required else None

    def check(message: Message) -> Found:
        chosen = message.WhichOneof(name)
        if chosen is None:
            return missing
        member = members.get(chosen)
        return member(message) if member is not None else None

    return check


# --- fields ----------------------------------------------------------------------------------------------------------


def _single_check(field: FieldDescriptor, rule: Rule, known: _Checks) -> ValueCheck | None:
    name, look = field.name, _element_check(field, rule, known)
    if look is None and not rule.required:
        return None
    missing = _below(name, REQUIRED) if rule.required else None
    empty_is_missing = rule.required and kind_of(field) in {"string", "bytes"}
    skip_empty = kind_of(field) in {"string", "bytes"} or rule.required

    def with_presence(message: Message) -> Found:
        if not message.HasField(name):
            return missing
        value = getattr(message, name)
        if empty_is_missing and not value:
            return missing
        wrong = look(value) if look is not None else None
        return None if wrong is None else _below(name, wrong)

    def without_presence(message: Message) -> Found:
        value = getattr(message, name)
        if skip_empty and not value:
            return missing
        wrong = look(value) if look is not None else None
        return None if wrong is None else _below(name, wrong)

    return with_presence if field.has_presence else without_presence


def _list_check(field: FieldDescriptor, rule: Rule, known: _Checks) -> ValueCheck | None:
    refuse_misfits(rule, "list")
    size, look = _size_check(rule), _required_element(field, rule.items, known)
    same = _uniqueness(field) if rule.unique else None
    if size is look is same is None:
        return None
    name = field.name

    def check(message: Message) -> Found:
        values = getattr(message, name)
        if size is not None and (wrong := size(len(values))) is not None:
            return _below(name, wrong)
        found: list[Violation] = []
        if look is not None:
            for index, value in enumerate(values):
                if (wrong := look(value)) is not None:
                    found += _below(f"{name}[{index}]", wrong)
        if same is not None and len(values) > 1:
            found += _below(name, same(values))
        return found or None

    return check


def _map_check(field: FieldDescriptor, rule: Rule, known: _Checks) -> ValueCheck | None:
    refuse_misfits(rule, "map")
    entry = field.message_type.fields_by_name
    size = _size_check(rule)
    look_key = _required_element(entry["key"], rule.keys, known)
    look = _required_element(entry["value"], rule.items, known)
    if size is look_key is look is None:
        return None
    name = field.name

    def check(message: Message) -> Found:
        entries = getattr(message, name)
        if size is not None and (wrong := size(len(entries))) is not None:
            return _below(name, wrong)
        found: list[Violation] = []
        for key in entries:
            wrong_key = look_key(key) if look_key is not None else None
            wrong = look(entries[key]) if look is not None else None
            if wrong_key is not None or wrong is not None:
                found += _below(f"{name}[{_shown(key)}]", [*(wrong_key or ()), *(wrong or ())])
        return found or None

    return check


def _size_check(rule: Rule) -> Callable[[int], Found] | None:
    least = rule.min_items if rule.HasField("min_items") else None
    most = rule.max_items if rule.HasField("max_items") else None
    refuse_reversed(least, most, "min_items, max_items")
    few = (Violation("", f"must have at least {least}", "TOO_FEW"),)
    many = (Violation("", f"must have at most {most}", "TOO_MANY"),)

    def check(size: int) -> Found:
        if rule_required and not size:
            return REQUIRED
        if least is not None and size < least:
            return few
        return many if most is not None and size > most else None

    rule_required = rule.required
    return None if least is most is None and not rule_required else check


def _uniqueness(field: FieldDescriptor) -> Callable[[Iterable[Any]], list[Violation]]:
    by_name = field.message_type is not None
    if by_name and "name" not in field.message_type.fields_by_name:
        raise InvalidRule("unique needs elements that are scalars or have a name")

    def check(values: Iterable[Any]) -> list[Violation]:
        seen: set[Any] = set()
        found = []
        for index, value in enumerate(values):
            key = value.name if by_name else value
            if key in seen:
                found.append(Violation(f"[{index}]{'.name' * by_name}", "is there more than once", "NOT_UNIQUE"))
            seen.add(key)
        return found

    return check


# --- elements --------------------------------------------------------------------------------------------------------


def _element_check(field: FieldDescriptor, rule: Rule, known: _Checks) -> ValueCheck | None:
    """What one value of the field has to satisfy: its rules, then those of what it holds."""
    look = value_check(rule, field)
    if look is None and field.message_type is not None and _is_ruled(field.message_type):
        return _message_check(field.message_type, known)
    return look


def _required_element(field: FieldDescriptor, rule: Rule, known: _Checks) -> ValueCheck | None:
    """The same with `required`: an element is always there, so it asks only whether a text is empty."""
    look = _element_check(field, rule, known)
    if not rule.required or kind_of(field) not in {"string", "bytes"}:
        return look

    def check(value: Any) -> Found:
        if not value:
            return REQUIRED
        return look(value) if look is not None else None

    return check


def _is_ruled(descriptor: Descriptor) -> bool:
    """Whether anything at or below a message has to satisfy anything. Skipping the others saves most of the time."""
    seen, waiting = {descriptor}, [descriptor]
    while waiting:
        message = waiting.pop()
        if any(oneof.GetOptions().HasExtension(options_pb2.oneof_required) for oneof in message.oneofs):
            return True
        for field in message.fields:
            if field.enum_type is not None or field.GetOptions().HasExtension(options_pb2.rule):
                return True
            if (below := field.message_type) is not None and below not in seen:
                if below.full_name in {"google.protobuf.Duration", "google.protobuf.Timestamp"}:
                    return True
                seen.add(below)
                waiting.append(below)
    return False


def _rule_of(field: FieldDescriptor) -> Rule:
    rule: Rule = field.GetOptions().Extensions[options_pb2.rule]
    return rule


def _is_map(field: FieldDescriptor) -> bool:
    return field.message_type is not None and field.message_type.GetOptions().map_entry


def _is_real(oneof: OneofDescriptor) -> bool:
    """Whether it stands in the contract; `optional` makes a oneof of its own with one member of the same name."""
    return not (len(oneof.fields) == 1 and oneof.name == f"_{oneof.fields[0].name}")


def _real_oneof(field: FieldDescriptor) -> OneofDescriptor | None:
    oneof: OneofDescriptor | None = field.containing_oneof
    return oneof if oneof is not None and _is_real(oneof) else None


def _below(name: str, found: Iterable[Violation]) -> list[Violation]:
    return [violation.below(name) for violation in found]


def _shown(key: str | int | bool) -> str:
    if isinstance(key, str) and len(key) > LONGEST_KEY:
        return json.dumps(key[:LONGEST_KEY] + "…", ensure_ascii=False)
    return json.dumps(key, ensure_ascii=False)
