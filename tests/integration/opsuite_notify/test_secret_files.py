"""Secrets in files of a real directory."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from opsuite_notify.port import FileSecret
from opsuite_notify.secrets import SIZE_LIMIT_BYTES, SecretMissing, SecretNotAllowed, SecretSource, SecretUnusable


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    (tmp_path / "outside").write_text("hunter2")
    (directory := tmp_path / "secrets").mkdir()
    return directory


def resolve(directory: Path, path: str) -> str:
    return SecretSource(env={}, directory=directory).resolve(FileSecret(path)).reveal()


def test_a_trailing_newline_is_not_part_of_the_secret(directory: Path) -> None:
    (directory / "unix").write_bytes(b"hunter2\n")
    (directory / "dos").write_bytes(b"hunter2\r\n")
    (directory / "two").write_bytes(b"hunter2\n\n")

    assert [resolve(directory, name) for name in ("unix", "dos", "two")] == ["hunter2", "hunter2", "hunter2\n"]


def test_a_file_in_a_folder_below_is_found(directory: Path) -> None:
    (directory / "team").mkdir()
    (directory / "team" / "hook").write_text("hunter2")

    assert resolve(directory, "team/hook") == "hunter2"


def test_links_that_stay_inside_are_followed_as_kubernetes_makes_them(directory: Path) -> None:
    (directory / "..2026").mkdir()
    (directory / "..2026" / "hook").write_text("hunter2")
    (directory / "..data").symlink_to("..2026")
    (directory / "hook").symlink_to("..data/hook")

    assert resolve(directory, "hook") == "hunter2"


@pytest.mark.parametrize("path", ["../outside", "/etc/passwd", "link", ".", "", "a/../../outside"])
def test_nothing_leads_out_of_the_directory(directory: Path, path: str) -> None:
    (directory / "link").symlink_to(directory.parent / "outside")

    with pytest.raises(SecretNotAllowed):
        resolve(directory, path)


def test_a_file_that_does_not_exist_is_missing(directory: Path) -> None:
    with pytest.raises(SecretMissing):
        resolve(directory, "hook")


def test_what_cannot_be_a_secret_is_unusable(directory: Path) -> None:
    (directory / "large").write_bytes(b"x" * (SIZE_LIMIT_BYTES + 1))
    (directory / "binary").write_bytes(b"\xff\xfe")
    (directory / "empty").write_bytes(b"\n")
    (directory / "folder").mkdir()
    (directory / "ring").symlink_to("ring")
    os.mkfifo(directory / "pipe")

    for name in ("large", "binary", "empty", "folder", "ring", "pipe", "nul\0"):
        with pytest.raises(SecretUnusable):
            resolve(directory, name)


def test_the_largest_secret_is_read_whole(directory: Path) -> None:
    (directory / "large").write_bytes(b"x" * SIZE_LIMIT_BYTES)

    assert len(resolve(directory, "large")) == SIZE_LIMIT_BYTES
