"""Every storage of a repository keeps the same promises: a folder, a bucket behind S3's API, and a REST server."""

from __future__ import annotations

import contextlib
import itertools
import os
import random
import subprocess
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from hashlib import sha256
from pathlib import Path

import pytest
from fakes.faulty_wire import Fault, FaultyWire
from fakes.repository_storages import PAGE, S3_ENVIRONMENT, Place, name_of, rest_place, s3_place, writer_command

from opsuite_repository.errors import AlreadyExists, Damaged, FileMissing, StorageUnavailable
from opsuite_repository.storage import object_store
from opsuite_repository.storage.open import open_storage
from opsuite_repository.storage.port import CONFIG_NAME, FileType, Storage, StoredFile
from opsuite_repository.storage.retrying import Patience

QUICK = Patience(attempts=4, first_wait=0.01, longest_wait=0.05, timeout=60.0)
IMPATIENT = Patience(attempts=2, first_wait=0.01, longest_wait=0.05, timeout=1.0)
CONTENT = b"what is stored " * 20_000
NAME = name_of(CONTENT)
NAMED = [kind for kind in FileType if kind is not FileType.CONFIG]

far = pytest.mark.parametrize("place", ["s3", "rest"], indirect=True, scope="module")
"""For what can go wrong on a wire; a folder has none."""

_numbers = itertools.count()


@pytest.fixture(scope="module", params=["folder", "s3", "rest"])
def place(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    folder = tmp_path_factory.mktemp("repositories")
    with contextlib.ExitStack() as stack:
        for name, value in S3_ENVIRONMENT.items():
            stack.enter_context(pytest.MonkeyPatch.context()).setenv(name, value)
        if request.param == "folder":
            yield Place(f"{folder}/")
        else:
            yield stack.enter_context(s3_place() if request.param == "s3" else rest_place(folder))


@pytest.fixture
def address(place: Place) -> str:
    return place.of(f"repository-{next(_numbers)}")


@pytest.fixture
def storage(address: str) -> Iterator[Storage]:
    with contextlib.closing(open_storage(address, patience=QUICK)) as storage:
        yield storage


@pytest.fixture
def wire(place: Place) -> Iterator[FaultyWire]:
    assert place.wire is not None
    yield place.wire
    place.wire.heal()


@pytest.mark.parametrize("kind", NAMED)
def test_a_file_of_every_kind_is_listed_and_read_as_it_was_written(storage: Storage, kind: FileType) -> None:
    assert list(storage.list(kind)) == []

    storage.write(kind, NAME, CONTENT)

    assert list(storage.list(kind)) == [StoredFile(NAME, len(CONTENT))]
    assert storage.read(kind, NAME) == CONTENT
    assert storage.size(kind, NAME) == len(CONTENT)


def test_the_config_is_the_one_file_of_its_kind_and_is_not_replaced(storage: Storage) -> None:
    assert list(storage.list(FileType.CONFIG)) == []

    storage.write(FileType.CONFIG, CONFIG_NAME, b"first")
    storage.write(FileType.CONFIG, CONFIG_NAME, b"first")

    with pytest.raises(AlreadyExists):
        storage.write(FileType.CONFIG, CONFIG_NAME, b"other")
    with pytest.raises(AlreadyExists):
        storage.write(FileType.CONFIG, CONFIG_NAME, b"longer than the first")
    assert storage.read(FileType.CONFIG, CONFIG_NAME) == b"first"
    assert list(storage.list(FileType.CONFIG)) == [StoredFile(CONFIG_NAME, 5)]


@pytest.mark.parametrize(
    ("offset", "length", "expected"),
    [
        (0, 10, CONTENT[:10]),
        (7, 1, CONTENT[7:8]),
        (100_000, 70_000, CONTENT[100_000:170_000]),
        (5, None, CONTENT[5:]),
        (len(CONTENT) - 1, 1, CONTENT[-1:]),
        (0, len(CONTENT), CONTENT),
        (len(CONTENT), None, b""),
        (len(CONTENT), 0, b""),
        (3, 0, b""),
    ],
)
def test_a_range_is_read_to_the_byte(storage: Storage, offset: int, length: int | None, expected: bytes) -> None:
    storage.write(FileType.DATA, NAME, CONTENT)

    assert storage.read(FileType.DATA, NAME, offset, length) == expected


@pytest.mark.parametrize(("offset", "length"), [(len(CONTENT) - 1, 2), (len(CONTENT), 1), (len(CONTENT) + 9, 5)])
def test_a_file_that_ends_before_the_range_does_is_damaged(storage: Storage, offset: int, length: int) -> None:
    storage.write(FileType.DATA, NAME, CONTENT)

    with pytest.raises(Damaged):
        storage.read(FileType.DATA, NAME, offset, length)


def test_what_is_not_there_is_missing_and_deleting_it_is_fine(storage: Storage) -> None:
    for ask in (storage.read, storage.size):
        with pytest.raises(FileMissing):
            ask(FileType.LOCK, NAME)
    with pytest.raises(FileMissing):
        storage.read(FileType.LOCK, NAME, 3, 0)

    storage.delete(FileType.LOCK, NAME)
    storage.write(FileType.LOCK, NAME, CONTENT)
    storage.delete(FileType.LOCK, NAME)

    assert list(storage.list(FileType.LOCK)) == []


@pytest.mark.parametrize("name", ["../config", "x", "", NAME.upper(), NAME[:-1], f"{NAME}/", f"{NAME}\n"])
def test_a_name_that_is_none_reaches_no_storage(storage: Storage, name: str) -> None:
    with pytest.raises(ValueError, match="can be called"):
        storage.write(FileType.DATA, name, b"")
    with pytest.raises(ValueError, match="can be called"):
        storage.delete(FileType.DATA, name)


def test_buffers_of_every_sort_are_stored(storage: Storage) -> None:
    for buffer in (bytearray(b"one"), memoryview(b"xtwox")[1:4], b"", memoryview(b"three")):
        storage.write(FileType.INDEX, name_of(bytes(buffer)), buffer)
        assert storage.read(FileType.INDEX, name_of(bytes(buffer))) == bytes(buffer)


def test_many_threads_write_and_read_at_once(storage: Storage) -> None:
    contents = [bytes([number]) * (1000 + number) for number in range(24)]

    def store(content: bytes) -> bytes:
        storage.write(FileType.DATA, name_of(content), content)
        return storage.read(FileType.DATA, name_of(content))

    with ThreadPoolExecutor(8) as threads:
        assert list(threads.map(store, contents + contents)) == contents + contents
    assert sorted(storage.list(FileType.DATA)) == sorted(StoredFile(name_of(c), len(c)) for c in contents)


def test_of_two_that_create_the_config_one_wins(address: str) -> None:
    contents = [f"config {number}".encode() for number in range(6)]

    def create(content: bytes) -> bool:
        with contextlib.closing(open_storage(address, patience=QUICK)) as storage:
            try:
                storage.write(FileType.CONFIG, CONFIG_NAME, content)
            except AlreadyExists:
                return False
            return True

    with ThreadPoolExecutor(len(contents)) as threads:
        won = list(threads.map(create, contents))
    with contextlib.closing(open_storage(address, patience=QUICK)) as storage:
        assert [c for c, winner in zip(contents, won, strict=True) if winner] == [
            storage.read(FileType.CONFIG, CONFIG_NAME)
        ]


@pytest.mark.parametrize("place", ["folder", "s3"], indirect=True, scope="module")
def test_repair_may_replace_what_is_there(storage: Storage) -> None:
    storage.write(FileType.CONFIG, CONFIG_NAME, b"damaged")

    storage.write(FileType.CONFIG, CONFIG_NAME, b"repaired", create=False)

    assert storage.read(FileType.CONFIG, CONFIG_NAME) == b"repaired"


@far
@pytest.mark.parametrize("fault", [Fault.RESET, Fault.BUSY, Fault.THROTTLED, Fault.REQUEST_CUT, Fault.ANSWER_LOST])
def test_a_write_that_is_disturbed_is_repeated(place: Place, storage: Storage, wire: FaultyWire, fault: Fault) -> None:
    before = wire.struck
    wire.strike(writing(place), fault, fault)

    storage.write(FileType.DATA, NAME, CONTENT)

    assert wire.struck == before + 2
    assert storage.read(FileType.DATA, NAME) == CONTENT


@far
@pytest.mark.parametrize("fault", [Fault.RESET, Fault.BUSY, Fault.THROTTLED, Fault.ANSWER_CUT, Fault.ANSWER_FLIPPED])
def test_a_read_that_is_disturbed_is_repeated(storage: Storage, wire: FaultyWire, fault: Fault) -> None:
    storage.write(FileType.SNAPSHOT, NAME, CONTENT)
    before = wire.struck
    wire.strike("GET", fault)

    assert storage.read(FileType.SNAPSHOT, NAME) == CONTENT
    assert wire.struck == before + 1


@far
@pytest.mark.parametrize("fault", [Fault.RESET, Fault.BUSY, Fault.ANSWER_CUT])
def test_a_listing_that_is_disturbed_is_repeated(storage: Storage, wire: FaultyWire, fault: Fault) -> None:
    storage.write(FileType.SNAPSHOT, NAME, CONTENT)
    wire.strike("GET", fault, fault)

    assert list(storage.list(FileType.SNAPSHOT)) == [StoredFile(NAME, len(CONTENT))]


@pytest.mark.parametrize("place", ["s3"], indirect=True, scope="module")
@pytest.mark.parametrize("fault", [Fault.RESET, Fault.BUSY, Fault.ANSWER_CUT])
def test_a_listing_that_breaks_off_between_pages_tells_every_file_once(
    storage: Storage, wire: FaultyWire, fault: Fault, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(object_store, "PAGE", PAGE)
    contents = [bytes([number]) for number in range(3 * PAGE + 1)]
    for content in contents:
        storage.write(FileType.INDEX, name_of(content), content)
    before = wire.struck
    wire.strike("GET", None, fault, fault, None, fault)

    assert sorted(file.name for file in storage.list(FileType.INDEX)) == sorted(map(name_of, contents))
    assert wire.struck == before + 5


@far
def test_a_delete_whose_answer_is_lost_is_repeated(storage: Storage, wire: FaultyWire) -> None:
    storage.write(FileType.LOCK, NAME, CONTENT)
    wire.strike("DELETE", Fault.ANSWER_LOST)

    storage.delete(FileType.LOCK, NAME)

    assert list(storage.list(FileType.LOCK)) == []


@far
@pytest.mark.parametrize("fault", [Fault.SILENCE, Fault.BUSY, Fault.RESET, Fault.REQUEST_CUT])
def test_a_fault_that_stays_is_reported_and_nothing_partial_is_there(
    place: Place, address: str, storage: Storage, wire: FaultyWire, fault: Fault
) -> None:
    wire.strike(writing(place), *[fault] * IMPATIENT.attempts)

    with (
        contextlib.closing(open_storage(address, patience=IMPATIENT)) as hasty,
        pytest.raises(StorageUnavailable),
    ):
        hasty.write(FileType.DATA, NAME, CONTENT)

    assert list(storage.list(FileType.DATA)) == []
    with pytest.raises(FileMissing):
        storage.size(FileType.DATA, NAME)


@pytest.mark.parametrize("place", ["rest"], indirect=True, scope="module")
def test_a_server_that_checks_names_has_a_changed_upload_sent_again(storage: Storage, wire: FaultyWire) -> None:
    before = wire.struck
    wire.strike("POST", Fault.REQUEST_FLIPPED, Fault.REQUEST_FLIPPED)

    storage.write(FileType.DATA, NAME, CONTENT)

    assert wire.struck == before + 2
    assert storage.read(FileType.DATA, NAME) == CONTENT


@far
def test_a_file_that_reads_wrong_every_time_is_damaged(storage: Storage, wire: FaultyWire) -> None:
    storage.write(FileType.SNAPSHOT, NAME, CONTENT)
    wire.strike("GET", *[Fault.ANSWER_FLIPPED] * 2)

    with pytest.raises(Damaged, match=NAME):
        storage.read(FileType.SNAPSHOT, NAME)


def test_a_server_that_is_gone_is_unavailable() -> None:
    with contextlib.closing(open_storage("rest:http://127.0.0.1:9/x/", patience=IMPATIENT)) as storage:
        with pytest.raises(StorageUnavailable):
            list(storage.list(FileType.SNAPSHOT))
        with pytest.raises(StorageUnavailable):
            storage.now()


def test_a_killed_writer_leaves_whole_files_only_and_all_it_was_sure_of(place: Place, tmp_path: Path) -> None:
    chance = random.Random(6)  # moments to kill at, the same in every run
    for round_ in range(4):
        address = place.of(f"killed-{tmp_path.name}-{round_}")
        sure = names_until_killed(address, files=chance.randrange(1, 12), env={**os.environ, **S3_ENVIRONMENT})
        with contextlib.closing(open_storage(address, patience=QUICK)) as storage:
            there = {file.name: file.size for file in storage.list(FileType.DATA)}
            assert sure <= there.keys()
            for name, size in there.items():
                assert size == 300_000
                assert sha256(storage.read(FileType.DATA, name)).hexdigest() == name


def names_until_killed(address: str, files: int, env: dict[str, str]) -> set[str]:
    """Start a writer, kill it right after it was sure of so many files; give the names of all it was sure of."""
    with subprocess.Popen(writer_command(address), stdout=subprocess.PIPE, text=True, env=env) as writer:
        assert writer.stdout is not None
        told = [writer.stdout.readline() for _ in range(files)]
        writer.kill()
        told += writer.stdout.readlines()
    assert all(told[:files])
    return {line.strip() for line in told if line.endswith("\n")}


def writing(place: Place) -> str:
    """The method by which a place is written to."""
    return "PUT" if place.address.startswith("s3:") else "POST"
