"""Reading packs to the last byte: the file is what its name says, and holds what its header and the index say."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from hashlib import sha256
from typing import Final, NamedTuple

from opsuite_repository.check_report import DamageKind, Finding
from opsuite_repository.errors import Damaged, FileMissing, Malformed
from opsuite_repository.format.blobs import PackId, open_blob
from opsuite_repository.format.packs import PackEntry, entries_of
from opsuite_repository.index_files import LoadedIndex
from opsuite_repository.repository import Repository
from opsuite_repository.storage.port import FileType, path_of

_THREADS: Final = max(2, min(4, os.cpu_count() or 1))


class CheckedPack(NamedTuple):
    """What reading one pack told."""

    size_bytes: int
    findings: list[Finding]


def check_packs(
    repository: Repository, loaded: LoadedIndex, packs: Iterable[tuple[PackId, int]]
) -> Iterator[CheckedPack]:
    """Read these packs, given with the sizes of their files; as many as there are threads are in memory at once."""
    under_way: deque[Future[CheckedPack]] = deque()
    with ThreadPoolExecutor(_THREADS, thread_name_prefix="check") as threads:
        for pack, size in packs:
            under_way.append(threads.submit(_checked, repository, loaded, pack, size))
            if len(under_way) >= _THREADS:
                yield under_way.popleft().result()
        while under_way:
            yield under_way.popleft().result()


def _checked(repository: Repository, loaded: LoadedIndex, pack: PackId, size: int) -> CheckedPack:
    file = path_of(FileType.DATA, pack.hex())
    try:
        data = repository.storage.read(FileType.DATA, pack.hex(), 0, size)
    except FileMissing:  # it was there when packs were listed
        return CheckedPack(0, [Finding(file, DamageKind.PACK_MISSING, "it vanished during the check")])
    except Damaged as error:
        return CheckedPack(0, [Finding(file, DamageKind.PACK_DAMAGED, error.why)])
    if sha256(data).digest() != pack:
        why = "its content is not what its name says"
        return CheckedPack(size, [Finding(file, DamageKind.PACK_DAMAGED, why)])
    return CheckedPack(size, list(_wrong_inside(repository, loaded, pack, data)))


def _wrong_inside(repository: Repository, loaded: LoadedIndex, pack: PackId, data: bytes) -> Iterator[Finding]:
    """What is wrong with a file that is what it was when it was written: its writer, or the index, was at fault."""
    file = path_of(FileType.DATA, pack.hex())
    try:
        entries = entries_of(repository.sealer, data)
    except Malformed as error:
        yield Finding(file, DamageKind.PACK_DAMAGED, error.message)
        return
    view = memoryview(data)
    for entry in entries:
        try:
            stored = view[entry.offset : entry.offset + entry.length]
            open_blob(repository.sealer, entry.id, stored, entry.uncompressed_length)
        except Malformed as error:
            yield Finding(file, DamageKind.PACK_DAMAGED, f"{entry.type} blob {entry.id.hex()}: {error.message}")
    if pack not in loaded.packs:
        return
    if len(entries) != loaded.packs[pack].blobs or not all(_is_indexed(loaded, pack, entry) for entry in entries):
        yield Finding(file, DamageKind.INDEX_WRONG, "the index names other blobs in it than its header")


def _is_indexed(loaded: LoadedIndex, pack: PackId, entry: PackEntry) -> bool:
    """Whether the index has the blob in just this place."""
    place = (pack, entry.offset, entry.length, entry.uncompressed_length)
    return any(tuple(each) == place for each in loaded.index.find_all(entry.type, entry.id))
