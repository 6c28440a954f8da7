"""Reads the rules that stand in the contracts and compiles them, once, to one check per message type.

A check looks at a message and everything below it and returns all that is wrong, by paths of proto names:
`pipeline.stages[0].steps[1].command.args[2]`, `variables["name"]`. Besides the rules every duration, timestamp and enum
value has to be well formed. Elements of a collection with too many are not looked at: what one request can make a
server do stays bounded. Of a text that is too long only that is said.
"""

from __future__ import annotations

import json
from collections import ChainMap
from collections.abc import Callable, Iterable, Mapping, MutableMapping, Sequence
from dataclasses import dataclass
from math import inf
from typing import Any, Final

from google.protobuf.descriptor import Descriptor, FieldDescriptor, OneofDescriptor, ServiceDescriptor
from google.protobuf.message import Message

from opsuite.common.v1 import options_pb2
from opsuite.common.v1.options_pb2 import Rule
from opsuite_kernel.errors import Violation
from opsuite_rpc.shape_rules import (
    REQUIRED,
    TEXTS,
    WELL_FORMED,
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
    descriptor: Any = message if isinstance(message, Descriptor) else message.DESCRIPTOR
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
        raise error if error.field else InvalidRule(str(error), field=field.full_name) from error


def _oneof_check(oneof: OneofDescriptor, known: _Checks) -> ValueCheck | None:
    required = oneof.GetOptions().Extensions[options_pb2.oneof_required]
    members = {field.name: look for field in oneof.fields if (look := _field_check(field, known)) is not None}
    if not required and not members:
        return None
    name = oneof.name
    names = ", ".join(field.name for field in oneof.fields)
    missing = (Violation(name, f"one of {names} must be set", "REQUIRED"),) if required else None

    def check(message: Message) -> Found:
        chosen = message.WhichOneof(name)
        return missing if chosen is None else members.get(chosen, _nothing)(message)

    return check


# --- fields ----------------------------------------------------------------------------------------------------------


def _single_check(field: FieldDescriptor, rule: Rule, known: _Checks) -> ValueCheck | None:
    name, look = field.name, _element_check(field, rule, known)
    if look is None and not rule.required:
        return None
    is_text = kind_of(field) in TEXTS
    missing = _below(name, REQUIRED) if rule.required else None
    must_hold_text = rule.required and is_text
    look = look or _nothing

    def with_presence(message: Message) -> Found:
        if not message.HasField(name):
            return missing
        value = getattr(message, name)
        if must_hold_text and not value:
            return missing
        return None if (wrong := look(value)) is None else _below(name, wrong)

    if field.has_presence:
        return with_presence
    # Empty and absent are the same here, so what is to be said of it is known beforehand.
    absent = missing if rule.required or is_text else _below(name, look(field.default_value) or ()) or None

    def without_presence(message: Message) -> Found:
        value = getattr(message, name)
        if not value:
            return absent
        return None if (wrong := look(value)) is None else _below(name, wrong)

    return without_presence


def _list_check(field: FieldDescriptor, rule: Rule, known: _Checks) -> ValueCheck | None:
    refuse_misfits(rule, "list")
    name, size, look = field.name, _Size.of(rule), _required_element(field, rule.items, known)
    same = _uniqueness(field) if rule.unique else None
    if size.is_free and look is None and same is None:
        return None
    least, most = size.least, size.most

    def check(message: Message) -> Found:
        values = getattr(message, name)
        number = len(values)
        found = None if least <= number <= most else size.violations(name, number)
        if not number or number > most:
            return found
        elements = values[:]  # walked faster than the original, which makes each message anew
        if look is not None:
            for index, value in enumerate(elements):
                if (wrong := look(value)) is not None:
                    found = [*(found or ()), *_below(f"{name}[{index}]", wrong)]
        if same is not None and number > 1 and (doubles := same(elements)):
            found = [*(found or ()), *_below(name, doubles)]
        return found

    return check


def _map_check(field: FieldDescriptor, rule: Rule, known: _Checks) -> ValueCheck | None:
    refuse_misfits(rule, "map")
    name, size, entry = field.name, _Size.of(rule), _held(field).fields_by_name
    look_at_key = _required_element(entry["key"], rule.keys, known) or _nothing
    look = _required_element(entry["value"], rule.items, known) or _nothing
    if size.is_free and look_at_key is look is _nothing:
        return None
    least, most = size.least, size.most

    def check(message: Message) -> Found:
        entries = getattr(message, name)
        number = len(entries)
        found = None if least <= number <= most else size.violations(name, number)
        if not number or number > most:
            return found
        for key in entries:
            wrong_key, wrong = look_at_key(key), look(entries[key])
            if wrong_key is not None or wrong is not None:
                found = [*(found or ()), *_below(f"{name}[{_shown(key)}]", [*(wrong_key or ()), *(wrong or ())])]
        return found

    return check


@dataclass(frozen=True, slots=True)
class _Size:
    """How many elements a collection may have."""

    least: int
    most: float
    required: bool

    @classmethod
    def of(cls, rule: Rule) -> _Size:
        most = rule.max_items if rule.HasField("max_items") else inf
        least = max(rule.min_items, int(rule.required))
        refuse_reversed(least, most, "min_items, max_items")
        return cls(least, most, rule.required)

    @property
    def is_free(self) -> bool:
        return self.least == 0 and self.most == inf

    def violations(self, name: str, number: int) -> Found:
        """What is wrong with a number of elements."""
        if number > self.most:
            return [Violation(name, f"must have at most {self.most}", "TOO_MANY")]
        if number >= self.least:
            return None
        if self.required and not number:
            return _below(name, REQUIRED)
        return [Violation(name, f"must have at least {self.least}", "TOO_FEW")]


def _uniqueness(field: FieldDescriptor) -> Callable[[Sequence[Any]], list[Violation]]:
    by_name = field.message_type is not None
    if by_name and "name" not in _held(field).fields_by_name:
        raise InvalidRule("unique needs elements that are scalars or have a name")

    def check(values: Sequence[Any]) -> list[Violation]:
        keys = [value.name for value in values] if by_name else values
        if len(set(keys)) == len(keys):
            return []
        seen: set[Any] = set()
        found = []
        for index, key in enumerate(keys):
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
    if not rule.required or kind_of(field) not in TEXTS:
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
                if below.full_name in WELL_FORMED:
                    return True
                seen.add(below)
                waiting.append(below)
    return False


def _rule_of(field: FieldDescriptor) -> Rule:
    rule: Rule = field.GetOptions().Extensions[options_pb2.rule]
    return rule


def _is_map(field: FieldDescriptor) -> bool:
    return field.message_type is not None and field.message_type.GetOptions().map_entry


def _held(field: FieldDescriptor) -> Descriptor:
    """The message type of a field that is known to have one."""
    held: Descriptor = field.message_type  # type: ignore[assignment]  # the stubs cannot tell which fields have one
    return held


def _nothing(value: Any) -> Found:  # takes the place of a check
    return None


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
