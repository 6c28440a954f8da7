"""What an API server's answers become."""

from __future__ import annotations

import json
from datetime import timedelta

import pytest

from opsuite_kernel.errors import Conflict, Denied, InvalidInput, NotFound, OpsuiteError, Stale, Unavailable
from opsuite_platforms.kubernetes_errors import BUSY, error_of


def answer(code: int, message: str = "said no", *, retry_after: str = "", **status: object) -> OpsuiteError:
    body = {"kind": "Status", "message": message, **status}
    return error_of(code, json.dumps(body).encode(), "deployment web", retry_after)


@pytest.mark.parametrize(
    ("code", "kind"),
    [
        (400, InvalidInput),
        (401, Unavailable),
        (403, Conflict),
        (404, NotFound),
        (409, Stale),
        (422, InvalidInput),
        (429, Unavailable),
        (500, Unavailable),
        (503, Unavailable),
        (504, Unavailable),
    ],
)
def test_each_status_becomes_a_kind_of_error(code: int, kind: type[OpsuiteError]) -> None:
    error = answer(code)

    assert type(error) is kind
    assert "said no" in error.message or kind is NotFound


def test_a_busy_server_says_when_to_ask_again() -> None:
    error = answer(429, retry_after="3")

    assert isinstance(error, Unavailable)
    assert (error.reason, error.retry_after) == (BUSY, timedelta(seconds=3))


def test_an_unknown_field_is_the_callers_fault_although_the_server_takes_the_blame() -> None:
    error = answer(500, "failed to create typed patch object (default/web; apps/v1): .spec.size: field not declared")

    assert isinstance(error, InvalidInput)
    assert ".spec.size" in error.message


def test_every_field_that_is_wrong_is_a_violation() -> None:
    causes = [{"field": "spec.replicas", "message": "must be positive"}, {"field": "spec.name", "message": "too long"}]

    error = answer(422, details={"causes": causes})

    assert isinstance(error, InvalidInput)
    assert [(v.field, v.description) for v in error.violations] == [
        ("spec.replicas", "must be positive"),
        ("spec.name", "too long"),
    ]


def test_a_refusal_of_rights_tells_who_may_not_do_what_and_where_to_get_it() -> None:
    error = answer(403, 'services is forbidden: User "ci" cannot list resource "services" in API group ""')

    assert isinstance(error, Denied)
    assert error.metadata == {"user": "ci", "verb": "list", "resource": "services"}
    assert "deployer-role.yaml" in error.message


def test_a_refusal_by_a_quota_is_not_one_of_rights() -> None:
    assert isinstance(answer(403, 'pods "web" is forbidden: exceeded quota: small'), Conflict)


def test_an_owned_field_is_told_with_its_owner() -> None:
    cause = {"reason": "FieldManagerConflict", "field": ".spec.replicas", "message": 'conflict with "kubectl"'}

    error = answer(409, reason="Conflict", details={"causes": [cause]})

    assert isinstance(error, Conflict)
    assert error.reason == "FIELDS_OWNED"
    assert '.spec.replicas: conflict with "kubectl"' in error.message


def test_a_taken_name_is_told_apart_from_a_changed_version() -> None:
    taken = answer(409, reason="AlreadyExists")

    assert (type(taken), taken.reason) == (Conflict, "ALREADY_EXISTS")


def test_a_missing_namespace_is_named_whatever_was_asked_for() -> None:
    error = answer(404, details={"kind": "namespaces", "name": "shop"})

    assert isinstance(error, NotFound)
    assert (error.kind, error.name) == ("namespace", "shop")


@pytest.mark.parametrize("body", [b"<html>bad gateway</html>", b"", b"[1]"])
def test_an_answer_that_is_not_the_api_servers_is_unavailable(body: bytes) -> None:
    assert isinstance(error_of(502, body, "deployment web"), Unavailable)
