"""A stream becomes the one file of a tree."""

from __future__ import annotations

import os
from hashlib import sha256
from typing import BinaryIO, Final

from opsuite_kernel.errors import InvalidInput, Violation
from opsuite_repository.format.blobs import BlobId, BlobType, seal_blob
from opsuite_repository.format.modes import DIR
from opsuite_repository.format.times import Instant
from opsuite_repository.format.trees import Node, NodeType, encode_tree
from opsuite_repository.pipeline.chunks import Chunks
from opsuite_repository.pipeline.folders import Tally
from opsuite_repository.pipeline.nodes import group_name, user_name
from opsuite_repository.pipeline.packing import Packer
from opsuite_repository.pipeline.progress import Meter
from opsuite_repository.pipeline.small_files import BatchResult, Reading
from opsuite_repository.pipeline.work import Course
from opsuite_repository.repository import Repository

_PIECE_BYTES: Final = 1 << 20


class StreamArchiver:
    """Stores one stream."""

    def __init__(
        self, repository: Repository, packer: Packer, reading: Reading, meter: Meter, course: Course, tally: Tally
    ) -> None:
        self._repository = repository
        self._packer = packer
        self._reading = reading
        self._meter = meter
        self._course = course
        self._tally = tally
        self._content: tuple[BlobId, ...] = ()
        self._size = 0

    def store(self, path: bytes, stream: BinaryIO, time: Instant) -> BlobId:
        """The tree with the stream as the file at `path`, its folders above it. Raises what the stream raises."""
        parts = [part for part in path.split(b"/") if part]
        if not parts or any(part in {b".", b".."} for part in parts):
            raise InvalidInput([Violation("name", "is no path of a file", "PATTERN")])
        self._read(stream)
        node = _node(parts[-1], NodeType.FILE, 0o644, time)
        node.content, node.size, node.links = self._content, self._size, 1
        tree = self._stored(node)
        for part in reversed(parts[:-1]):
            folder = _node(part, NodeType.DIR, DIR | 0o755, time)
            folder.subtree = tree
            tree = self._stored(folder)
            self._tally.add_folder(is_new=True, is_unmodified=False)
        return tree

    def _read(self, stream: BinaryIO) -> None:
        chunks = Chunks(self._repository, self._packer, self._reading, self._course)
        try:
            chunks.store(lambda view: self._read_into(stream, view), self._finished)
        finally:
            chunks.close()
        self._course.check()
        self._tally.add(BatchResult(files_new=1, size_bytes=self._size))
        self._meter.add(files=1)

    def _read_into(self, stream: BinaryIO, view: memoryview) -> int:
        self._course.check()
        piece = stream.read(min(len(view), _PIECE_BYTES))
        view[: len(piece)] = piece
        self._meter.add(size_bytes=len(piece))
        return len(piece)

    def _finished(self, content: tuple[BlobId, ...], size: int) -> None:
        self._content, self._size = content, size

    def _stored(self, node: Node) -> BlobId:
        plain = encode_tree([node])
        id_ = sha256(plain).digest()
        if self._packer.claim(BlobType.TREE, id_):
            level, verify = self._reading.level, self._reading.verify
            self._packer.add(
                seal_blob(self._repository.sealer, BlobType.TREE, plain, id_=id_, level=level, verify=verify)
            )
        return id_


def _node(name: bytes, kind: NodeType, mode: int, time: Instant) -> Node:
    uid, gid = os.getuid(), os.getgid()
    return Node(
        name=name, type=kind, mode=mode, mtime=time, atime=time, ctime=time,
        uid=uid, gid=gid, user=user_name(uid), group=group_name(gid),
    )  # fmt: skip
