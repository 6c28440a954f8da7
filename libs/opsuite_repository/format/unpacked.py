"""The files that hold one JSON document each: index, snapshots and locks.

Source: restic's design document, "Unpacked Data Format". Before sealing, a document is the byte 0x02 and one zstd
frame. Repositories of version 1 hold the bare JSON, which begins with `{` or `[`; so does the config of every version.
"""

from __future__ import annotations

from typing import Any, Final

import orjson

from opsuite_repository.errors import Malformed
from opsuite_repository.format.compression import compress, decompress
from opsuite_repository.format.sealing import Buffer

_ZSTD: Final = 2
_JSON_BEGINS: Final = b"{["
LARGEST_BYTES: Final = 1 << 30
"""No document is as long; a frame that claims more is not unpacked."""


def encode(document: bytes) -> bytes:
    """The plaintext to seal for a JSON document."""
    return bytes((_ZSTD,)) + compress(document)


def decode(plain: Buffer) -> bytes:
    """The JSON document inside an opened file. Raises Malformed."""
    if not plain:
        raise Malformed("the file is empty")
    first = plain[0]
    if first in _JSON_BEGINS:
        return bytes(plain)
    if first != _ZSTD:
        raise Malformed(f"an encoding of the number {first} is not known")
    return decompress(memoryview(plain)[1:], at_most=LARGEST_BYTES)


def parse_object(document: Buffer) -> dict[str, Any]:
    """The JSON object in `document`. Raises Malformed for anything else."""
    try:
        parsed = orjson.loads(document)
    except orjson.JSONDecodeError as error:
        raise Malformed(f"not JSON: {error}") from error
    if not isinstance(parsed, dict):
        raise Malformed("a JSON object was expected")
    return parsed
