"""How much of a page fits into an answer."""

from __future__ import annotations

import pytest

from opsuite.scaler.v1 import simulation_service_pb2 as pb
from opsuite_scaler.adapters.simulation_api import LARGEST_ANSWER_BYTES, fitting


@pytest.mark.parametrize("length", [0, 100, 20_000])
def test_what_fits_is_an_answer_that_every_client_takes(length: int) -> None:
    backtests = [pb.Backtest(error="x" * length)] * 1000
    fit = fitting([one.ByteSize() for one in backtests])

    answer = pb.ListBacktestsResponse(backtests=backtests[:fit], next_page_token="0" * 26)
    assert answer.ByteSize() <= LARGEST_ANSWER_BYTES
    assert fit == 1000 or answer.ByteSize() + length > LARGEST_ANSWER_BYTES * 0.95


def test_one_that_is_too_large_is_not_passed_over_for_ever() -> None:
    assert fitting([LARGEST_ANSWER_BYTES * 2, 1]) == 1


def test_nothing_fits_where_nothing_is() -> None:
    assert fitting([]) == 0
