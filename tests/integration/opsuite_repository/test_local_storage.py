"""What a folder has to do beyond the common promises: order of forcing to disk, rights, full disks, leftovers."""

from __future__ import annotations

import errno
import os
import resource
import stat
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from fakes.repository_storages import name_of

from opsuite_repository.errors import AlreadyExists, Damaged, StorageDenied, StorageFull, StorageUnavailable
from opsuite_repository.storage.local import ABANDONED_AFTER, LocalStorage, translated
from opsuite_repository.storage.port import CONFIG_NAME, FileType, StoredFile

CONTENT = b"content" * 1000
NAME = name_of(CONTENT)


@pytest.fixture
def storage(tmp_path: Path) -> LocalStorage:
    return LocalStorage(tmp_path / "repository")


def leftovers(storage: LocalStorage) -> list[Path]:
    return list((storage.root / "tmp").iterdir())


def test_content_is_on_disk_before_its_name_and_its_name_before_the_return(
    storage: LocalStorage, monkeypatch: pytest.MonkeyPatch
) -> None:
    done: list[tuple[str, str]] = []
    fsync, link = os.fsync, os.link

    def seen_fsync(descriptor: int) -> None:
        done.append(("fsync", Path(f"/proc/self/fd/{descriptor}").readlink().name))
        fsync(descriptor)

    def seen_link(source: Path, target: Path) -> None:
        done.append(("link", source.name))
        link(source, target)

    storage.write(FileType.DATA, name_of(b"folders"), b"folders")
    monkeypatch.setattr(os, "fsync", seen_fsync)
    monkeypatch.setattr(os, "link", seen_link)

    storage.write(FileType.KEY, NAME, CONTENT)

    (_, temporary), *_ = done_after_folders = [step for step in done if step[1] != "repository"]
    assert done_after_folders == [("fsync", temporary), ("link", temporary), ("fsync", "keys")]


def test_a_new_folder_is_forced_to_disk_too(storage: LocalStorage, monkeypatch: pytest.MonkeyPatch) -> None:
    forced: list[Path] = []
    fsync = os.fsync

    def seen_fsync(descriptor: int) -> None:
        forced.append(Path(f"/proc/self/fd/{descriptor}").readlink())
        fsync(descriptor)

    monkeypatch.setattr(os, "fsync", seen_fsync)

    storage.write(FileType.DATA, NAME, CONTENT)

    assert {storage.root.parent, storage.root, storage.root / "data", storage.root / "data" / NAME[:2]} <= set(forced)


def test_files_are_for_their_owner_only_and_are_not_written_again(storage: LocalStorage) -> None:
    storage.write(FileType.DATA, NAME, CONTENT)

    assert stat.S_IMODE(storage.path(FileType.DATA, NAME).stat().st_mode) == 0o400
    assert stat.S_IMODE(storage.path(FileType.DATA, NAME).parent.stat().st_mode) == 0o700


def test_a_group_that_may_read_the_config_may_read_what_is_added(storage: LocalStorage) -> None:
    storage.write(FileType.CONFIG, CONFIG_NAME, b"config")
    storage.path(FileType.CONFIG, CONFIG_NAME).chmod(0o440)

    storage.write(FileType.DATA, NAME, CONTENT)

    assert stat.S_IMODE(storage.path(FileType.DATA, NAME).stat().st_mode) == 0o440
    assert storage.path(FileType.DATA, NAME).parent.stat().st_mode & stat.S_IRGRP


@contextmanager
def files_of_at_most(size: int) -> Iterator[None]:
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_a_file_that_there_is_no_room_for_is_told_and_leaves_nothing(storage: LocalStorage) -> None:
    with files_of_at_most(len(CONTENT) // 2), pytest.raises(StorageFull):
        storage.write(FileType.DATA, NAME, CONTENT)

    assert list(storage.list(FileType.DATA)) == []
    assert leftovers(storage) == []
    storage.write(FileType.DATA, NAME, CONTENT)
    assert storage.read(FileType.DATA, NAME) == CONTENT


def test_content_that_cannot_be_forced_to_disk_gets_no_name(
    storage: LocalStorage, monkeypatch: pytest.MonkeyPatch
) -> None:
    storage.write(FileType.DATA, name_of(b"folders"), b"folders")

    def fails(_: int) -> None:
        raise OSError(errno.EIO, "the disk is broken")

    monkeypatch.setattr(os, "fsync", fails)
    with pytest.raises(StorageUnavailable, match="broken"):
        storage.write(FileType.DATA, NAME, CONTENT)

    assert [file.name for file in storage.list(FileType.DATA)] == [name_of(b"folders")]
    assert leftovers(storage) == []


def test_without_hard_links_a_name_is_still_given_only_once(
    storage: LocalStorage, monkeypatch: pytest.MonkeyPatch
) -> None:
    def unknown(*_: object) -> None:
        raise OSError(errno.EPERM, "no hard links here")

    monkeypatch.setattr(os, "link", unknown)
    storage.write(FileType.CONFIG, CONFIG_NAME, b"first")

    with storage.incoming(FileType.CONFIG, CONFIG_NAME) as incoming, pytest.raises(AlreadyExists):
        incoming.publish()

    assert storage.read(FileType.CONFIG, CONFIG_NAME) == b"first"
    assert leftovers(storage) == []


def test_damaged_content_is_found_and_can_be_read_replaced_or_kept(storage: LocalStorage) -> None:
    storage.write(FileType.INDEX, NAME, CONTENT)
    damaged = b"x" + CONTENT[1:]
    storage.path(FileType.INDEX, NAME).chmod(0o600)
    storage.path(FileType.INDEX, NAME).write_bytes(damaged)

    with pytest.raises(Damaged):
        storage.read(FileType.INDEX, NAME)
    with pytest.raises(AlreadyExists):
        storage.write(FileType.INDEX, NAME, CONTENT)
    assert storage.read(FileType.INDEX, NAME, 0, storage.size(FileType.INDEX, NAME)) == damaged

    storage.write(FileType.INDEX, NAME, CONTENT, create=False)
    assert storage.read(FileType.INDEX, NAME) == CONTENT


def test_what_is_not_named_like_a_file_of_the_repository_is_not_listed(storage: LocalStorage) -> None:
    storage.write(FileType.DATA, NAME, CONTENT)
    for stray in ("data/README", f"data/{NAME}", f"data/{NAME[:2]}/{NAME}-tmp-1", "data/abc/x"):
        path = storage.root / stray
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(b"stray")
    (storage.root / "data" / NAME[:2] / name_of(b"a folder")).mkdir()

    assert list(storage.list(FileType.DATA)) == [StoredFile(NAME, len(CONTENT))]


def test_what_a_dead_writer_left_is_removed_when_it_is_old_enough(storage: LocalStorage) -> None:
    storage.write(FileType.DATA, NAME, CONTENT)
    old, young = storage.root / "tmp" / "old", storage.root / "tmp" / "young"
    for path, age in ((old, ABANDONED_AFTER + 3600), (young, ABANDONED_AFTER - 3600)):
        path.write_bytes(b"half of a pack")
        os.utime(path, (time.time() - age, time.time() - age))

    LocalStorage(storage.root)

    assert leftovers(storage) == [young]


@pytest.mark.parametrize(
    ("number", "kind"),
    [
        (errno.ENOSPC, StorageFull),
        (errno.EDQUOT, StorageFull),
        (errno.EACCES, StorageDenied),
        (errno.EROFS, StorageDenied),
        (errno.EIO, StorageUnavailable),
        (errno.ESTALE, StorageUnavailable),
    ],
)
def test_every_error_of_the_system_has_a_kind(number: int, kind: type[Exception]) -> None:
    error = translated(OSError(number, os.strerror(number)), "data/x")

    assert type(error) is kind
    assert "data/x" in str(error)
