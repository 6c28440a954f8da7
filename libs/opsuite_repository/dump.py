"""Writing a file of a snapshot, or a folder as a tar or zip archive, to a stream.

Sources: restic's internal/dump; pax headers of POSIX.1-2001, with `SCHILY.xattr.` and `SCHILY.acl.` for extended
attributes as GNU tar, star and libarchive read them; the binary form of ACLs in Linux's posix_acl_xattr.h.
"""

from __future__ import annotations

import os
import stat
import struct
import tarfile
import zipfile
from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from enum import StrEnum
from typing import BinaryIO, Final, cast

from opsuite_kernel.errors import Conflict
from opsuite_repository.errors import Damaged
from opsuite_repository.format.blobs import BlobId, BlobType
from opsuite_repository.format.modes import permissions, to_unix
from opsuite_repository.format.trees import ExtendedAttribute, Node, NodeType
from opsuite_repository.repository import Repository
from opsuite_repository.snapshot_walk import Visited, node_at, tree_at, walk

_READERS: Final = 4
_TAR_TYPES: Final = {
    NodeType.FILE: tarfile.REGTYPE,
    NodeType.DIR: tarfile.DIRTYPE,
    NodeType.SYMLINK: tarfile.SYMTYPE,
    NodeType.FIFO: tarfile.FIFOTYPE,
    NodeType.CHAR_DEVICE: tarfile.CHRTYPE,
    NodeType.BLOCK_DEVICE: tarfile.BLKTYPE,
}
"""What an archive can hold; sockets are left out."""
_ZIP_KINDS: Final = {NodeType.FILE: stat.S_IFREG, NodeType.DIR: stat.S_IFDIR, NodeType.SYMLINK: stat.S_IFLNK}
_FIRST_YEAR_OF_ZIP: Final = 1980
_LAST_YEAR_OF_ZIP: Final = 2107
_NS: Final = 1_000_000_000


class Archive(StrEnum):
    """How a folder is written."""

    TAR = "tar"
    ZIP = "zip"


def dump(repository: Repository, tree: BlobId, path: bytes, out: BinaryIO, archive: Archive = Archive.TAR) -> None:
    """Write the file at `path` as it is, or the folder as an archive; `/` is everything.

    Raises NotFound, Conflict for what is neither file nor folder, Damaged: then what was written is not all.
    """
    top = path.strip(b"/")
    if top:
        node = node_at(repository, tree, top)
        if node.type is NodeType.FILE:
            out.writelines(contents(repository, node))
            return
        if node.type is not NodeType.DIR:
            raise Conflict(f"{os.fsdecode(path)} is neither a file nor a folder", reason="NOT_A_FILE")
    entries = walk(repository, tree_at(repository, tree, top), b"/" + top if top else b"")
    if archive is Archive.TAR:
        write_tar(repository, entries, out)
    else:
        write_zip(repository, entries, out)


def contents(repository: Repository, node: Node) -> Iterator[bytes]:
    """The content of a file piece by piece, a few read ahead. Raises Damaged, also when it is not as long as said."""
    length = 0
    for piece in _read_ahead(repository, node.content or ()):
        length += len(piece)
        yield piece
    if length != node.size:
        raise Damaged(f"the file {os.fsdecode(node.name)}", f"it has {length} bytes and should have {node.size}")


def _read_ahead(repository: Repository, blobs: Iterable[BlobId]) -> Iterator[bytes]:
    waiting: deque[Future[bytes]] = deque()
    with ThreadPoolExecutor(_READERS) as readers:
        try:
            for blob in blobs:
                waiting.append(readers.submit(repository.read_blob, BlobType.DATA, blob))
                if len(waiting) > _READERS:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            readers.shutdown(cancel_futures=True)


def write_tar(repository: Repository, entries: Iterable[Visited], out: BinaryIO) -> None:
    """A tar archive of the entries, with extended attributes and times to the nanosecond."""
    with tarfile.open(
        fileobj=out, mode="w|", format=tarfile.PAX_FORMAT, encoding="utf-8", errors="surrogateescape"
    ) as tar:
        for visited in entries:
            if visited.node.type in _TAR_TYPES:
                pieces = contents(repository, visited.node) if visited.node.type is NodeType.FILE else iter(())
                tar.addfile(_tar_header(visited), cast("BinaryIO", _Pieces(pieces)))
                if any(pieces):  # a file that has more than its header says
                    raise Damaged(f"the file {os.fsdecode(visited.path)}", "it is longer than it should be")


def _tar_header(visited: Visited) -> tarfile.TarInfo:
    node = visited.node
    header = tarfile.TarInfo(os.fsdecode(visited.path[1:]))
    header.type = _TAR_TYPES[node.type]
    header.size = node.size if node.type is NodeType.FILE else 0
    header.mode = permissions(node.mode)
    header.uid, header.gid, header.uname, header.gname = node.uid, node.gid, node.user, node.group
    header.linkname = os.fsdecode(node.link_target)
    if node.type in (NodeType.CHAR_DEVICE, NodeType.BLOCK_DEVICE):
        header.devmajor, header.devminor = os.major(node.device), os.minor(node.device)
    seconds, fraction = divmod(node.mtime.ns, _NS)
    header.mtime = seconds
    header.pax_headers = {key: value for each in node.extended_attributes for key, value in _pax(each)}
    if fraction and seconds >= 0:
        header.pax_headers["mtime"] = f"{seconds}.{fraction:09}"
    return header


_ACLS: Final = {"system.posix_acl_access": "SCHILY.acl.access", "system.posix_acl_default": "SCHILY.acl.default"}


def _pax(attribute: ExtendedAttribute) -> Iterator[tuple[str, str]]:
    value = attribute.value or b""
    if attribute.name not in _ACLS:
        yield f"SCHILY.xattr.{attribute.name}", value.decode("utf-8", "surrogateescape")
    elif (text := acl_text(value)) is not None:
        yield _ACLS[attribute.name], text


_ACL_TAGS: Final = {0x01: "user:", 0x02: "user:{}", 0x04: "group:", 0x08: "group:{}", 0x10: "mask:", 0x20: "other:"}


def acl_text(acl: bytes) -> str | None:
    """The long text form of an ACL as Linux stores it, ids as numbers; None for what is none."""
    if len(acl) < 4 or len(acl) % 8 != 4 or acl[:4] != b"\2\0\0\0":
        return None
    lines = []
    for tag, rights, id_ in struct.iter_unpack("<HHI", acl[4:]):
        if tag not in _ACL_TAGS:
            return None
        written = "".join(letter if rights & bit else "-" for letter, bit in (("r", 4), ("w", 2), ("x", 1)))
        lines.append(f"{_ACL_TAGS[tag].format(id_)}:{written}\n")
    return "".join(lines)


class _Pieces:
    """Lets tarfile read pieces as if they were a file."""

    def __init__(self, pieces: Iterator[bytes]) -> None:
        self._pieces = pieces
        self._rest = memoryview(b"")

    def read(self, size: int) -> bytes:
        """So many bytes, or fewer at the end."""
        parts: list[bytes] = []
        while size:
            if not self._rest:
                self._rest = memoryview(next(self._pieces, b""))
                if not self._rest:
                    break
            part, self._rest = self._rest[:size], self._rest[size:]
            parts.append(bytes(part))
            size -= len(part)
        return b"".join(parts)


def write_zip(repository: Repository, entries: Iterable[Visited], out: BinaryIO) -> None:
    """A zip archive of files, folders and links. Names that are not UTF-8 are written with escapes."""
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        for visited in entries:
            if visited.node.type in _ZIP_KINDS:
                header = _zip_header(visited)
                with archive.open(header, "w", force_zip64=header.file_size > 1 << 30) as entry:
                    for piece in _zip_content(repository, visited.node):
                        entry.write(piece)


def _zip_header(visited: Visited) -> zipfile.ZipInfo:
    node = visited.node
    name = visited.path[1:].decode("utf-8", "backslashreplace")
    moment = node.mtime.to_datetime()
    year = min(max(moment.year, _FIRST_YEAR_OF_ZIP), _LAST_YEAR_OF_ZIP)
    time = (year, moment.month, moment.day, moment.hour, moment.minute, moment.second)
    header = zipfile.ZipInfo(name + "/" if node.type is NodeType.DIR else name, time)
    header.compress_type = zipfile.ZIP_DEFLATED if node.type is NodeType.FILE else zipfile.ZIP_STORED
    header.create_system = 3  # Unix: the upper half of the attributes is a mode
    header.external_attr = to_unix(node.mode, _ZIP_KINDS[node.type]) << 16
    header.file_size = node.size
    return header


def _zip_content(repository: Repository, node: Node) -> Iterable[bytes]:
    if node.type is NodeType.SYMLINK:
        return [node.link_target]
    return contents(repository, node) if node.type is NodeType.FILE else ()
