"""A pipeline of any shape can be judged, and is told everything at once."""

from __future__ import annotations

from random import Random
from typing import Any

from fakes.bad_pipelines import RULES
from fakes.clock import FakeClock
from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.duration_pb2 import Duration
from google.protobuf.message import Message
from hypothesis import given
from hypothesis import strategies as st

from opsuite.deployer.v1 import pipeline_pb2 as pb
from opsuite.deployer.v1.pipeline_service_pb2 import ValidatePipelineRequest
from opsuite_deployer.adapters.machine import MachinePolicy
from opsuite_deployer.adapters.pipeline_judging import all_violations
from opsuite_deployer.application.pipelines import Pipelines
from opsuite_kernel.errors import Violation
from opsuite_rpc.shapes import check_for
from opsuite_validation.commands import DEFAULT

CHECK = check_for(ValidatePipelineRequest)
PIPELINES = Pipelines(store=None, clock=FakeClock(), policy=MachinePolicy(DEFAULT))  # type: ignore[arg-type]  # stores nothing

TEXTS = ["", "a", "B", "${a}", "${", "x" * 5000, "\0", "git", "/tmp/make", "pipelines/a"]
DURATIONS = [(0, 0), (5, 0), (-5, 0), (1, -1), (1, 10**9), (2**62, 0), (-(2**62), 0), (315_576_000_000, 0)]


def judged(pipeline: pb.Pipeline) -> list[Violation]:
    """What ValidatePipeline answers."""
    return all_violations(PIPELINES, pipeline, CHECK(ValidatePipelineRequest(pipeline=pipeline)))


@given(st.randoms(use_true_random=False))
def test_any_pipeline_can_be_judged(random: Random) -> None:
    pipeline = pb.Pipeline()
    fill(pipeline, random)
    found = judged(pipeline)
    assert all(violation.field.startswith("pipeline.") for violation in found)
    told = [violation.field for violation in CHECK(ValidatePipelineRequest(pipeline=pipeline))]
    assert [violation.field for violation in found][: len(told)] == told


def test_what_is_told_of_a_field_that_is_wrong_in_shape_is_told_once() -> None:
    empty = pb.Pipeline(name="pipelines/a", environments=["a"], stages=[pb.Stage(name="a", steps=[pb.Step(name="a")])])
    step = empty.stages[0].steps[0]
    step.command.SetInParent()
    assert [violation.field for violation in judged(empty)] == ["pipeline.stages[0].steps[0].command.command"]


def test_a_wrong_field_hides_nothing_that_the_rules_find() -> None:
    for why, pipeline, fields in RULES:
        broken = pb.Pipeline()
        broken.CopyFrom(pipeline)
        broken.description = "x" * 5000
        assert {violation.field for violation in judged(broken)} == {"pipeline.description", *fields}, why


def fill(message: Message, random: Random, depth: int = 0) -> None:
    """Set some fields to values that a client of any language can send."""
    for field in message.DESCRIPTOR.fields:
        if random.random() >= 0.5 and depth < 8:  # what hypothesis tries to make small sets nothing
            set_field(message, field, random, depth)


def set_field(message: Message, field: Any, random: Random, depth: int) -> None:
    """Set one field of any kind."""
    if not field.is_repeated:
        if field.message_type is None:
            setattr(message, field.name, a_value(field, random))
        else:
            below(getattr(message, field.name), random, depth)
        return
    values: Any = getattr(message, field.name)
    held = field.message_type
    for _ in range(random.choice([1, 2])):
        if held is None:
            values.append(a_value(field, random))
        elif not held.GetOptions().map_entry:
            below(values.add(), random, depth)
        elif (entry := held.fields_by_name["value"]).message_type is None:
            values[random.choice(TEXTS)] = a_value(entry, random)
        else:
            below(values[random.choice(TEXTS)], random, depth)


def below(message: Message, random: Random, depth: int) -> None:
    """Fill a message that is set."""
    message.SetInParent()
    if isinstance(message, Duration):
        message.seconds, message.nanos = random.choice(DURATIONS)
    else:
        fill(message, random, depth + 1)


def a_value(field: FieldDescriptor, random: Random) -> Any:
    """A value that the type of the field allows."""
    if field.enum_type is not None:
        return random.choice([0, 1, 99])
    if field.cpp_type == FieldDescriptor.CPPTYPE_STRING:
        return random.choice(TEXTS)
    if field.cpp_type == FieldDescriptor.CPPTYPE_DOUBLE:
        return random.choice([0.0, -1.0, float("nan"), float("inf")])
    if field.cpp_type == FieldDescriptor.CPPTYPE_BOOL:
        return random.choice([True, False])
    return random.choice([0, 1, 2**31 - 1])
