"""What the backup benchmarks back up: the same bytes on every machine, as far as time allows to make them."""

from __future__ import annotations

import os
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Final

MIB: Final = 1 << 20
_PARTS: Final = (500, 400, 200, 200, 64, 50)
_METHODS: Final = ("GET", "PUT", "POST", "DELETE")
_PLACES: Final = ("checkout", "orders", "users", "search", "inventory", "sessions", "metrics", "health")
_LEVELS: Final = ("INFO", "INFO", "INFO", "WARN", "DEBUG", "ERROR")
_LINES_AT_ONCE: Final = 4000


def make_mixed(root: Path, megabytes: int) -> None:
    """Half text of a log, half noise: files of 500 down to 1 MiB, as many as fit."""
    chance = random.Random(2026)
    left = megabytes
    sizes = []
    for size in _PARTS:
        if left * 3 // 4 >= size:
            sizes.append(size)
            left -= size
    sizes += [1] * left
    noise = text = 0
    for at, size in enumerate(sizes):
        folder = root / f"part{at % 20}"
        folder.mkdir(parents=True, exist_ok=True)
        is_text = text <= noise
        text, noise = text + size * is_text, noise + size * (not is_text)
        with (folder / f"file{at}.{'log' if is_text else 'bin'}").open("wb") as file:
            for piece in _log(chance, size * MIB) if is_text else _noise(chance, size * MIB):
                file.write(piece)


def make_small(root: Path, count: int, *, per_folder: int = 100) -> None:
    """Files of 2 to 6 KiB, half text, half noise."""
    chance = random.Random(20_000)
    text = b"".join(_log(chance, 4 * MIB))
    for at in range(count):
        folder = root / f"d{at // per_folder // 20}" / f"e{at // per_folder % 20}"
        if at % per_folder == 0:
            folder.mkdir(parents=True, exist_ok=True)
        size = chance.randrange(2048, 6144)
        begin = chance.randrange(len(text) - size)
        (folder / f"file{at}").write_bytes(text[begin : begin + size] if at % 2 else chance.randbytes(size))


def make_entries(root: Path, count: int, *, per_folder: int = 1000) -> None:
    """Files of a few bytes, for measurements of walking."""
    for at in range(count):
        folder = root / f"d{at // per_folder:04}"
        if at % per_folder == 0:
            folder.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(folder / f"file{at}", os.O_WRONLY | os.O_CREAT, 0o644)
        os.write(descriptor, b"%d" % (at % 64))
        os.close(descriptor)


def _log(chance: random.Random, size: int) -> Iterator[bytes]:
    clock = 1_790_000_000.0
    while size > 0:
        lines = []
        ids = chance.randbytes(16 * _LINES_AT_ONCE).hex()
        for at in range(_LINES_AT_ONCE):
            clock += 0.0137
            drawn = int(ids[at * 32 : at * 32 + 8], 16)
            lines.append(
                f"{clock:.3f} {_LEVELS[drawn % 6]} {_PLACES[drawn >> 3 & 7]}-{drawn >> 6 & 3} "
                f"{_METHODS[drawn >> 8 & 3]} /api/v2/{_PLACES[drawn >> 10 & 7]}/{drawn >> 13 & 0xFFF} "
                f"status={200 + (drawn & 3) * 100} duration_ms={drawn % 977} request={ids[at * 32 : at * 32 + 32]}\n"
            )
        piece = "".join(lines).encode()[:size]
        size -= len(piece)
        yield piece


def _noise(chance: random.Random, size: int) -> Iterator[bytes]:
    while size > 0:
        piece = chance.randbytes(min(size, 4 * MIB))
        size -= len(piece)
        yield piece
