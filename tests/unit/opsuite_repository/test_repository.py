from __future__ import annotations

from hashlib import sha256

import pytest
from fakes.memory_storage import MemoryStorage

from opsuite_repository.errors import AlreadyExists, Damaged, FileMissing, RepositoryMissing, Unsupported, WrongPassword
from opsuite_repository.format import keys
from opsuite_repository.format.blobs import BlobType, blob_id, seal_blob
from opsuite_repository.format.index import IndexedPack, encode_index
from opsuite_repository.format.packs import PackBuilder
from opsuite_repository.repository import MOST_KEYS, Repository, add_key
from opsuite_repository.storage.port import CONFIG_NAME, FileType, path_of

CHEAP = keys.Cost(n=16, r=1, p=1)
CONFIG = FileType.CONFIG, CONFIG_NAME
CONTENT = b"what is in the blob"


def a_repository(storage: MemoryStorage | None = None) -> Repository:
    return Repository.init(storage or MemoryStorage(), "right", cost=CHEAP)


def memory(repository: Repository) -> MemoryStorage:
    assert isinstance(repository.storage, MemoryStorage)
    return repository.storage


def stored(repository: Repository, *contents: bytes, kind: BlobType = BlobType.DATA) -> str:
    """Put one pack of these blobs into the repository and its index; its name."""
    builder = PackBuilder(repository.sealer)
    for content in contents:
        builder.add(seal_blob(repository.sealer, kind, content))
    pack = builder.finish()
    repository.write_pack(pack)
    repository.write_document(FileType.INDEX, encode_index([IndexedPack(pack.id, pack.entries)]))
    repository.load_index()
    return pack.id.hex()


def damage(repository: Repository, kind: FileType, name: str, at: int = 20) -> None:
    content = bytearray(memory(repository).files[kind, name])
    content[at] ^= 1
    memory(repository).files[kind, name] = bytes(content)


def test_what_was_created_opens_again() -> None:
    repository = a_repository()
    opened = Repository.open(repository.storage, "right")
    assert (opened.key, opened.config, opened.chunker_seed) == (
        repository.key, repository.config, repository.chunker_seed,
    )  # fmt: skip


def test_a_config_is_written_after_the_key_that_opens_it() -> None:
    assert memory(a_repository()).log == ["write keys", "write config"]


def test_nobody_opens_what_is_not_there_or_not_theirs() -> None:
    with pytest.raises(RepositoryMissing):
        Repository.open(MemoryStorage(), "right")
    with pytest.raises(WrongPassword):
        Repository.open(a_repository().storage, "wrong")


def test_a_repository_is_never_created_over_another() -> None:
    repository = a_repository()
    before = dict(memory(repository).files)
    with pytest.raises(AlreadyExists):
        a_repository(memory(repository))
    assert memory(repository).files == before


class Overtaken(MemoryStorage):
    """Somebody else's config arrives just before ours."""

    def write(self, kind: FileType, name: str, data: bytes | bytearray | memoryview, *, create: bool = True) -> None:
        if kind is FileType.CONFIG:
            self.files[kind, name] = b"of another"
        super().write(kind, name, data, create=create)


def test_who_comes_second_takes_back_the_key_that_opens_nothing() -> None:
    storage = Overtaken()
    with pytest.raises(AlreadyExists):
        a_repository(storage)
    assert list(storage.files.items()) == [(CONFIG, b"of another")]


def test_an_interrupted_creation_is_completed_with_the_key_it_left() -> None:
    interrupted = a_repository()
    del memory(interrupted).files[CONFIG]

    with pytest.raises(AlreadyExists):
        Repository.init(interrupted.storage, "wrong", cost=CHEAP)
    assert a_repository(memory(interrupted)).key == interrupted.key


def test_a_damaged_key_does_no_harm_while_another_opens() -> None:
    repository = a_repository()
    second = add_key(repository.storage, repository.key.master, "right", cost=CHEAP)
    damage(repository, FileType.KEY, repository.key.name)

    assert Repository.open(repository.storage, "right").key.name == second

    damage(repository, FileType.KEY, second)
    with pytest.raises(Damaged, match="keys/"):
        Repository.open(repository.storage, "right")


def test_so_many_keys_are_tried_and_the_hinted_one_first() -> None:
    repository = a_repository()
    passwords = {repository.key.name: "right"}
    for at in range(MOST_KEYS):
        password = f"password {at}"
        passwords[add_key(repository.storage, repository.key.master, password, cost=CHEAP)] = password
    *tried, last = sorted(passwords)

    assert {Repository.open(repository.storage, passwords[name]).key.name for name in tried} == set(tried)
    with pytest.raises(WrongPassword):
        Repository.open(repository.storage, passwords[last])
    assert Repository.open(repository.storage, passwords[last], key_hint=last).key.name == last


def test_a_key_of_another_kind_is_told_apart() -> None:
    repository = a_repository()
    content = memory(repository).files.pop((FileType.KEY, repository.key.name)).replace(b"scrypt", b"argon2")
    memory(repository).files[FileType.KEY, sha256(content).hexdigest()] = content
    with pytest.raises(Unsupported):
        Repository.open(repository.storage, "right")


def test_a_document_comes_back_and_is_named_by_its_bytes() -> None:
    repository = a_repository()
    name = repository.write_document(FileType.LOCK, b'{"a":1}')
    assert repository.read_document(FileType.LOCK, name) == b'{"a":1}'
    assert sha256(memory(repository).files[FileType.LOCK, name]).hexdigest() == name


def test_a_sound_document_under_another_name_is_damage() -> None:
    repository = a_repository()
    name = repository.write_document(FileType.SNAPSHOT, b"{}")
    elsewhere = "ab" * 32
    memory(repository).files[FileType.SNAPSHOT, elsewhere] = memory(repository).files[FileType.SNAPSHOT, name]
    with pytest.raises(Damaged, match=elsewhere):
        repository.read_document(FileType.SNAPSHOT, elsewhere)


def test_a_sound_document_that_is_no_snapshot_is_named() -> None:
    repository = a_repository()
    name = repository.write_document(FileType.SNAPSHOT, b"{}")
    with pytest.raises(Damaged, match=path_of(FileType.SNAPSHOT, name)):
        list(repository.snapshots())


def test_an_index_that_says_nonsense_is_named() -> None:
    repository = a_repository()
    name = repository.write_document(FileType.INDEX, b'{"packs":[{}]}')
    with pytest.raises(Damaged, match=path_of(FileType.INDEX, name)):
        repository.load_index()


class Counting(MemoryStorage):
    """Counts the files of an index that were asked for."""

    reads = 0

    def read(self, kind: FileType, name: str, offset: int = 0, length: int | None = None) -> bytes:
        self.reads += kind is FileType.INDEX
        return super().read(kind, name, offset, length)


def test_documents_are_read_ahead_but_not_all_at_once() -> None:
    storage = Counting()
    repository = a_repository(storage)
    names = {repository.write_document(FileType.INDEX, b'{"packs":[],"number":%d}' % number) for number in range(30)}

    documents = repository.read_documents(FileType.INDEX)
    first, _ = next(documents)

    assert storage.reads < 10
    assert {first, *(name for name, _ in documents)} == names


def test_blobs_are_read_through_the_index() -> None:
    repository = a_repository()
    name = stored(repository, CONTENT, b"another")
    assert repository.read_blob(BlobType.DATA, blob_id(b"another")) == b"another"
    assert [entry.id for entry in repository.read_pack_header(name)] == [blob_id(CONTENT), blob_id(b"another")]


def test_a_damaged_copy_of_a_blob_is_passed_over() -> None:
    repository = a_repository()
    first, second = stored(repository, CONTENT), stored(repository, CONTENT, b"another")
    for name in (first, second):
        assert repository.read_blob(BlobType.DATA, blob_id(CONTENT)) == CONTENT
        damage(repository, FileType.DATA, name)
    with pytest.raises(Damaged, match=blob_id(CONTENT).hex()):
        repository.read_blob(BlobType.DATA, blob_id(CONTENT))


def test_a_lost_pack_is_told_with_the_blob_that_was_in_it() -> None:
    repository = a_repository()
    name = stored(repository, CONTENT)
    memory(repository).delete(FileType.DATA, name)
    with pytest.raises(Damaged, match=name):
        repository.read_blob(BlobType.DATA, blob_id(CONTENT))
    with pytest.raises(FileMissing):
        repository.read_pack_header(name)


def test_a_blob_that_nobody_indexed_is_damage() -> None:
    with pytest.raises(Damaged, match="no pack"):
        a_repository().read_blob(BlobType.DATA, b"i" * 32)


@pytest.mark.parametrize("size", [0, 3, 60])
def test_a_pack_that_was_cut_short_has_no_header(size: int) -> None:
    repository = a_repository()
    name = stored(repository, CONTENT)
    memory(repository).files[FileType.DATA, name] = memory(repository).files[FileType.DATA, name][:size]
    with pytest.raises(Damaged, match=name):
        repository.read_pack_header(name)


def test_a_tree_blob_that_is_no_tree_is_named() -> None:
    repository = a_repository()
    stored(repository, b"not JSON", kind=BlobType.TREE)
    with pytest.raises(Damaged, match=f"tree {blob_id(b'not JSON').hex()}"):
        repository.read_tree(blob_id(b"not JSON"))


def test_loading_the_index_again_forgets_what_is_gone() -> None:
    repository = a_repository()
    stored(repository, CONTENT)
    (file,) = repository.storage.list(FileType.INDEX)
    repository.storage.delete(FileType.INDEX, file.name)

    repository.load_index()

    assert not repository.index.has(BlobType.DATA, blob_id(CONTENT))
