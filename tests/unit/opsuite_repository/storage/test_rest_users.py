"""Who may use a REST server."""

from __future__ import annotations

import pytest

from opsuite_repository.storage.rest_users import PasswordHash, Users, user_line


def test_only_the_right_password_of_a_known_user_is_right() -> None:
    users = Users({"alice": PasswordHash.of("right", log_cost=10)})

    assert users.check("alice", "right")
    assert not users.check("alice", "wrong")
    assert not users.check("bob", "right")
    assert not users.check("", "")


def test_a_password_is_recalled_only_after_it_was_right() -> None:
    users = Users({"alice": PasswordHash.of("right", log_cost=10)})

    assert not users.recall("alice", "right")
    users.check("alice", "wrong")
    assert not users.recall("alice", "wrong")
    users.check("alice", "right")

    assert users.recall("alice", "right")
    assert not users.recall("alice", "wrong")
    assert not users.recall("bob", "right")


def test_a_file_of_users_is_read_as_it_was_written() -> None:
    users = Users.parse(["# who may", "", user_line("alice", "pass:word ü"), ""])

    assert users.check("alice", "pass:word ü")


@pytest.mark.parametrize("line", ["alice", "alice:15:xx:yy", "alice:99:" + "A" * 24 + ":" + "A" * 43 + "=", "a:b:c:d"])
def test_a_line_that_is_no_user_is_an_error_and_not_a_user_without_password(line: str) -> None:
    with pytest.raises(ValueError, match="user"):
        Users.parse([line])


@pytest.mark.parametrize("name", ["", "../x", "a/b", "a:b", ".a", "ü"])
def test_a_user_is_called_as_a_folder_can_be(name: str) -> None:
    with pytest.raises(ValueError, match="called"):
        user_line(name, "password")
