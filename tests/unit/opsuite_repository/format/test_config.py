from __future__ import annotations

import json
from typing import Any

import pytest

from opsuite_repository.errors import Malformed, Unsupported
from opsuite_repository.format.config import Config, create, is_irreducible, parse, random_polynomial

RESTIC_TESTS_USE = 0x3DA3358B4DC173  # the polynomial of the chunker's own tests


def product(one: int, other: int) -> int:
    result = 0
    for bit in range(other.bit_length()):
        if other >> bit & 1:
            result ^= one << bit
    return result


def test_every_polynomial_up_to_degree_eight_is_judged_rightly() -> None:
    reducible = {product(one, other) for one in range(2, 256) for other in range(2, 256)}
    for polynomial in range(2, 512):
        assert is_irreducible(polynomial) == (polynomial not in reducible), f"{polynomial:b}"


def test_what_is_drawn_is_irreducible_and_of_degree_53() -> None:
    drawn = {random_polynomial() for _ in range(3)}
    assert len(drawn) == 3
    assert all(is_irreducible(polynomial) and polynomial.bit_length() == 54 for polynomial in drawn)


def test_the_polynomial_of_restics_tests_is_irreducible() -> None:
    assert is_irreducible(RESTIC_TESTS_USE)
    assert not is_irreducible(RESTIC_TESTS_USE ^ 1)


def test_a_config_comes_back() -> None:
    config = create()
    assert config.version == 2
    assert parse(config.encode()) == config


def test_the_document_is_what_the_design_says() -> None:
    config = Config(version=2, id="ab" * 32, chunker_polynomial=RESTIC_TESTS_USE)
    assert config.encode() == (
        b'{"version":2,"id":"' + b"ab" * 32 + b'","chunker_polynomial":"3da3358b4dc173"}'
    )  # fmt: skip


def a_document(**changed: Any) -> bytes:
    return json.dumps({**json.loads(create().encode()), **changed}).encode()


@pytest.mark.parametrize(
    "changed",
    [{"version": "2"}, {"id": "ab"}, {"id": None}, {"chunker_polynomial": "xyz"}, {"chunker_polynomial": "4"}],
    ids=str,
)
def test_a_wrong_config_is_refused(changed: dict[str, Any]) -> None:
    with pytest.raises(Malformed):
        parse(a_document(**changed))


@pytest.mark.parametrize("version", [0, 3])
def test_another_version_is_told_apart(version: int) -> None:
    with pytest.raises(Unsupported):
        parse(a_document(version=version))


def test_version_one_can_be_read() -> None:
    assert parse(a_document(version=1)).version == 1
