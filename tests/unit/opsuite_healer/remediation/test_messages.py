"""Policies as messages: absent fields are the documented defaults, and an update changes what it names."""

from __future__ import annotations

from datetime import timedelta

import pytest
from google.protobuf import json_format

from opsuite.healer.v1 import healing_policy_pb2 as pb
from opsuite_healer.adapters.remediation.policy_messages import changeable, merged, new_policy, policy_from_document
from opsuite_healer.domain.actions import ActionSpec
from opsuite_healer.domain.remediation.policy import HealingPolicy, Mode, Step, When
from opsuite_kernel.errors import InvalidInput


def message(**fields: object) -> pb.HealingPolicy:
    form = {"name": "healingPolicies/web", "steps": [{"action": "RESTART_SERVICE"}]}
    return json_format.ParseDict(form | fields, pb.HealingPolicy())


def test_what_is_absent_is_the_default_of_the_domain() -> None:
    assert new_policy(message()).policy == HealingPolicy("web", (Step(ActionSpec("RESTART_SERVICE")),))


@pytest.mark.parametrize(
    ("action", "given", "when"),
    [
        ("RESTART_SERVICE", 0, When.ALWAYS),
        ("ROLL_BACK_DEPLOYMENT", 0, When.AFTER_ROLLOUT),
        ("ROLL_BACK_DEPLOYMENT", 1, When.ALWAYS),
        ("RESTART_SERVICE", 3, When.WITHOUT_ROLLOUT),
    ],
)
def test_a_rollback_makes_sense_after_a_rollout_unless_said_otherwise(action: str, given: int, when: When) -> None:
    assert new_policy(message(steps=[{"action": action, "when": given}])).policy.steps[0].when is when


def test_zero_is_a_value_where_absence_is_told_apart() -> None:
    found = new_policy(
        message(steps=[{"action": "A", "retries": 0, "verification": {"grace": "0s"}, "backoff": {"jitter": 0}}])
    ).policy.steps[0]

    assert (found.retries, found.verification.grace, found.backoff.jitter) == (0, timedelta(0), 0.0)


def test_a_policy_is_kept_without_what_the_server_says_of_it() -> None:
    new = new_policy(message(etag="7", createdBy="ada"))

    assert pb.HealingPolicy.FromString(new.document) == message()
    assert policy_from_document(new.document) == new.policy


def test_an_update_changes_the_fields_it_names() -> None:
    document = new_policy(message(priority=3, displayName="Web")).document

    new = merged(document, message(priority=9, mode="HEALING_MODE_AUTO", displayName="other"), ["mode", "display_name"])

    assert (new.policy.priority, new.policy.mode) == (3, Mode.AUTO)
    assert pb.HealingPolicy.FromString(new.document).display_name == "other"


def test_what_the_server_sets_cannot_be_changed() -> None:
    assert not set(changeable([])) & {"name", "etag", "create_time", "update_time", "created_by"}
    with pytest.raises(InvalidInput, match="names etag, colour"):
        changeable(["mode", "etag", "colour"])
