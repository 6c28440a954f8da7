"""Everything that is wrong with the pipeline of a request, at once: its shape, and what goes beyond single fields.

The rules of the domain see a pipeline of wrong shape as far as it can be understood. What they find at or below a field
whose shape is wrong is left out: that has been told.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from google.protobuf.descriptor import EnumDescriptor, FieldDescriptor
from google.protobuf.duration_pb2 import Duration
from google.protobuf.message import Message

from opsuite.common.v1.health_check_pb2 import HealthCheck
from opsuite.deployer.v1 import pipeline_pb2 as pb
from opsuite_deployer.adapters.pipeline_messages import pipeline_of
from opsuite_deployer.application.pipelines import Pipelines
from opsuite_kernel.errors import Violation

_TOO_MANY: Final = "TOO_MANY"


def all_violations(pipelines: Pipelines, message: pb.Pipeline, shape: Sequence[Violation]) -> list[Violation]:
    """What is wrong with a pipeline, `shape` first; of one with too many elements somewhere nothing but that.

    What one request can make the server do stays bounded that way.
    """
    if not shape:
        return pipelines.check(pipeline_of(message))
    if any(violation.reason == _TOO_MANY for violation in shape):
        return list(shape)
    beyond = pipelines.check(pipeline_of(understood(message)))
    return [*shape, *(violation for violation in beyond if not _is_told(violation.field, shape))]


def understood(message: pb.Pipeline) -> pb.Pipeline:
    """A copy without what has no form in the domain, and without notifications: no rule looks at those."""
    copy = pb.Pipeline()
    copy.CopyFrom(message)
    copy.ClearField("notifications")
    for stage in copy.stages:
        for step in stage.steps:
            if step.WhichOneof("kind") is None:
                step.wait.SetInParent()  # says nothing that could be wrong
    _leave_out_the_formless(copy)
    for hook in copy.hooks:
        moment = hook.WhichOneof("moment") or "before"
        if not getattr(hook, moment):
            setattr(hook, moment, pb.HOOK_PHASE_STAGE)  # says nothing that could be wrong
        if hook.WhichOneof("kind") is None:
            hook.webhook.SetInParent()
    return copy


def _is_told(field: str, shape: Sequence[Violation]) -> bool:
    return any(field == told.field or field.startswith((f"{told.field}.", f"{told.field}[")) for told in shape)


def _leave_out_the_formless(message: Message) -> None:
    if isinstance(message, HealthCheck) and message.WhichOneof("probe") is None:
        message.tcp.SetInParent()
    for field, value in message.ListFields():
        if field.is_repeated:
            _leave_out_of_many(field, value)
        elif _is_formless(field.enum_type, value):
            message.ClearField(field.name)
        elif field.message_type is not None:
            _leave_out_the_formless(value)


def _leave_out_of_many(field: FieldDescriptor, values: Any) -> None:
    held = field.message_type
    if held is None:
        return  # texts and numbers
    if not held.GetOptions().map_entry:
        for value in values:
            _leave_out_the_formless(value)
        return
    entry = held.fields_by_name["value"]
    for key in list(values):
        if _is_formless(entry.enum_type, values[key]):
            del values[key]
        elif entry.message_type is not None:
            _leave_out_the_formless(values[key])


def _is_formless(enum: EnumDescriptor | None, value: object) -> bool:
    """Whether it is a number that the enum does not know, or a duration that is none."""
    if enum is not None:
        return value not in enum.values_by_number
    if not isinstance(value, Duration):
        return False
    try:
        value.ToTimedelta()
    except (ValueError, OverflowError):
        return True
    return False
