"""Zstandard frames as restic reads them: one frame, its content size in the header, no checksum (the seal is one).

Source: restic's internal/repository/repository.go (encoder and decoder options); RFC 8878. Level 3 is what restic's
default level amounts to. Contexts are kept per thread: making one costs more than compressing a small blob.
"""

from __future__ import annotations

import threading
from typing import Final

import zstandard

from opsuite_repository.errors import Malformed
from opsuite_repository.format.sealing import Buffer

DEFAULT_LEVEL: Final = 3
_PIECE_BYTES: Final = 64 * 1024
_LARGE_BYTES: Final = 256 * 1024
_HASH_LOG: Final = 16
_CHAIN_LOG: Final = 15
"""Tables of half the size that level 3 has for large content. Those of two threads then fit the second-level cache of
one core: a tenth less time for frames that are one hundredth larger, measured on binaries, sources and logs."""
_own = threading.local()


def compress(data: Buffer, level: int = DEFAULT_LEVEL) -> bytes:
    """One zstd frame that knows the size of its content."""
    compressors: dict[tuple[int, bool], zstandard.ZstdCompressor] = _own.__dict__.setdefault("compressors", {})
    kind = level, level == DEFAULT_LEVEL and len(data) > _LARGE_BYTES
    if kind not in compressors:
        compressors[kind] = _compressor(*kind)
    return compressors[kind].compress(data)


def _compressor(level: int, has_small_tables: bool) -> zstandard.ZstdCompressor:
    if not has_small_tables:
        return zstandard.ZstdCompressor(level=level, write_checksum=False, write_content_size=True)
    parameters = zstandard.ZstdCompressionParameters.from_level(
        level, hash_log=_HASH_LOG, chain_log=_CHAIN_LOG, write_checksum=False, write_content_size=True
    )
    return zstandard.ZstdCompressor(compression_params=parameters)


def decompress(frame: Buffer, *, at_most: int) -> bytes:
    """The content of one frame, `at_most` bytes long. Raises Malformed; nothing larger is ever allocated."""
    if not hasattr(_own, "decompressor"):
        _own.decompressor = zstandard.ZstdDecompressor()
    decompressor: zstandard.ZstdDecompressor = _own.decompressor
    try:
        claimed = zstandard.frame_content_size(frame)
        if claimed > at_most:
            raise Malformed(f"compressed data of {claimed} bytes, where at most {at_most} can be")
        if claimed < 0:
            return _of_unknown_size(decompressor, frame, at_most)
        return decompressor.decompress(frame, allow_extra_data=False)
    except zstandard.ZstdError as error:
        raise Malformed(f"compressed data cannot be unpacked: {error}") from error


def _of_unknown_size(decompressor: zstandard.ZstdDecompressor, frame: Buffer, at_most: int) -> bytes:
    """Writers that stream leave the size out of the header; then the limit is watched piece by piece."""
    stream = decompressor.decompressobj()
    content, view = bytearray(), memoryview(frame)
    for at in range(0, len(view), _PIECE_BYTES):
        if stream.eof:
            raise Malformed("something follows the compressed data")
        content += stream.decompress(view[at : at + _PIECE_BYTES])
        if len(content) > at_most:
            raise Malformed(f"compressed data of more than {at_most} bytes")
    if not stream.eof or stream.unused_data:
        raise Malformed("the compressed data ends too early or too late")
    return bytes(content)
