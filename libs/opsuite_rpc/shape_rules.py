"""Compiles one `(opsuite.common.v1.rule)` for one value: a string, a number, an enum value, a duration.

A rule becomes a function from the value to its violation or None. Violations are made once, here: whoever sends a
good request waits for comparisons only.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Final

from google.protobuf.descriptor import EnumDescriptor, FieldDescriptor
from google.protobuf.duration_pb2 import Duration
from google.protobuf.timestamp_pb2 import Timestamp

from opsuite.common.v1.options_pb2 import Rule
from opsuite_kernel.errors import Violation
from opsuite_validation.values import FORMATS, Predicate, check_dns_label, check_printable, check_uuid, matching

Found = Sequence[Violation] | None
"""What is wrong, by paths that start at what was looked at; None is nothing."""
ValueCheck = Callable[[Any], Found]
"""Looks at one value; Any, since each kind of field brings its own Python type."""

REQUIRED: Final = (Violation("", "is required", "REQUIRED"),)

TEXTS: Final = frozenset({"string", "bytes"})
"""Kinds whose empty value counts as absent."""
WELL_FORMED: Final = frozenset({Duration.DESCRIPTOR.full_name, Timestamp.DESCRIPTOR.full_name})
"""Messages that have to be well formed wherever they stand."""

LONGEST_SECONDS: Final = 315_576_000_000
"""Largest absolute value of Duration.seconds: 10,000 years, says duration.proto."""
NANOS: Final = 1_000_000_000
EARLIEST_SECONDS: Final = -62_135_596_800
"""Timestamp.seconds of 0001-01-01T00:00:00Z, the least that timestamp.proto allows."""
LATEST_SECONDS: Final = 253_402_300_799
"""Timestamp.seconds of 9999-12-31T23:59:59Z."""

_FITTING: Final = {
    "string": {"required", "min_len", "max_len", "pattern", "uuid", "dns_label", "in", "format", "printable"},
    "bytes": {"required", "min_len", "max_len"},
    "number": {"required", "gte", "lte"},
    "bool": {"required"},
    "enum": {"required", "defined"},
    "duration": {"required", "min_duration", "max_duration"},
    "message": {"required"},
    "list": {"required", "min_items", "max_items", "unique", "items"},
    "map": {"required", "min_items", "max_items", "items", "keys"},
}


class InvalidRule(ValueError):
    """A contract holds a rule that cannot be kept; no request can be judged by it."""

    def __init__(self, why: str, *, field: str = "") -> None:
        super().__init__(f"{field}: {why}" if field else why)
        self.field = field
        """Full name of the field; empty as long as it is not known."""


def kind_of(field: FieldDescriptor) -> str:
    """The kind of a single value of the field, as far as rules tell kinds apart."""
    if field.message_type is not None:
        return "duration" if field.message_type.full_name == Duration.DESCRIPTOR.full_name else "message"
    if field.type == FieldDescriptor.TYPE_STRING:
        return "string"
    if field.type == FieldDescriptor.TYPE_BYTES:
        return "bytes"
    if field.enum_type is not None:
        return "enum"
    return "bool" if field.type == FieldDescriptor.TYPE_BOOL else "number"


def refuse_misfits(rule: Rule, kind: str) -> None:
    """Raise InvalidRule if the rule says something that has no meaning for a value of that kind."""
    if misfits := {field.name for field, _ in rule.ListFields()} - _FITTING[kind]:
        raise InvalidRule(f"{', '.join(sorted(misfits))} cannot be asked of a {kind}")


def refuse_reversed(least: Any, most: Any, names: str) -> None:
    """Raise InvalidRule if no value can satisfy both bounds; None is no bound."""
    if least is not None and most is not None and not least <= most:
        raise InvalidRule(f"{names}: the least is above the most")


def value_check(rule: Rule, field: FieldDescriptor) -> ValueCheck | None:
    """Compile what a single value of the field has to satisfy, `required` left out; None if anything will do."""
    kind = kind_of(field)
    refuse_misfits(rule, kind)
    if kind in TEXTS:
        return _text_check(rule, kind)
    if kind == "number":
        return _all_of(_number_tests(rule))
    if field.enum_type is not None:
        return _all_of([_enum_test(field.enum_type, defined=rule.defined)])
    if kind == "duration":
        return _duration_check(rule)
    if field.message_type is not None and field.message_type.full_name == Timestamp.DESCRIPTOR.full_name:
        return _all_of([_malformed_timestamp])
    return None


# --- text ------------------------------------------------------------------------------------------------------------


def _text_check(rule: Rule, kind: str) -> ValueCheck | None:
    """Of a text that is too long only that is told: no other test looks at more than the contract lets through."""
    unit = "bytes" if kind == "bytes" else "characters"
    least = rule.min_len if rule.HasField("min_len") else None
    most = rule.max_len if rule.HasField("max_len") else None
    refuse_reversed(least, most, "min_len, max_len")
    tests = [_at_least(least, unit)] if least else []
    tests += [_told(predicate, reason) for predicate, reason in _predicates(rule)]
    if choices := getattr(rule, "in"):
        tests.append(_one_of(choices))
    rest = _all_of(tests)
    if most is None:
        return rest
    limit, too_long = most, (Violation("", f"must have at most {most} {unit}", "TOO_LONG"),)
    if rest is None:
        return lambda value: too_long if len(value) > limit else None
    return lambda value: too_long if len(value) > limit else rest(value)


def _predicates(rule: Rule) -> list[tuple[Predicate, str]]:
    found: list[tuple[Predicate, str]] = []
    if rule.pattern:
        try:
            found.append((matching(rule.pattern), "PATTERN"))
        except ValueError as error:
            raise InvalidRule(str(error)) from error
    if rule.uuid:
        found.append((check_uuid, "UUID"))
    if rule.dns_label:
        found.append((check_dns_label, "DNS_LABEL"))
    if rule.format:
        if rule.format not in FORMATS:
            raise InvalidRule(f"format {rule.format!r} is none of {', '.join(FORMATS)}")
        found.append((FORMATS[rule.format], f"FORMAT_{rule.format.upper()}"))
    if rule.printable:
        found.append((check_printable, "NOT_PRINTABLE"))
    return found


def _told(predicate: Predicate, reason: str) -> ValueCheck:
    def test(value: str) -> Found:
        wrong = predicate(value)
        return None if wrong is None else (Violation("", wrong, reason),)

    return test


def _at_least(limit: int, unit: str) -> ValueCheck:
    wrong = (Violation("", f"must have at least {limit} {unit}", "TOO_SHORT"),)
    return lambda value: wrong if len(value) < limit else None


def _one_of(choices: Sequence[str]) -> ValueCheck:
    allowed = frozenset(choices)
    wrong = (Violation("", f"must be one of {', '.join(choices)}", "NOT_IN"),)
    return lambda value: None if value in allowed else wrong


# --- numbers, enums --------------------------------------------------------------------------------------------------


def _number_tests(rule: Rule) -> list[ValueCheck]:
    least = rule.gte if rule.HasField("gte") else None
    most = rule.lte if rule.HasField("lte") else None
    refuse_reversed(least, most, "gte, lte")
    tests: list[ValueCheck] = []
    # "not >=" rather than "<": a NaN is neither.
    if least is not None:
        small = (Violation("", f"must be at least {least:.17g}", "TOO_SMALL"),)
        tests.append(lambda value: None if value >= least else small)
    if most is not None:
        large = (Violation("", f"must be at most {most:.17g}", "TOO_LARGE"),)
        tests.append(lambda value: None if value <= most else large)
    return tests


def _enum_test(enum: EnumDescriptor, *, defined: bool) -> ValueCheck:
    allowed = frozenset(number for number in enum.values_by_number if number or not defined)
    names = ", ".join(value.name for value in enum.values if value.number in allowed)
    wrong = (Violation("", f"must be one of {names}", "UNDEFINED"),)
    return lambda value: None if value in allowed else wrong


# --- time ------------------------------------------------------------------------------------------------------------


def _duration_check(rule: Rule) -> ValueCheck:
    least = _nanoseconds(rule.min_duration) if rule.HasField("min_duration") else 0
    most = _nanoseconds(rule.max_duration) if rule.HasField("max_duration") else LONGEST_SECONDS * NANOS
    refuse_reversed(least, most, "min_duration, max_duration")
    short = (Violation("", f"must be at least {least / NANOS:g} s", "DURATION_TOO_SHORT"),)
    long = (Violation("", f"must be at most {most / NANOS:g} s", "DURATION_TOO_LONG"),)

    def check(value: Duration) -> Found:
        nanos = value.nanos
        length = value.seconds * NANOS + nanos
        if least <= length <= most and 0 <= nanos < NANOS:
            return None
        if wrong := _malformed_duration(value):
            return (wrong,)
        return short if length < least else long

    return check


def _nanoseconds(bound: Duration) -> int:
    if wrong := _malformed_duration(bound):
        raise InvalidRule(f"a bound of a duration {wrong.description}")
    return bound.seconds * NANOS + bound.nanos


_NEGATIVE: Final = Violation("", "must not be negative", "DURATION_NEGATIVE")
_OVERFLOW: Final = Violation("", f"must be at most {LONGEST_SECONDS} s", "DURATION_OVERFLOW")
_BAD_NANOS: Final = Violation("", "must have nanos from 0 to 999999999", "DURATION_NANOS")
_BAD_TIME: Final = Violation(
    "", "must be a time from year 1 to 9999 with nanos from 0 to 999999999", "TIMESTAMP_INVALID"
)


def _malformed_duration(value: Duration) -> Violation | None:
    seconds, nanos = value.seconds, value.nanos
    if seconds < 0 or (seconds == 0 and nanos < 0):
        return _NEGATIVE
    if not 0 <= nanos < NANOS:
        return _BAD_NANOS
    return _OVERFLOW if seconds * NANOS + nanos > LONGEST_SECONDS * NANOS else None


def _malformed_timestamp(value: Timestamp) -> Found:
    good = 0 <= value.nanos < NANOS and EARLIEST_SECONDS <= value.seconds <= LATEST_SECONDS
    return None if good else (_BAD_TIME,)


# --- together --------------------------------------------------------------------------------------------------------


def _all_of(tests: Sequence[ValueCheck]) -> ValueCheck | None:
    if not tests:
        return None

    if len(tests) == 1:
        return tests[0]

    def check(value: Any) -> Found:
        found: list[Violation] | None = None
        for test in tests:
            if (wrong := test(value)) is not None:
                found = [*found, *wrong] if found else [*wrong]
        return found

    return check
