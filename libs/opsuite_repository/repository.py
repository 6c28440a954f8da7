"""A repository that is open: its key, its config, its index, and whatever is read from or written to it one by one.

Order matters to whoever writes: packs, then the index that names them, then the snapshot, so that a crash leaves only
files that nobody refers to. Whoever reads lists the snapshots first and loads the index after, so that every blob of
a listed snapshot is in it. Locks are taken elsewhere.
"""

from __future__ import annotations

import getpass
import socket
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from datetime import UTC, datetime
from functools import partial
from hashlib import sha256
from typing import Final, NamedTuple, TypeVar

from opsuite_repository.errors import (
    AlreadyExists,
    Damaged,
    FileMissing,
    Malformed,
    RepositoryMissing,
    WrongPassword,
    naming,
)
from opsuite_repository.format import config, keys, snapshots, unpacked
from opsuite_repository.format.blob_index import BlobIndex, Location
from opsuite_repository.format.blobs import BlobId, BlobType, open_blob
from opsuite_repository.format.chunking import seed_of
from opsuite_repository.format.index import IndexedPack, decode_index, encode_index
from opsuite_repository.format.packs import TRAILER_BYTES, Pack, PackEntry, header_length, open_header
from opsuite_repository.format.sealing import Buffer, MasterKey, Sealer
from opsuite_repository.format.snapshots import Snapshot
from opsuite_repository.format.times import from_datetime
from opsuite_repository.format.trees import Node, decode_tree
from opsuite_repository.storage.local import LocalStorage
from opsuite_repository.storage.port import CONFIG_NAME, FileType, Storage, path_of
from opsuite_repository.tree_packs import TreePacks

MOST_KEYS: Final = 20
"""So many key files are tried, as by restic: each costs half a second."""
_READERS: Final = 4

Result = TypeVar("Result")


class OpenedKey(NamedTuple):
    """The key file that the password opened."""

    name: str
    master: MasterKey


class Repository:
    """Reads and writes single files and blobs. For any number of threads at once."""

    def __init__(self, storage: Storage, key: OpenedKey, settings: config.Config) -> None:
        self.storage = storage
        self.key = key
        self.config = settings
        self.sealer = Sealer(key.master)
        self._tree_packs = None if isinstance(storage, LocalStorage) else TreePacks(storage)
        self.index = BlobIndex()
        """Empty until `load_index`."""
        self.index_files: frozenset[str] = frozenset()
        """The index files that are in it."""

    @classmethod
    def init(cls, storage: Storage, password: str, *, cost: keys.Cost | None = None) -> Repository:
        """A new repository. Raises AlreadyExists where one is, which is left as it was.

        One that was interrupted is completed: the key that it left is used when `password` opens it.
        """
        if _has_config(storage):
            raise AlreadyExists(CONFIG_NAME)
        abandoned, settings = _abandoned_key(storage, password), config.create()
        key = abandoned or _new_key(storage, password, cost)
        try:
            storage.write(FileType.CONFIG, CONFIG_NAME, Sealer(key.master).seal(settings.encode()))
        except AlreadyExists:
            if abandoned is None:
                storage.delete(FileType.KEY, key.name)  # another was quicker, and this key opens nothing of theirs
            raise
        return cls(storage, key, settings)

    @classmethod
    def open(cls, storage: Storage, password: str, *, key_hint: str | None = None) -> Repository:
        """The repository, its index not yet loaded. `key_hint` names the key file to try first.

        Raises RepositoryMissing, WrongPassword, Damaged, Unsupported.
        """
        try:
            sealed = storage.read(FileType.CONFIG, CONFIG_NAME)
        except FileMissing as error:
            raise RepositoryMissing(CONFIG_NAME) from error
        key = find_key(storage, password, key_hint=key_hint)
        with naming(CONFIG_NAME):
            return cls(storage, key, config.parse(Sealer(key.master).open(sealed)))

    @property
    def chunker_seed(self) -> int:
        """What every Chunker of this repository is made with."""
        return seed_of(self.key.master)

    def load_index(self) -> None:
        """Make known every pack of every index file there is now. Raises Damaged, naming the file.

        To be done after taking a lock: a prune that saw no lock may remove what an older index knows.
        """
        names: set[str] = set()
        self.index = BlobIndex.of(self._indexed_packs(names))
        self.index_files = frozenset(names)

    def refresh_index(self) -> None:
        """What `load_index` does, at the price of what is new where index files were only added meanwhile."""
        names = {file.name for file in self.storage.list(FileType.INDEX)}
        try:
            added = [pack for name in names - self.index_files for pack in self._packs_of(name)]
        except FileMissing:
            self.load_index()
            return
        is_reduced = not self.index_files <= names or self.index.retired is not None
        if is_reduced or any(pack.unused_since is not None for pack in added):
            self.load_index()
            return
        for pack in added:
            self.index.add(pack)
        self.index_files = frozenset(names)

    def _packs_of(self, name: str) -> list[IndexedPack]:
        document = self.read_document(FileType.INDEX, name)
        with naming(path_of(FileType.INDEX, name)):
            return list(decode_index(document))

    def write_index(self, packs: Sequence[IndexedPack]) -> None:
        """Store an index file, and only then make its packs known."""
        name = self.write_document(FileType.INDEX, encode_index(packs))
        for pack in packs:
            self.index.add(pack)
        self.index_files |= {name}

    def _indexed_packs(self, names: set[str]) -> Iterator[IndexedPack]:
        for name, document in self.read_documents(FileType.INDEX):
            names.add(name)
            with naming(path_of(FileType.INDEX, name)):
                yield from decode_index(document)

    def read_documents(self, kind: FileType) -> Iterator[tuple[str, bytes]]:
        """The name and the JSON of every file of that kind; a few are read ahead, never all. Raises Damaged."""
        for name, document in self.try_documents(kind):
            if isinstance(document, Damaged):
                raise document
            yield name, document

    def try_documents(self, kind: FileType) -> Iterator[tuple[str, bytes | Damaged]]:
        """The same, with what is wrong with a file in the place of its JSON.

        Files that vanish meanwhile are passed over, and what was written in their place is read as well.
        """
        seen: set[str] = set()
        is_complete = False
        with ThreadPoolExecutor(_READERS) as readers:
            while not is_complete:
                is_complete = True
                names = [file.name for file in self.storage.list(kind) if file.name not in seen]
                seen.update(names)
                for name, document in _read_ahead(names, readers, partial(self._try_document, kind)):
                    if document is None:
                        is_complete = False
                    else:
                        yield name, document

    def _try_document(self, kind: FileType, name: str) -> bytes | Damaged | None:
        """The JSON, or what is wrong with it; None when it is gone."""
        try:
            return self.read_document(kind, name)
        except Damaged as error:
            return error
        except FileMissing:
            return None

    def read_document(self, kind: FileType, name: str) -> bytes:
        """The JSON of an index, snapshot or lock file. Raises FileMissing, Damaged."""
        stored = self.storage.read(kind, name)
        with naming(path_of(kind, name)):
            if sha256(stored).hexdigest() != name:
                raise Malformed("the content is not what its name says")
            return unpacked.decode(self.sealer.open(stored))

    def write_document(self, kind: FileType, document: bytes) -> str:
        """Store an index, snapshot or lock; the name of its file is given back."""
        plain = unpacked.encode(document) if self.config.version > 1 else document
        stored = self.sealer.seal(plain)
        name = sha256(stored).hexdigest()
        self.storage.write(kind, name, stored)
        return name

    def write_pack(self, pack: Pack) -> None:
        """Store a pack. It counts only when an index names it."""
        self.storage.write(FileType.DATA, pack.id.hex(), pack.data)

    def snapshots(self) -> Iterator[tuple[str, Snapshot]]:
        """Every snapshot with its id, in no order. Raises Damaged, naming the file."""
        for name, document in self.read_documents(FileType.SNAPSHOT):
            with naming(path_of(FileType.SNAPSHOT, name)):
                snapshot = snapshots.parse(document)
            yield name, snapshot

    def read_snapshot(self, name: str) -> Snapshot:
        """The snapshot of that id. Raises FileMissing, Damaged."""
        document = self.read_document(FileType.SNAPSHOT, name)
        with naming(path_of(FileType.SNAPSHOT, name)):
            return snapshots.parse(document)

    def read_tree(self, id_: BlobId) -> list[Node]:
        """The nodes of a directory. Raises Damaged."""
        plain = self.read_blob(BlobType.TREE, id_)
        with naming(f"tree {id_.hex()}"):
            return decode_tree(plain)

    def read_blob(self, kind: BlobType, id_: BlobId) -> bytes:
        """The content of a blob, from any pack that has it undamaged. Raises Damaged, saying what is wrong last."""
        wrong: Damaged | FileMissing | None = None
        for place in self.index.find_all(kind, id_):
            try:
                return self._read_at(kind, place, id_)
            except (Damaged, FileMissing) as error:
                wrong = error
        why = wrong.message if wrong else "no pack of the index has it"
        raise Damaged(f"{kind} blob {id_.hex()}", why) from wrong

    def _read_at(self, kind: BlobType, place: Location, id_: BlobId) -> bytes:
        name = place.pack.hex()
        if kind is BlobType.TREE and self._tree_packs is not None:
            stored = self._tree_packs.read(place)
        else:
            stored = self.storage.read(FileType.DATA, name, place.offset, place.length)
        with naming(path_of(FileType.DATA, name)):
            return open_blob(self.sealer, id_, stored, place.uncompressed_length)

    def read_pack_header(self, name: str, size_bytes: int | None = None) -> list[PackEntry]:
        """What a pack says that it holds. Raises FileMissing, Damaged."""
        size = self.storage.size(FileType.DATA, name) if size_bytes is None else size_bytes
        with naming(path_of(FileType.DATA, name)):
            trailer = self.storage.read(FileType.DATA, name, max(0, size - TRAILER_BYTES), min(size, TRAILER_BYTES))
            length = header_length(trailer, size)
            sealed = self.storage.read(FileType.DATA, name, size - TRAILER_BYTES - length, length)
            return open_header(self.sealer, sealed, size)


def _read_ahead(
    names: list[str], readers: ThreadPoolExecutor, read: Callable[[str], Result]
) -> Iterator[tuple[str, Result]]:
    waiting: deque[tuple[str, Future[Result]]] = deque()
    for name in names:
        waiting.append((name, readers.submit(read, name)))
        if len(waiting) > _READERS:
            first, reading = waiting.popleft()
            yield first, reading.result()
    for name, reading in waiting:
        yield name, reading.result()


def add_key(storage: Storage, master: MasterKey, password: str, *, cost: keys.Cost | None = None) -> str:
    """Let `password` open the repository as well; the name of the new key file is given back."""
    stored = keys.create(
        master,
        password,
        created=from_datetime(storage.now() or datetime.now(UTC)),
        username=getpass.getuser(),
        hostname=socket.gethostname(),
        cost=cost,
    ).encode()
    name = sha256(stored).hexdigest()
    storage.write(FileType.KEY, name, stored)
    return name


def find_key(storage: Storage, password: str, *, key_hint: str | None = None) -> OpenedKey:
    """The first key file that `password` opens. A damaged one is told only when no other opens.

    Raises WrongPassword, Damaged, Unsupported.
    """
    names = sorted(file.name for file in storage.list(FileType.KEY))
    names.sort(key=lambda name: name != key_hint)
    damage: Damaged | None = None
    for name in names[:MOST_KEYS]:
        try:
            master = _unlock(storage.read(FileType.KEY, name), name, password)
        except Damaged as error:
            damage = error
            continue
        if master is not None:
            return OpenedKey(name, master)
    if damage:
        raise damage
    raise WrongPassword(f"the password opens none of the {len(names[:MOST_KEYS])} keys tried")


def _new_key(storage: Storage, password: str, cost: keys.Cost | None) -> OpenedKey:
    master = MasterKey.random()
    return OpenedKey(add_key(storage, master, password, cost=cost), master)


def _abandoned_key(storage: Storage, password: str) -> OpenedKey | None:
    """The key of an `init` that did not come to its end. Raises AlreadyExists if it is that of somebody else."""
    if next(iter(storage.list(FileType.KEY)), None) is None:
        return None
    try:
        return find_key(storage, password)
    except WrongPassword as error:
        raise AlreadyExists(FileType.KEY) from error


def _unlock(stored: Buffer, name: str, password: str) -> MasterKey | None:
    with naming(path_of(FileType.KEY, name)):
        if sha256(stored).hexdigest() != name:
            raise Malformed("the content is not what its name says")
        return keys.parse(stored).unlock(password)


def _has_config(storage: Storage) -> bool:
    try:
        storage.size(FileType.CONFIG, CONFIG_NAME)
    except FileMissing:
        return False
    return True
