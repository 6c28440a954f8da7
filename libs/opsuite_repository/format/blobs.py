"""Blobs: pieces of files (data) and directories (trees), named by the SHA-256 of their plain content.

Source: restic's design document, "Pack Format". A blob is compressed (or not), then sealed. restic compresses every
blob, even one that grows by it; bare blobs are as legal, and we keep those bare that compression would not make
smaller. Both are told apart by the entry in the pack's header, which holds the plain length of compressed ones only.
"""

from __future__ import annotations

from enum import StrEnum
from hashlib import sha256
from typing import Final, NamedTuple, TypeAlias

from opsuite_repository.errors import Malformed
from opsuite_repository.format.compression import DEFAULT_LEVEL, compress, decompress
from opsuite_repository.format.sealing import OVERHEAD_BYTES, Buffer, Sealer

BlobId: TypeAlias = bytes
"""32 bytes: the SHA-256 of the content."""
PackId: TypeAlias = bytes
"""32 bytes: the SHA-256 of the file."""

ID_BYTES: Final = 32
LARGEST_BLOB_BYTES: Final = (1 << 32) - 1
"""Lengths have four bytes."""


class BlobType(StrEnum):
    """What is in a blob; the value is its name in an index."""

    DATA = "data"
    TREE = "tree"


class SealedBlob(NamedTuple):
    """A blob ready to be put into a pack."""

    type: BlobType
    id: BlobId
    stored: bytes
    uncompressed_length: int
    """Of the content; 0 when it is stored uncompressed."""

    @property
    def content_bytes(self) -> int:
        """How long the content is, compressed or not."""
        return self.uncompressed_length or len(self.stored) - OVERHEAD_BYTES


def blob_id(content: Buffer) -> BlobId:
    """The name of a blob."""
    return sha256(content).digest()


def seal_blob(
    sealer: Sealer,
    kind: BlobType,
    content: Buffer,
    *,
    id_: BlobId | None = None,
    level: int | None = DEFAULT_LEVEL,
    verify: bool = True,
) -> SealedBlob:
    """Compress and seal `content`, which must not be empty.

    `id_` saves a second hash where it is known; `level` None stores it uncompressed (repositories of version 1 must).
    `verify` opens the result again and compares the hash, as restic does, against faults of memory and processor; it
    raises Malformed, and the blob must not be used.
    """
    if not content:
        raise ValueError("empty blobs do not exist: an empty file has no content")
    id_ = id_ or blob_id(content)
    packed = compress(content, level) if level is not None else None
    if packed is None or len(packed) >= len(content):
        sealed = SealedBlob(kind, id_, sealer.seal(content), 0)
    else:
        sealed = SealedBlob(kind, id_, sealer.seal(packed), len(content))
    if verify:
        open_blob(sealer, id_, sealed.stored, sealed.uncompressed_length)
    return sealed


def open_blob(sealer: Sealer, id_: BlobId, stored: Buffer, uncompressed_length: int) -> bytes:
    """The content of a stored blob. Raises Malformed unless it is exactly what `id_` names."""
    content = sealer.open(stored)
    if uncompressed_length:
        content = decompress(content, at_most=uncompressed_length)
    if blob_id(content) != id_:
        raise Malformed("the content is not what its name says")
    return content
