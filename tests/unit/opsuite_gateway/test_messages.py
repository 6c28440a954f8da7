"""Requests out of path, query and body."""

from __future__ import annotations

import json

import pytest
from google.protobuf import json_format

from opsuite_gateway.transcoding.bindings import Binding, bindings_of, contracts
from opsuite_gateway.transcoding.messages import request_of
from opsuite_kernel.errors import InvalidInput

TABLE = bindings_of(contracts("opsuite.deployer.v1"))


def a_binding(verb: str, path: str) -> tuple[Binding, dict[str, str]]:
    found = TABLE.find(verb, path)
    assert found is not None
    return found[0], dict(found[1])


def made(verb: str, path: str, query: list[tuple[str, str]] | None = None, body: bytes = b"") -> dict[str, object]:
    binding, fields = a_binding(verb, path)
    message = request_of(binding, fields, query or [], body)
    return json_format.MessageToDict(message, preserving_proto_field_name=True)


def refused(verb: str, path: str, query: list[tuple[str, str]] | None = None, body: bytes = b"") -> list[str]:
    with pytest.raises(InvalidInput) as caught:
        made(verb, path, query, body)
    return [one.field for one in caught.value.violations]


LIST = "/v1/pipelines/shop/environments/-/deployments"
DEPLOY = "/v1/pipelines/shop/deployments"


def test_path_and_query_are_fields() -> None:
    assert made("GET", LIST, [("pageSize", "5"), ("page_token", "x")]) == {
        "parent": "pipelines/shop/environments/-",
        "page_size": 5,
        "page_token": "x",
    }


def test_the_body_is_the_request_and_the_path_wins() -> None:
    body = json.dumps({"pipeline": "pipelines/other", "version": "1.0", "environment": "staging"}).encode()

    assert made("POST", DEPLOY, body=body)["pipeline"] == "pipelines/shop"


def test_field_names_of_the_proto_are_read_too() -> None:
    body = json.dumps({"from_environment": "staging"}).encode()

    assert made("POST", DEPLOY, body=body)["from_environment"] == "staging"


def test_everything_wrong_with_a_query_is_told_at_once() -> None:
    assert refused("GET", LIST, [("pageSize", "many"), ("nothing", "1"), ("a.b", "1")]) == [
        "pageSize",
        "nothing",
        "a.b",
    ]


def test_a_field_stands_once_in_a_query() -> None:
    assert refused("GET", LIST, [("pageSize", "1"), ("pageSize", "2")]) == ["pageSize"]


@pytest.mark.parametrize(
    "body",
    [
        b"{",
        b"[]",
        b'"text"',
        b"\xff\xfe",
        b'{"version": NaN}',
        b'{"version": {}}',
        b'{"version": 1}',
        b'{"nothing": 1}',
        b'{"variables": [1]}',
        b'{"version": "1", "version": ' + b"[" * 200 + b"]" * 200 + b"}",
        b"[" * 100_000,
    ],
)
def test_a_body_that_is_none_is_refused(body: bytes) -> None:
    assert refused("POST", DEPLOY, body=body) == [""]


def test_a_method_without_a_body_takes_none() -> None:
    assert refused("GET", LIST, body=b"{}") == [""]


def test_a_query_beside_a_whole_body_is_refused() -> None:
    assert refused("POST", DEPLOY, [("version", "1")], b"{}") == ["version"]
