from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from opsuite_probes.body import holds
from opsuite_probes.port import BODY_LIMIT_BYTES


class Pieces:
    """A body that arrives in these pieces; keeps how much was read."""

    def __init__(self, *pieces: bytes) -> None:
        self._pieces = list(pieces)
        self.read_bytes = 0

    async def read(self, n: int, /) -> bytes:
        if not self._pieces:
            return b""
        piece = self._pieces.pop(0)
        if piece[n:]:
            self._pieces.insert(0, piece[n:])
        self.read_bytes += len(piece[:n])
        return piece[:n]


@given(st.lists(st.binary(min_size=1, max_size=4), max_size=8), st.binary(min_size=1, max_size=6))
async def test_text_is_found_wherever_the_pieces_are_cut(pieces: list[bytes], wanted: bytes) -> None:
    assert await holds(Pieces(*pieces), wanted) == (wanted in b"".join(pieces))


@given(st.binary(min_size=2, max_size=6), st.integers(0, 6))
async def test_a_text_cut_in_two_is_found(wanted: bytes, cut: int) -> None:
    assert await holds(Pieces(*filter(None, [b"before " + wanted[:cut], wanted[cut:] + b" after"])), wanted)


async def test_nothing_is_read_beyond_the_limit() -> None:
    body = Pieces(b"x" * (BODY_LIMIT_BYTES - 1), b"yz" * 100)

    assert not await holds(body, b"yz")
    assert body.read_bytes == BODY_LIMIT_BYTES


async def test_nothing_is_read_after_the_text_was_found() -> None:
    body = Pieces(b"1.2.0", b"more")

    assert await holds(body, b"1.2.0")
    assert body.read_bytes == 5
