"""Whether bytes that came from a storage are the bytes that were asked for."""

from __future__ import annotations

from hashlib import sha256

from opsuite_repository.errors import Damaged
from opsuite_repository.storage.port import FileType, path_of


def checked(kind: FileType, name: str, data: bytes, offset: int, length: int | None) -> bytes:
    """Give `data` back. Raises Damaged when it is shorter than asked for, or a whole file that belies its name."""
    if length is not None and len(data) != length:
        raise Damaged(path_of(kind, name), f"{length} bytes at {offset} were asked for, {len(data)} are there")
    if length is None and offset == 0 and kind is not FileType.CONFIG and sha256(data).hexdigest() != name:
        raise Damaged(path_of(kind, name), "its content is not what its name says")
    return data
