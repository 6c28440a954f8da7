"""Reading many blobs out of packs, with few reads and each one checked, for whoever stores them again elsewhere."""

from __future__ import annotations

from collections import defaultdict, deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Final, NamedTuple

from opsuite_repository.errors import Damaged, FileMissing, naming
from opsuite_repository.format.blob_index import BlobIndex
from opsuite_repository.format.blobs import PackId, open_blob
from opsuite_repository.format.packs import PackEntry
from opsuite_repository.pipeline.fetching import GAP_BYTES, RUN_BYTES
from opsuite_repository.repository import Repository
from opsuite_repository.storage.port import FileType, path_of

_READERS: Final = 4


class Gathered(NamedTuple):
    """One blob: its stored form and its content, both checked, or why it cannot be had."""

    entry: PackEntry
    stored: bytes
    content: bytes
    wrong: Damaged | FileMissing | None = None


def entries_by_pack(index: BlobIndex, packs: set[PackId]) -> dict[PackId, list[PackEntry]]:
    """The blobs of these packs alone, by offset."""
    found: defaultdict[PackId, list[PackEntry]] = defaultdict(list)
    if not packs:
        return {}
    for each in (index, index.retired) if index.retired else (index,):
        for pack, entry in each.entries():
            if pack in packs:
                found[pack].append(entry)
    return {pack: sorted(entries, key=_offset) for pack, entries in found.items()}


def gather(repository: Repository, wanted: Mapping[PackId, Sequence[PackEntry]]) -> Iterator[Gathered]:
    """Each of the wanted blobs, given by pack. Memory is bounded: a few runs at a time."""
    under_way: deque[Future[list[Gathered]]] = deque()
    with ThreadPoolExecutor(_READERS, thread_name_prefix="gather") as readers:
        for pack, entries in wanted.items():
            for run in runs(sorted(entries, key=_offset)):
                under_way.append(readers.submit(read_run, repository, pack, run))
                if len(under_way) > _READERS:
                    yield from under_way.popleft().result()
        while under_way:
            yield from under_way.popleft().result()


def runs(entries: Iterable[PackEntry]) -> Iterator[list[PackEntry]]:
    """Blobs of one pack, given by offset, in groups that are worth one read each."""
    run: list[PackEntry] = []
    for entry in entries:
        if run and (
            entry.offset - (run[-1].offset + run[-1].length) > GAP_BYTES
            or entry.offset + entry.length - run[0].offset > RUN_BYTES
        ):
            yield run
            run = []
        run.append(entry)
    if run:
        yield run


def read_run(repository: Repository, pack: PackId, run: Sequence[PackEntry]) -> list[Gathered]:
    """The blobs of one run. When they cannot be read together, each is tried alone."""
    begin, end = run[0].offset, run[-1].offset + run[-1].length
    try:
        data = repository.storage.read(FileType.DATA, pack.hex(), begin, end - begin)
    except (Damaged, FileMissing) as error:
        if len(run) == 1 or isinstance(error, FileMissing):
            return [Gathered(entry, b"", b"", error) for entry in run]
        return [read_run(repository, pack, [entry])[0] for entry in run]
    view = memoryview(data)
    return [_opened(repository, pack, entry, view[entry.offset - begin :][: entry.length]) for entry in run]


def _opened(repository: Repository, pack: PackId, entry: PackEntry, stored: memoryview) -> Gathered:
    try:
        with naming(path_of(FileType.DATA, pack.hex())):
            content = open_blob(repository.sealer, entry.id, stored, entry.uncompressed_length)
    except Damaged as error:
        return Gathered(entry, b"", b"", error)
    return Gathered(entry, bytes(stored), content)


def readable(repository: Repository, gathered: Gathered) -> Gathered:
    """The blob from another pack when it could not be had from the first. Raises Damaged when no pack has it."""
    if gathered.wrong is None:
        return gathered
    entry = gathered.entry
    for place in repository.index.find_all(entry.type, entry.id):
        other = PackEntry(entry.type, entry.id, place.offset, place.length, place.uncompressed_length)
        (again,) = read_run(repository, place.pack, [other])
        if again.wrong is None:
            return again
    raise Damaged(f"{entry.type} blob {entry.id.hex()}", gathered.wrong.message) from gathered.wrong


def _offset(entry: PackEntry) -> int:
    return entry.offset
