"""Runbooks as messages of the contract, and as YAML with the names of those messages."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import yaml
from google.protobuf import json_format

from opsuite.healer.v1 import runbook_pb2 as pb
from opsuite_healer.application.names import id_of
from opsuite_healer.application.runbooks.records import RunbookRecord
from opsuite_healer.domain.actions import ActionSpec
from opsuite_healer.domain.runbooks.runbook import (
    DEFAULT_DURATION,
    DEFAULT_EXPIRY,
    DEFAULT_TIMEOUT,
    Inquiry,
    InquiryField,
    OnFailure,
    Retry,
    Runbook,
    RunbookParameter,
    RunbookStep,
)
from opsuite_kernel.errors import InvalidInput, Violation
from opsuite_rpc.values import duration, duration_of

MOST_NODES: Final = 20_000
"""Values of a YAML document; what aliases make of few is counted too."""
_RETRY: Final = Retry()


def runbook_of(message: pb.Runbook) -> Runbook:
    """The runbook of a message of correct shape."""
    return Runbook(
        id=id_of(message.name),
        steps=tuple(_step_of(step) for step in message.steps),
        display_name=message.display_name,
        description=message.description,
        issues=tuple(message.issues),
        parameters=tuple(
            RunbookParameter(one.name, one.description, one.required, one.default_value, one.pattern)
            for one in message.parameters
        ),
        max_duration=duration_of(message, "max_duration", DEFAULT_DURATION),
    )


def runbook_message(runbook: Runbook) -> pb.Runbook:
    """A runbook as a message."""
    message = pb.Runbook(
        name=runbook.name,
        display_name=runbook.display_name,
        description=runbook.description,
        issues=runbook.issues,
        max_duration=duration(runbook.max_duration),
        steps=[_step_message(step) for step in runbook.steps],
    )
    for one in runbook.parameters:
        message.parameters.add(
            name=one.name,
            description=one.description,
            required=one.is_required,
            default_value=one.default,
            pattern=one.pattern,
        )
    return message


def record_message(record: RunbookRecord) -> pb.Runbook:
    """A runbook as it is recorded."""
    message = runbook_message(record.runbook)
    message.etag = record.etag
    message.created_by = record.created_by
    message.create_time.FromDatetime(record.created_at)
    message.update_time.FromDatetime(record.updated_at)
    return message


def from_yaml(text: str) -> pb.Runbook:
    """The message that a YAML document describes, of whatever shape. Raises InvalidInput, at an empty path."""
    try:
        document = yaml.safe_load(text)
        _refuse_too_many(document)
        message = pb.Runbook()
        json_format.ParseDict(_plain(document), message)
    except (yaml.YAMLError, RecursionError) as error:
        raise _unreadable(f"is not YAML: {_first_line(error)}") from error
    except (json_format.ParseError, ValueError, TypeError, AttributeError) as error:
        raise _unreadable(f"is no runbook: {_first_line(error)}") from error
    return message


def action_message(spec: ActionSpec) -> pb.RunbookAction:
    """An action as a message."""
    return pb.RunbookAction(kind=spec.kind, params=dict(spec.params))


def field_messages(inquiry: Inquiry) -> list[pb.InquiryField]:
    """What an inquiry asks for, as messages."""
    return [
        pb.InquiryField(
            name=one.name,
            description=one.description,
            required=one.is_required,
            choices=one.choices,
            pattern=one.pattern,
        )
        for one in inquiry.fields
    ]


def _step_of(message: pb.RunbookStep) -> RunbookStep:
    return RunbookStep(
        name=message.name,
        action=_action_of(message.action) if message.HasField("action") else None,
        inquiry=_inquiry_of(message.inquiry) if message.HasField("inquiry") else None,
        description=message.description,
        when=message.when,
        retry=Retry(
            attempts=message.retry.attempts or _RETRY.attempts,
            delay=duration_of(message.retry, "delay", _RETRY.delay),
            max_delay=duration_of(message.retry, "max_delay", _RETRY.max_delay),
        ),
        timeout=duration_of(message, "timeout", DEFAULT_TIMEOUT),
        on_failure=OnFailure[pb.OnFailure.Name(message.on_failure or pb.ON_FAILURE_ABORT).removeprefix("ON_FAILURE_")],
        goto=message.goto_step,
        compensate=_action_of(message.compensate) if message.HasField("compensate") else None,
    )


def _step_message(step: RunbookStep) -> pb.RunbookStep:
    message = pb.RunbookStep(
        name=step.name,
        description=step.description,
        when=step.when,
        timeout=duration(step.timeout),
        on_failure=pb.OnFailure.Value(f"ON_FAILURE_{step.on_failure.value}"),
        goto_step=step.goto,
        retry=pb.Retry(
            attempts=step.retry.attempts,
            delay=duration(step.retry.delay),
            max_delay=duration(step.retry.max_delay),
        ),
    )
    if step.action is not None:
        message.action.CopyFrom(action_message(step.action))
    if step.compensate is not None:
        message.compensate.CopyFrom(action_message(step.compensate))
    if step.inquiry is not None:
        message.inquiry.CopyFrom(
            pb.Inquiry(
                question=step.inquiry.question,
                fields=field_messages(step.inquiry),
                expires_in=duration(step.inquiry.expires_in),
                not_requester=step.inquiry.is_not_for_requester,
            )
        )
    return message


def _action_of(message: pb.RunbookAction) -> ActionSpec:
    return ActionSpec(message.kind, dict(message.params))


def _inquiry_of(message: pb.Inquiry) -> Inquiry:
    return Inquiry(
        question=message.question,
        fields=tuple(
            InquiryField(one.name, one.description, one.required, tuple(one.choices), one.pattern)
            for one in message.fields
        ),
        expires_in=duration_of(message, "expires_in", DEFAULT_EXPIRY),
        is_not_for_requester=message.not_requester,
    )


def _plain(value: Any) -> Any:
    """What YAML reads as JSON would: numbers and truth values of action parameters are texts in the contract."""
    if isinstance(value, Mapping):
        return {str(name): _texts(each) if name == "params" else _plain(each) for name, each in value.items()}
    return [_plain(each) for each in value] if isinstance(value, list) else value


def _texts(params: Any) -> Any:
    if not isinstance(params, Mapping):
        return params
    return {str(name): _text(value) for name, value in params.items()}


def _text(value: Any) -> Any:
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value) if isinstance(value, int | float) else value


def _refuse_too_many(document: Any) -> None:
    """Aliases let a small document stand for a huge one; it is as large as what it stands for."""
    left, waiting = MOST_NODES, [document]
    while waiting:
        left -= 1
        if left < 0:
            raise _unreadable(f"has more than {MOST_NODES} values")
        value = waiting.pop()
        waiting += value.values() if isinstance(value, Mapping) else value if isinstance(value, list) else ()


def _unreadable(why: str) -> InvalidInput:
    return InvalidInput([Violation("", why, "UNREADABLE")])


def _first_line(error: Exception) -> str:
    return " ".join(str(error).split())[:300] or type(error).__name__
