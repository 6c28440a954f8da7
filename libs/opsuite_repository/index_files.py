"""The index files of a repository as files: what each of them says, which are damaged, and writing them anew.

What is written first and deleted after leaves a repository whole at every moment: packs may stand in several index
files. A rewrite reads the old files once more, one by one, so that it takes no more memory than one of them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Final, NamedTuple

from opsuite_repository.errors import Damaged, Malformed, naming
from opsuite_repository.format.blob_index import BlobIndex
from opsuite_repository.format.blobs import PackId
from opsuite_repository.format.index import MOST_BLOBS, IndexedPack, decode_index, encode_index
from opsuite_repository.format.packs import pack_bytes
from opsuite_repository.format.times import Instant
from opsuite_repository.repository import Repository
from opsuite_repository.storage.port import FileType, path_of

_SMALL_BLOBS: Final = MOST_BLOBS // 10
_MOST_SMALL: Final = 8
"""Once there are more index files that are that small, a rewrite puts them together."""


class IndexFile(NamedTuple):
    """One readable index file."""

    name: str
    packs: frozenset[PackId]
    blobs: int


class IndexedSize(NamedTuple):
    """What the index says of one pack."""

    blobs: int
    size_bytes: int
    """How long the file has to be."""


@dataclass(slots=True)
class LoadedIndex:
    """All index files together."""

    index: BlobIndex
    files: list[IndexFile] = field(default_factory=list)
    damaged: dict[str, Damaged] = field(default_factory=dict)
    """What is wrong with those that cannot be read, by their names."""
    packs: dict[PackId, IndexedSize] = field(default_factory=dict)
    marks: dict[PackId, Instant] = field(default_factory=dict)
    """Packs that are marked as unused wherever they stand, and since when: the latest mark counts."""


def load_tolerantly(repository: Repository) -> LoadedIndex:
    """The index as far as it can be read; `repository.index` becomes it."""
    loaded = LoadedIndex(BlobIndex())
    unmarked: set[PackId] = set()
    loaded.index = repository.index = BlobIndex.of(_packs_of_all(repository, loaded, unmarked))
    repository.index_files = frozenset(file.name for file in loaded.files)
    for pack in unmarked:
        loaded.marks.pop(pack, None)
    return loaded


def _packs_of_all(repository: Repository, loaded: LoadedIndex, unmarked: set[PackId]) -> Iterator[IndexedPack]:
    for name, packs in try_index_files(repository):
        if isinstance(packs, Damaged):
            loaded.damaged[name] = packs
            continue
        ids, blobs = frozenset(pack.id for pack in packs), sum(len(pack.entries) for pack in packs)
        loaded.files.append(IndexFile(name, ids, blobs))
        for pack in packs:
            loaded.packs[pack.id] = IndexedSize(len(pack.entries), pack_bytes(pack.entries))
            if pack.unused_since is None:
                unmarked.add(pack.id)
            else:
                loaded.marks[pack.id] = max(pack.unused_since, loaded.marks.get(pack.id, pack.unused_since))
        yield from packs


def try_index_files(repository: Repository) -> Iterator[tuple[str, list[IndexedPack] | Damaged]]:
    """The packs of each index file, or what is wrong with it."""
    for name, document in repository.try_documents(FileType.INDEX):
        if isinstance(document, Damaged):
            yield name, document
            continue
        try:
            packs = list(decode_index(document))
        except Malformed as error:
            yield name, Damaged(path_of(FileType.INDEX, name), error.message)
            continue
        yield name, packs


def rewrite(
    repository: Repository,
    files: Iterable[IndexFile],
    *,
    change: Mapping[PackId, Instant | None],
    drop: frozenset[PackId] = frozenset(),
    extra: Iterable[IndexedPack] = (),
    also_delete: Iterable[str] = (),
    guard: Callable[[], None] = lambda: None,
) -> None:
    """Write the index files anew that say what is no longer true, and delete the old ones afterwards.

    Packs in `drop` are left out, those in `change` get that mark or lose theirs, `extra` ones come in addition.
    `also_delete` names damaged files, whose packs are among `extra`. `guard` is asked before anything is deleted.
    """
    old = _to_rewrite(list(files), set(change) | drop)
    writer = _IndexWriter(repository)
    for pack in extra:
        writer.add(pack)
    for file in old:
        document = repository.read_document(FileType.INDEX, file.name)
        with naming(path_of(FileType.INDEX, file.name)):
            for pack in decode_index(document):
                if pack.id not in drop:
                    mark = change.get(pack.id, pack.unused_since)
                    writer.add(pack._replace(unused_since=mark))
    writer.flush()
    for name in (*(file.name for file in old), *also_delete):
        guard()
        repository.storage.delete(FileType.INDEX, name)


def _to_rewrite(files: list[IndexFile], changed: set[PackId]) -> list[IndexFile]:
    stale = [file for file in files if not changed.isdisjoint(file.packs)]
    small = [file for file in files if file.blobs < _SMALL_BLOBS and changed.isdisjoint(file.packs)]
    return stale + small if len(small) > _MOST_SMALL else stale


class _IndexWriter:
    """Writes packs into index files of the usual length, each pack once."""

    def __init__(self, repository: Repository) -> None:
        self._repository = repository
        self._written: set[PackId] = set()
        self._packs: list[IndexedPack] = []
        self._blobs = 0

    def add(self, pack: IndexedPack) -> None:
        if pack.id in self._written:
            return
        self._written.add(pack.id)
        self._packs.append(pack)
        self._blobs += len(pack.entries)
        if self._blobs >= MOST_BLOBS:
            self.flush()

    def flush(self) -> None:
        if self._packs:
            self._repository.write_document(FileType.INDEX, encode_index(self._packs))
        self._packs, self._blobs = [], 0
