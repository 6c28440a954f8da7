"""Cutting files into blobs where their content says so, so that an insertion moves no cut but those near it.

Source: Xia et al., "The Design of Fast Content-Defined Chunking for Data Deduplication Based Storage Systems"
(IEEE TPDS 2020), as implemented by pyfastcdc. Sizes are restic's: 512 KiB at least, 8 MiB at most, about 1 MiB on
average (pyfastcdc's average comes on top of the smallest size). restic reads any cuts; only its own differ from these.

The gear table of FastCDC is public, and sizes of chunks would tell which known file is in a repository. The table is
therefore altered by a secret seed, derived from the master key (HKDF-SHA256, RFC 5869): the same for ever in one
repository, another in the next. `_CONTEXT` may never change, for all later backups would store everything anew.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Final, TypeAlias

from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from opsuite_repository.errors import Unsupported
from opsuite_repository.format.sealing import Buffer, MasterKey

if TYPE_CHECKING:
    import pyfastcdc  # at run time it would import its slow form, with a warning, where the compiled one is missing

SMALLEST_CHUNK_BYTES: Final = 512 << 10
LARGEST_CHUNK_BYTES: Final = 8 << 20
_AVERAGE_ABOVE_SMALLEST: Final = 1 << 20

_CONTEXT: Final = b"opsuite repository chunk boundaries 1"


def seed_of(key: MasterKey) -> int:
    """The 63 bits by which this repository's cuts differ from all others'; never 0, which is the public table."""
    secret = HKDF(algorithm=SHA256(), length=8, salt=None, info=_CONTEXT).derive(key.encrypt + key.mac_k + key.mac_r)
    return int.from_bytes(secret, "little") >> 1 or 1  # pyfastcdc doubles it in 64 bits


_Lengths: TypeAlias = Callable[[Buffer], Iterator[int]]


class Chunker:
    """Cuts buffers. One for each thread."""

    def __init__(self, seed: int) -> None:
        seeded = _seeded(seed)
        self._lengths: _Lengths = seeded or _unseeded()
        self.is_seeded = seeded is not None
        """False where only fastcdc is there: its cuts are right, but public, and others than those of pyfastcdc."""

    def cut(self, buffer: Buffer, *, final: bool) -> list[int]:
        """The lengths of the chunks that `buffer` begins with.

        Unless `final`, what comes after the last of them has to stand at the beginning of the next buffer: only more
        content, or its end, tells where that chunk is cut. A buffer of LARGEST_CHUNK_BYTES and more always gives one.
        """
        lengths: list[int] = []
        left = len(buffer)
        for length in self._lengths(buffer):
            left -= length
            if left == 0 and not final and length < LARGEST_CHUNK_BYTES:
                break
            lengths.append(length)
        return lengths


def _seeded(seed: int) -> _Lengths | None:
    """By pyfastcdc, if it is the compiled one: its pure form is two hundred times slower and not worth starting."""
    try:
        from pyfastcdc.cy import FastCDC
    except ImportError:
        return None
    fastcdc: pyfastcdc.FastCDC = FastCDC(
        _AVERAGE_ABOVE_SMALLEST, min_size=SMALLEST_CHUNK_BYTES, max_size=LARGEST_CHUNK_BYTES, seed=seed
    )
    return lambda buffer: (chunk.length for chunk in fastcdc.cut_buf(buffer))


def _unseeded() -> _Lengths:
    """By fastcdc, again only compiled. Raises Unsupported where no chunker is."""
    try:
        from fastcdc.fastcdc_cy import fastcdc_cy  # type: ignore[import-untyped]
    except ImportError as error:
        raise Unsupported("neither pyfastcdc nor fastcdc is installed with its compiled extension") from error
    average = _AVERAGE_ABOVE_SMALLEST + SMALLEST_CHUNK_BYTES
    return lambda buffer: (
        chunk.length for chunk in fastcdc_cy(buffer, SMALLEST_CHUNK_BYTES, average, LARGEST_CHUNK_BYTES)
    )
