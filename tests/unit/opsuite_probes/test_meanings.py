"""What peers with a protocol of their own say, and what that means. Their sockets are tested elsewhere."""

from __future__ import annotations

import json
import os
from datetime import timedelta

import pytest
from fakes.clock import NOON
from hypothesis import given
from hypothesis import strategies as st

from opsuite_probes.certificate import left
from opsuite_probes.disk import percent_used
from opsuite_probes.port import Outcome, PostgresqlProbe, RedisProbe
from opsuite_probes.prometheus import answer_of


def said(kind: str, result: object) -> bytes:
    return json.dumps({"status": "success", "data": {"resultType": kind, "result": result}}).encode()


@pytest.mark.parametrize(
    ("body", "value"),
    [
        (said("scalar", [1.0, "0.5"]), 0.5),
        (said("vector", [{"metric": {}, "value": [1.0, "17"]}]), 17.0),
        (said("vector", [{"metric": {}, "value": [1.0, "+Inf"]}]), float("inf")),
    ],
)
def test_one_number_is_an_answer(body: bytes, value: float) -> None:
    answer = answer_of(200, body)

    assert (answer.outcome, answer.value) == (Outcome.HEALTHY, value)


@pytest.mark.parametrize(
    ("status", "body", "message"),
    [
        (200, said("vector", []), "cannot be asked: the expression gives no series"),
        (200, said("vector", [{"value": [1, "1"]}, {"value": [1, "2"]}]), "gives 2 series, not one"),
        (200, said("matrix", []), "gives a matrix, not a number"),
        (200, said("scalar", [1, "NaN"]), "gives NaN"),
        (400, b'{"status": "error", "error": "parse error: unexpected end"}', "answers 400: parse error"),
        (502, b"<html>", "no answer of Prometheus' API, but 502 Bad Gateway"),
        (299, b"[]", "no answer of Prometheus' API, but 299 ?"),
        (200, b'{"status": "success"}', "no answer of Prometheus' API"),
        (200, said("vector", [{"value": "x"}]), "no answer of Prometheus' API"),
    ],
)
def test_whatever_else_prometheus_says_is_no_trouble_of_the_target(status: int, body: bytes, message: str) -> None:
    answer = answer_of(status, body)

    assert (answer.outcome, answer.value) == (Outcome.UNKNOWN, None)
    assert message in answer.message


@given(st.binary(max_size=200))
def test_no_body_breaks_the_reader(body: bytes) -> None:
    assert answer_of(200, body).outcome in (Outcome.UNKNOWN, Outcome.HEALTHY)


def test_a_certificate_is_good_for_the_seconds_that_are_left() -> None:
    assert left(NOON + timedelta(days=3), NOON).value == 3 * 86400
    assert left(NOON + timedelta(days=3), NOON).message.startswith("the certificate expires in 3.0 days")
    assert left(NOON - timedelta(hours=12), NOON).value == -43200
    assert left(NOON - timedelta(hours=12), NOON).message.startswith("the certificate has expired 0.5 days ago")


@pytest.mark.parametrize(
    ("blocks", "free", "available", "percent"),
    [(100, 100, 95, 0.0), (100, 5, 0, 100.0), (100, 50, 50, 50.0), (0, 0, 0, 0)],
)
def test_a_disk_is_full_where_writing_ends(blocks: int, free: int, available: int, percent: float) -> None:
    found = os.statvfs_result((4096, 4096, blocks, free, available, 0, 0, 0, 0, 255))

    assert percent_used(found) == percent


def test_passwords_do_not_show() -> None:
    assert "hunter2" not in repr([PostgresqlProbe("postgresql://h/d", "hunter2"), RedisProbe("redis://h", "hunter2")])
