"""Which paths of a request mean something to the REST server; every other one is refused before a disk is touched."""

from __future__ import annotations

import pytest

from opsuite_repository.storage.port import FileType
from opsuite_repository.storage.rest_server import Target, target_of

NAME = "0123456789abcdef" * 4


@pytest.mark.parametrize(
    ("path", "target"),
    [
        ("/alice/", Target(("alice",))),
        ("/alice", Target(("alice",))),
        ("/alice/laptop/", Target(("alice", "laptop"))),
        ("/alice/config", Target(("alice",), FileType.CONFIG, "config")),
        ("/alice/a.b-c_d/keys/", Target(("alice", "a.b-c_d"), FileType.KEY)),
        (f"/alice/data/{NAME}", Target(("alice",), FileType.DATA, NAME)),
        (f"/alice/x/locks/{NAME}", Target(("alice", "x"), FileType.LOCK, NAME)),
    ],
)
def test_a_path_names_a_repository_a_folder_or_a_file(path: str, target: Target) -> None:
    assert target_of(path) == target


@pytest.mark.parametrize(
    "path",
    [
        "/",
        "",
        "//",
        "/config",
        "/keys/",
        f"/data/{NAME}",
        "/alice//config",
        "//alice/config",
        "/alice/../bob/config",
        "/alice/./config",
        "/alice/%2e%2e/bob/config",
        "/alice%2fbob/config",
        "/alice\\..\\bob/config",
        "/.hidden/config",
        "/alice/tmp/",
        f"/alice/tmp/{NAME}",
        "/alice/data/ab/",
        f"/alice/data/ab/{NAME}",
        f"/alice/data/{NAME.upper()}",
        f"/alice/data/{NAME}/",
        f"/alice/data/{NAME}%00",
        f"/alice/data/{NAME[:-1]}",
        "/alice/keys/config",
        "/alice/data/../config",
        "/alice/data/x/config",
        "/a/b/c/d/e/config",
        f"/{'a' * 65}/config",
        "/älice/config",
    ],
)
def test_a_path_that_is_not_plainly_one_of_these_means_nothing(path: str) -> None:
    assert target_of(path) is None
