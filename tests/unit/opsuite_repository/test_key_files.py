from __future__ import annotations

import pytest
from fakes.repository_in_memory import CHEAP, a_repository, damage, memory, names

from opsuite_kernel.errors import Conflict
from opsuite_repository.errors import FileMissing, WrongPassword
from opsuite_repository.key_files import change_password, list_keys, remove_key
from opsuite_repository.repository import Repository, add_key
from opsuite_repository.storage.port import FileType


def test_keys_are_listed_also_those_that_cannot_be_read() -> None:
    repository = a_repository()
    other = add_key(repository.storage, repository.key.master, "other", cost=CHEAP)
    bad = add_key(repository.storage, repository.key.master, "bad", cost=CHEAP)
    damage(repository, FileType.KEY, bad, at=0)
    listed = {key.name: key for key in list_keys(repository)}
    assert listed.keys() == {repository.key.name, other, bad}
    assert [name for name, key in listed.items() if key.is_current] == [repository.key.name]
    assert listed[other].created
    assert listed[other].hostname
    assert listed[bad].created is None


def test_who_had_a_key_is_kept_out_once_it_is_removed() -> None:
    repository = a_repository()
    other = add_key(repository.storage, repository.key.master, "other", cost=CHEAP)
    assert Repository.open(repository.storage, "other").key.name == other
    remove_key(repository, other)
    with pytest.raises(WrongPassword):
        Repository.open(repository.storage, "other")
    with pytest.raises(FileMissing):
        remove_key(repository, other)


def test_the_key_in_use_cannot_be_removed() -> None:
    repository = a_repository()
    with pytest.raises(Conflict):
        remove_key(repository, repository.key.name)
    assert names(repository, FileType.KEY) == {repository.key.name}


def test_a_password_is_changed_without_a_moment_in_which_none_opens() -> None:
    repository = a_repository()
    old, master = repository.key
    memory(repository).log.clear()
    name = change_password(repository, "new", cost=CHEAP)
    assert memory(repository).log == ["write keys", "delete keys"]
    assert names(repository, FileType.KEY) == {name} != {old}
    assert repository.key == (name, master)
    assert Repository.open(repository.storage, "new").key.master == master
    with pytest.raises(WrongPassword):
        Repository.open(repository.storage, "right")
