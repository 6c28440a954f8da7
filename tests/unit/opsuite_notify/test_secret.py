from __future__ import annotations

import copy
import pickle

import pytest

from opsuite_notify.port import EnvSecret, FileSecret
from opsuite_notify.secrets import Secret, SecretMissing, SecretNotAllowed, SecretSource, SecretUnusable


def test_a_secret_does_not_show_itself() -> None:
    secret = Secret("hunter2")

    shown = [repr(secret), str(secret), f"{secret}", f"{secret!r}", repr([secret]), repr({"a": secret})]

    assert not any("hunter2" in text for text in shown)
    assert secret.reveal() == "hunter2"


def test_a_secret_is_neither_pickled_nor_copied() -> None:
    with pytest.raises(TypeError):
        pickle.dumps(Secret("hunter2"))
    with pytest.raises(TypeError):
        copy.copy(Secret("hunter2"))


def test_an_allowed_variable_is_resolved_without_its_trailing_newline() -> None:
    source = SecretSource(env={"HOOK": "hunter2\n"}, allowed_env=["HOOK"])

    assert source.resolve(EnvSecret("HOOK")).reveal() == "hunter2"


def test_a_variable_that_the_settings_do_not_allow_is_refused_even_if_it_is_set() -> None:
    with pytest.raises(SecretNotAllowed):
        SecretSource(env={"DATABASE_URL": "x"}, allowed_env=["HOOK"]).resolve(EnvSecret("DATABASE_URL"))


def test_an_allowed_variable_that_is_not_set_is_missing() -> None:
    with pytest.raises(SecretMissing):
        SecretSource(env={}, allowed_env=["HOOK"]).resolve(EnvSecret("HOOK"))


@pytest.mark.parametrize("value", ["", "\n", "a\0b"])
def test_a_variable_without_a_usable_value_is_unusable(value: str) -> None:
    with pytest.raises(SecretUnusable):
        SecretSource(env={"HOOK": value}, allowed_env=["HOOK"]).resolve(EnvSecret("HOOK"))


def test_no_file_is_read_without_a_secrets_directory() -> None:
    with pytest.raises(SecretNotAllowed):
        SecretSource(env={}).resolve(FileSecret("hook"))
