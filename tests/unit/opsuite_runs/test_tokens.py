from __future__ import annotations

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from opsuite_kernel.errors import Conflict, InvalidInput
from opsuite_runs import tokens

LIFE = "4f1c2a9be07d3355"


@given(follows=st.text(), number=st.integers(0, 2**63 - 1))
def test_a_token_says_after_which_number_to_go_on(follows: str, number: int) -> None:
    token = tokens.encode(LIFE, follows, number)

    assert tokens.decode(token, life=LIFE, follows=follows, latest=number) == number


@given(token=st.text(max_size=60))
@example("")
@example("=")
@example("AAAA")
@example("ümläut")
def test_what_is_no_token_is_an_invalid_field(token: str) -> None:
    with pytest.raises(InvalidInput) as raised:
        tokens.decode(token, life=LIFE, follows="a", latest=10)

    assert [violation.field for violation in raised.value.violations] == ["resume_token"]


@given(data=st.data())
def test_a_mistyped_token_is_an_invalid_field(data: st.DataObject) -> None:
    token = tokens.encode(LIFE, "a", 7)
    place = data.draw(st.integers(0, len(token) - 2))  # the last character holds bits that mean nothing
    typed = data.draw(st.sampled_from("abcXYZ019-_").filter(lambda character: character != token[place]))

    with pytest.raises(InvalidInput):
        tokens.decode(token[:place] + typed + token[place + 1 :], life=LIFE, follows="a", latest=10)


def test_a_token_of_another_resource_is_an_invalid_field() -> None:
    with pytest.raises(InvalidInput):
        tokens.decode(tokens.encode(LIFE, "a", 7), life=LIFE, follows="b", latest=10)


@pytest.mark.parametrize(("life", "latest"), [("another", 10), (LIFE, 6)], ids=["another life", "the future"])
def test_a_token_of_a_restored_database_is_a_conflict(life: str, latest: int) -> None:
    with pytest.raises(Conflict) as raised:
        tokens.decode(tokens.encode(LIFE, "a", 7), life=life, follows="a", latest=latest)

    assert raised.value.reason == "EPOCH_MISMATCH"
