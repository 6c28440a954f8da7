"""Rules of the contracts, each with its table; messages are built from descriptors in a pool of their own."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import pytest
from google.protobuf import descriptor_pool, duration_pb2, timestamp_pb2
from google.protobuf.descriptor_pb2 import DescriptorProto, FieldDescriptorProto, FileDescriptorProto
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass
from hypothesis import given
from hypothesis import strategies as st

from opsuite.common.v1 import options_pb2
from opsuite.common.v1.options_pb2 import Rule
from opsuite.deployer.v1 import deployment_service_pb2, pipeline_pb2, pipeline_service_pb2
from opsuite_kernel.errors import Violation
from opsuite_rpc.shape_rules import EARLIEST_SECONDS, LATEST_SECONDS, LONGEST_SECONDS, NANOS, InvalidRule
from opsuite_rpc.shapes import check_for, compile_service

F = FieldDescriptorProto
Duration = duration_pb2.Duration
Timestamp = timestamp_pb2.Timestamp


def a_message(kind: Any, rule: Rule | None = None, *, many: bool = False, presence: bool = False) -> type[Message]:
    """A message type with the one field `x`; `kind` is a scalar type, or the name of a message or enum type."""
    file = FileDescriptorProto(name="t.proto", package="t", syntax="proto3")
    file.dependency.extend(["google/protobuf/duration.proto", "google/protobuf/timestamp.proto"])
    enum = file.enum_type.add(name="E")
    enum.value.add(name="E_UNSPECIFIED", number=0)
    enum.value.add(name="E_ONE", number=1)
    _field(file.message_type.add(name="Named"), "name", F.TYPE_STRING, Rule(dns_label=True))
    _field(file.message_type.add(name="Plain"), "value", F.TYPE_STRING)
    message = file.message_type.add(name="M")
    field = _field(message, "x", kind, rule, many=many)
    if presence:
        message.oneof_decl.add(name="_x")
        field.oneof_index, field.proto3_optional = 0, True
    return _built(file, "t.M")


def a_map(rule: Rule) -> type[Message]:
    """A message type with the one field `map<string, string> x`."""
    file = FileDescriptorProto(name="t.proto", package="t", syntax="proto3")
    message = file.message_type.add(name="M")
    entry = message.nested_type.add(name="XEntry")
    entry.options.map_entry = True
    _field(entry, "key", F.TYPE_STRING)
    _field(entry, "value", F.TYPE_STRING, number=2)
    _field(message, "x", ".t.M.XEntry", rule, many=True)
    return _built(file, "t.M")


def _field(
    message: DescriptorProto, name: str, kind: Any, rule: Rule | None = None, *, many: bool = False, number: int = 1
) -> FieldDescriptorProto:
    field = message.field.add(name=name, number=number)
    field.label = F.LABEL_REPEATED if many else F.LABEL_OPTIONAL
    if isinstance(kind, str):
        field.type = F.TYPE_ENUM if kind == ".t.E" else F.TYPE_MESSAGE
        field.type_name = kind
    else:
        field.type = kind
    if rule is not None:
        field.options.Extensions[options_pb2.rule].CopyFrom(rule)
    return field


def _built(file: FileDescriptorProto, name: str) -> type[Message]:
    pool = descriptor_pool.DescriptorPool()
    for known in (duration_pb2, timestamp_pb2):
        pool.AddSerializedFile(known.DESCRIPTOR.serialized_pb)
    pool.Add(file)
    return GetMessageClass(pool.FindMessageTypeByName(name))


def plain(value: Any) -> Any:
    """A duration or time as a dict: those of this pool do not take the generated classes."""
    return {"seconds": value.seconds, "nanos": value.nanos} if isinstance(value, (Duration, Timestamp)) else value


def reasons(message: Message) -> list[str]:
    return [violation.reason for violation in check_for(type(message))(message)]


STRING, BYTES, INT, DOUBLE, BOOL = F.TYPE_STRING, F.TYPE_BYTES, F.TYPE_INT64, F.TYPE_DOUBLE, F.TYPE_BOOL
UUID = "00000000-0000-0000-0000-000000000000"
SECOND = Duration(seconds=1)

# (type, rule, value, reasons)
SINGLE: list[tuple[Any, Rule, Any, list[str]]] = [
    (STRING, Rule(required=True), "", ["REQUIRED"]),
    (STRING, Rule(required=True, min_len=3, uuid=True), "", ["REQUIRED"]),
    (STRING, Rule(required=True), "a", []),
    (BYTES, Rule(required=True), b"", ["REQUIRED"]),
    (INT, Rule(required=True), 0, ["REQUIRED"]),
    (BOOL, Rule(required=True), True, []),
    (".t.E", Rule(required=True), 0, ["REQUIRED"]),
    (STRING, Rule(min_len=2), "", []),
    (STRING, Rule(min_len=2), "é", ["TOO_SHORT"]),
    (STRING, Rule(min_len=2), "éé", []),
    (STRING, Rule(max_len=2), "éé", []),
    (STRING, Rule(max_len=2), "ééé", ["TOO_LONG"]),
    (STRING, Rule(max_len=2, uuid=True), "ééé", ["TOO_LONG"]),
    (STRING, Rule(max_len=0), "a", ["TOO_LONG"]),
    (BYTES, Rule(max_len=2), b"abc", ["TOO_LONG"]),
    (BYTES, Rule(min_len=2), b"a", ["TOO_SHORT"]),
    (STRING, Rule(pattern="[a-z]+"), "abc", []),
    (STRING, Rule(pattern="[a-z]+"), "abc\n", ["PATTERN"]),
    (STRING, Rule(pattern="a|b"), "ab", ["PATTERN"]),
    (STRING, Rule(uuid=True), UUID, []),
    (STRING, Rule(uuid=True), "0", ["UUID"]),
    (STRING, Rule(dns_label=True), "web-1", []),
    (STRING, Rule(dns_label=True), "Web", ["DNS_LABEL"]),
    (STRING, Rule(**{"in": ["a", "b"]}), "b", []),  # type: ignore[arg-type]  # `in` is a keyword
    (STRING, Rule(**{"in": ["a", "b"]}), "ab", ["NOT_IN"]),  # type: ignore[arg-type]  # `in` is a keyword
    (STRING, Rule(format="version"), "1.0", []),
    (STRING, Rule(format="version"), "1..0", ["FORMAT_VERSION"]),
    (STRING, Rule(format="url"), "nope", ["FORMAT_URL"]),
    (STRING, Rule(printable=True), "a\tb\n", []),
    (STRING, Rule(printable=True), "a\x1b", ["NOT_PRINTABLE"]),
    (STRING, Rule(uuid=True, dns_label=True, min_len=9), "A", ["TOO_SHORT", "UUID", "DNS_LABEL"]),
    (INT, Rule(gte=2), 2, []),
    (INT, Rule(gte=2), 1, ["TOO_SMALL"]),
    (INT, Rule(gte=1), 0, ["TOO_SMALL"]),
    (INT, Rule(lte=2), 3, ["TOO_LARGE"]),
    (INT, Rule(lte=-1), 0, ["TOO_LARGE"]),
    (DOUBLE, Rule(gte=0, lte=1), 0.5, []),
    (DOUBLE, Rule(gte=0, lte=1), math.nan, ["TOO_SMALL", "TOO_LARGE"]),
    (".t.E", Rule(defined=True), 1, []),
    (".t.E", Rule(defined=True), 0, ["UNDEFINED"]),
    (".t.E", Rule(), 7, ["UNDEFINED"]),
    (".t.E", Rule(), 0, []),
    (".google.protobuf.Duration", Rule(min_duration=SECOND), Duration(seconds=1), []),
    (".google.protobuf.Duration", Rule(min_duration=SECOND), Duration(nanos=999_999_999), ["DURATION_TOO_SHORT"]),
    (".google.protobuf.Duration", Rule(max_duration=SECOND), Duration(seconds=1), []),
    (".google.protobuf.Duration", Rule(max_duration=SECOND), Duration(seconds=1, nanos=1), ["DURATION_TOO_LONG"]),
    (".google.protobuf.Duration", Rule(), Duration(seconds=-1), ["DURATION_NEGATIVE"]),
    (".google.protobuf.Duration", Rule(), Duration(nanos=-1), ["DURATION_NEGATIVE"]),
    (".google.protobuf.Duration", Rule(), Duration(seconds=1, nanos=-1), ["DURATION_NANOS"]),
    (".google.protobuf.Duration", Rule(), Duration(nanos=NANOS), ["DURATION_NANOS"]),
    (".google.protobuf.Duration", Rule(), Duration(seconds=LONGEST_SECONDS), []),
    (".google.protobuf.Duration", Rule(), Duration(seconds=LONGEST_SECONDS, nanos=1), ["DURATION_OVERFLOW"]),
    (".google.protobuf.Duration", Rule(), Duration(seconds=2**62), ["DURATION_OVERFLOW"]),
    (".google.protobuf.Timestamp", Rule(), Timestamp(seconds=EARLIEST_SECONDS), []),
    (".google.protobuf.Timestamp", Rule(), Timestamp(seconds=EARLIEST_SECONDS - 1), ["TIMESTAMP_INVALID"]),
    (".google.protobuf.Timestamp", Rule(), Timestamp(seconds=LATEST_SECONDS + 1), ["TIMESTAMP_INVALID"]),
    (".google.protobuf.Timestamp", Rule(), Timestamp(nanos=-1), ["TIMESTAMP_INVALID"]),
]


@pytest.mark.parametrize(("kind", "rule", "value", "wanted"), SINGLE)
def test_each_rule_of_a_single_value_keeps_its_table(kind: Any, rule: Rule, value: Any, wanted: list[str]) -> None:
    assert reasons(a_message(kind, rule)(x=plain(value))) == wanted


# (type, rule, elements, what is found)
MANY: list[tuple[Any, Rule, list[Any], list[tuple[str, str]]]] = [
    (STRING, Rule(required=True, min_items=2), [], [("x", "REQUIRED")]),
    (STRING, Rule(min_items=2), ["a"], [("x", "TOO_FEW")]),
    (STRING, Rule(min_items=1), [], [("x", "TOO_FEW")]),
    (STRING, Rule(max_items=1), ["a", "b"], [("x", "TOO_MANY")]),
    (STRING, Rule(max_items=1, items=Rule(uuid=True)), ["a", "b"], [("x", "TOO_MANY")]),
    (STRING, Rule(max_items=0), ["a"], [("x", "TOO_MANY")]),
    (STRING, Rule(min_items=2, items=Rule(uuid=True)), ["a"], [("x", "TOO_FEW"), ("x[0]", "UUID")]),
    (STRING, Rule(items=Rule(min_len=1)), ["a", ""], [("x[1]", "TOO_SHORT")]),
    (STRING, Rule(items=Rule(required=True)), ["a", ""], [("x[1]", "REQUIRED")]),
    (STRING, Rule(unique=True), ["a", "b", "a"], [("x[2]", "NOT_UNIQUE")]),
    (INT, Rule(unique=True, items=Rule(gte=1)), [1, 0, 1], [("x[1]", "TOO_SMALL"), ("x[2]", "NOT_UNIQUE")]),
    (".t.E", Rule(items=Rule(defined=True)), [1, 0, 9], [("x[1]", "UNDEFINED"), ("x[2]", "UNDEFINED")]),
    (".t.E", Rule(), [1, 0, 9], [("x[2]", "UNDEFINED")]),
    (".t.Named", Rule(unique=True), [{"name": "a"}, {"name": "a"}], [("x[1].name", "NOT_UNIQUE")]),
    (".t.Named", Rule(), [{"name": "a"}, {"name": "A"}], [("x[1].name", "DNS_LABEL")]),
    (
        ".google.protobuf.Duration",
        Rule(items=Rule(max_duration=SECOND)),
        [Duration(seconds=2)],
        [("x[0]", "DURATION_TOO_LONG")],
    ),
]


@pytest.mark.parametrize(("kind", "rule", "values", "wanted"), MANY)
def test_each_rule_of_a_list_keeps_its_table(
    kind: Any, rule: Rule, values: list[Any], wanted: list[tuple[str, str]]
) -> None:
    message = a_message(kind, rule, many=True)(x=[plain(value) for value in values])
    assert [(v.field, v.reason) for v in check_for(type(message))(message)] == wanted


MAPS: list[tuple[Rule, dict[str, str], list[tuple[str, str]]]] = [
    (Rule(required=True), {}, [("x", "REQUIRED")]),
    (Rule(min_items=2), {"a": ""}, [("x", "TOO_FEW")]),
    (Rule(max_items=1), {"a": "", "b": ""}, [("x", "TOO_MANY")]),
    (Rule(keys=Rule(format="env_name")), {"A": "", "1": ""}, [('x["1"]', "FORMAT_ENV_NAME")]),
    (Rule(keys=Rule(min_len=1)), {"": "a"}, [('x[""]', "TOO_SHORT")]),
    (Rule(items=Rule(max_len=1)), {"a": "bb"}, [('x["a"]', "TOO_LONG")]),
    (Rule(items=Rule(max_len=1)), {'a"\n': "bb"}, [('x["a\\"\\n"]', "TOO_LONG")]),
    (Rule(keys=Rule(dns_label=True)), {"A" * 100: ""}, [(f'x["{"A" * 64}…"]', "DNS_LABEL")]),
]


@pytest.mark.parametrize(("rule", "entries", "wanted"), MAPS)
def test_each_rule_of_a_map_keeps_its_table(rule: Rule, entries: dict[str, str], wanted: list[tuple[str, str]]) -> None:
    message = a_map(rule)(x=entries)
    assert [(v.field, v.reason) for v in check_for(type(message))(message)] == wanted


@pytest.mark.parametrize(
    ("kind", "rule", "set_to", "wanted"),
    [
        (STRING, Rule(uuid=True), None, []),
        (STRING, Rule(uuid=True), "", ["UUID"]),
        (STRING, Rule(required=True), None, ["REQUIRED"]),
        (STRING, Rule(required=True), "", ["REQUIRED"]),
        (INT, Rule(gte=1), None, []),
        (INT, Rule(gte=1), 0, ["TOO_SMALL"]),
        (INT, Rule(required=True), 0, []),
        (INT, Rule(required=True), None, ["REQUIRED"]),
        (".t.E", Rule(defined=True), None, []),
        (".t.E", Rule(defined=True), 0, ["UNDEFINED"]),
    ],
)
def test_a_field_that_knows_whether_it_is_set_is_judged_when_it_is(
    kind: Any, rule: Rule, set_to: Any, wanted: list[str]
) -> None:
    message = a_message(kind, rule, presence=True)
    assert reasons(message() if set_to is None else message(x=set_to)) == wanted


def test_a_message_that_is_required_has_to_be_set() -> None:
    message = a_message(".t.Plain", Rule(required=True))
    assert reasons(message()) == ["REQUIRED"]
    assert reasons(message(x={})) == []


@pytest.mark.parametrize(
    "build",
    [
        lambda: a_message(STRING, Rule(min_len=2, max_len=1)),
        lambda: a_message(STRING, Rule(pattern="(")),
        lambda: a_message(STRING, Rule(pattern="a(?=b)")),
        lambda: a_message(STRING, Rule(format="nonsense")),
        lambda: a_message(STRING, Rule(gte=1)),
        lambda: a_message(STRING, Rule(max_items=1)),
        lambda: a_message(STRING, Rule(items=Rule(uuid=True))),
        lambda: a_message(STRING, Rule(min_len=1), many=True),
        lambda: a_message(STRING, Rule(items=Rule(gte=1)), many=True),
        lambda: a_message(STRING, Rule(min_items=2, max_items=1), many=True),
        lambda: a_message(".t.Plain", Rule(unique=True), many=True),
        lambda: a_message(STRING, Rule(keys=Rule(uuid=True)), many=True),
        lambda: a_message(INT, Rule(gte=2, lte=1)),
        lambda: a_message(INT, Rule(gte=math.nan, lte=1)),
        lambda: a_message(INT, Rule(uuid=True)),
        lambda: a_message(BYTES, Rule(pattern="a")),
        lambda: a_message(BOOL, Rule(defined=True)),
        lambda: a_message(".t.Plain", Rule(min_len=1)),
        lambda: a_message(".google.protobuf.Duration", Rule(gte=1)),
        lambda: a_message(".google.protobuf.Duration", Rule(min_duration=Duration(seconds=2), max_duration=SECOND)),
        lambda: a_message(".google.protobuf.Duration", Rule(min_duration=Duration(seconds=-1))),
        lambda: a_map(Rule(unique=True)),
        lambda: a_map(Rule(keys=Rule(min_items=1))),
    ],
)
def test_a_rule_that_cannot_be_kept_is_refused_by_name_of_its_field(build: Callable[[], type[Message]]) -> None:
    with pytest.raises(InvalidRule, match=r"^t\.M\.x: "):
        check_for(build())


# The real contracts.


def test_every_service_compiles_and_every_method_has_its_check() -> None:
    for module in (pipeline_service_pb2, deployment_service_pb2):
        for service in module.DESCRIPTOR.services_by_name.values():
            assert set(compile_service(service)) == {method.full_name for method in service.methods}


def test_violations_are_told_all_at_once_by_their_paths() -> None:
    request = pipeline_service_pb2.RegisterPipelineRequest()
    request.pipeline.name = "pipelines/x"
    request.pipeline.environments.append("Bad")
    request.pipeline.variables["Name"] = "fine"
    stage = request.pipeline.stages.add(name="build")
    stage.steps.add(name="nothing")
    stage.steps.add(name="make").command.args.extend(["a", "b", "x" * 9000])

    found = check_for(pipeline_service_pb2.RegisterPipelineRequest)(request)

    assert {(v.field, v.reason) for v in found} == {
        ("pipeline.environments[0]", "DNS_LABEL"),
        ('pipeline.variables["Name"]', "PATTERN"),
        ("pipeline.stages[0].steps[0].kind", "REQUIRED"),
        ("pipeline.stages[0].steps[1].command.command", "REQUIRED"),
        ("pipeline.stages[0].steps[1].command.args[2]", "TOO_LONG"),
    }


def test_a_check_is_compiled_once() -> None:
    first, second = (check_for(pipeline_pb2.Pipeline).__closure__ or () for _ in range(2))
    assert [cell.cell_contents for cell in first] == [cell.cell_contents for cell in second]


def test_a_message_that_holds_itself_is_checked_to_its_end() -> None:
    file = FileDescriptorProto(name="t.proto", package="t", syntax="proto3")
    node = file.message_type.add(name="Node")
    _field(node, "name", STRING, Rule(dns_label=True))
    _field(node, "next", ".t.Node", number=2)
    _field(node, "children", ".t.Node", number=3, many=True)
    kind: Any = _built(file, "t.Node")
    message = kind(next={"children": [{}, {"next": {"name": "BAD"}}]})
    assert check_for(kind)(message)[0].field == "next.children[1].next.name"
    assert check_for(kind)(kind(next={"children": [{}]})) == []


# Against plain readings.


@given(st.text(max_size=6), st.integers(0, 4), st.integers(0, 4), st.booleans())
def test_lengths_are_what_their_plain_reading_says(value: str, least: int, more: int, required: bool) -> None:
    rule = Rule(min_len=least, max_len=least + more, required=required)
    wanted = not required if not value else least <= len(value) <= least + more
    assert (reasons(a_message(STRING, rule)(x=value)) == []) == wanted


@given(st.integers(-5, 5), st.integers(-4, 4), st.integers(0, 4))
def test_bounds_are_what_their_plain_reading_says(value: int, least: int, more: int) -> None:
    message = a_message(INT, Rule(gte=least, lte=least + more))
    assert (reasons(message(x=value)) == []) == (value in range(least, least + more + 1))


@given(st.lists(st.sampled_from("abc"), max_size=5), st.integers(0, 3), st.integers(0, 3), st.booleans())
def test_collections_are_what_their_plain_reading_says(values: list[str], least: int, more: int, unique: bool) -> None:
    rule = Rule(min_items=least, max_items=least + more, unique=unique, items=Rule(**{"in": ["a", "b"]}))  # type: ignore[arg-type]  # `in` is a keyword
    fits = least <= len(values) <= least + more and (not unique or len(set(values)) == len(values))
    wanted = fits and "c" not in values
    assert (reasons(a_message(STRING, rule, many=True)(x=values)) == []) == wanted


@given(st.integers(-3, 3), st.integers(-NANOS, NANOS), st.integers(0, 2), st.integers(0, 2))
def test_durations_are_what_their_plain_reading_says(seconds: int, nanos: int, least: int, more: int) -> None:
    rule = Rule(min_duration=Duration(seconds=least), max_duration=Duration(seconds=least + more))
    length = seconds * NANOS + nanos
    well_formed = seconds >= 0 and 0 <= nanos < NANOS
    wanted = well_formed and least * NANOS <= length <= (least + more) * NANOS
    message: Any = a_message(".google.protobuf.Duration", rule)
    assert (reasons(message(x={"seconds": seconds, "nanos": nanos})) == []) == wanted


def test_a_violation_below_a_message_keeps_its_description_and_reason() -> None:
    message = a_message(".t.Named")
    (found,) = check_for(message)(message(x={"name": "A"}))
    assert found == Violation("x.name", found.description, "DNS_LABEL")
