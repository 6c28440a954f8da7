"""The config of a repository: its version, its identity, and the polynomial of restic's chunker.

Source: restic's design document, "Repository Layout", and internal/restic/config.go. The config is sealed JSON without
compression; its name is `config`, not a hash. restic refuses a repository whose polynomial is reducible, so that one is
made here although our chunker has no use for it. Irreducibility is decided by Ben-Or's test: f of degree n is
irreducible over GF(2) if it shares no factor with x^(2^i) - x for every i up to n/2.
"""

from __future__ import annotations

import re
import secrets
from dataclasses import dataclass
from typing import Final

import orjson

from opsuite_repository.errors import Malformed, Unsupported
from opsuite_repository.format.sealing import Buffer
from opsuite_repository.format.unpacked import parse_object

POLYNOMIAL_DEGREE: Final = 53
VERSIONS: Final = (1, 2)
NEWEST: Final = 2
_ID: Final = re.compile(r"[0-9a-f]{64}")
_POLYNOMIAL: Final = re.compile(r"[0-9a-f]{1,16}")


@dataclass(frozen=True, slots=True)
class Config:
    """What holds for a whole repository."""

    version: int
    """2, or 1 for a repository that knows no compression."""
    id: str
    """64 hexadecimal digits, drawn at random."""
    chunker_polynomial: int
    """Its bits are the coefficients; irreducible, degree 53."""

    def encode(self) -> bytes:
        """The plaintext of the file, to be sealed as it is."""
        return orjson.dumps(
            {"version": self.version, "id": self.id, "chunker_polynomial": f"{self.chunker_polynomial:x}"}
        )


def create() -> Config:
    """The config of a new repository."""
    return Config(version=NEWEST, id=secrets.token_hex(32), chunker_polynomial=random_polynomial())


def parse(plain: Buffer) -> Config:
    """The config in an opened file. Raises Malformed, or Unsupported for a version that is not known."""
    document = parse_object(plain)
    version, name, polynomial = (document.get(key) for key in ("version", "id", "chunker_polynomial"))
    if type(version) is not int or not isinstance(name, str) or not isinstance(polynomial, str):
        raise Malformed("version, id or polynomial is missing")
    if version not in VERSIONS:
        raise Unsupported(f"repositories of version {version} cannot be read")
    if not _ID.fullmatch(name) or not _POLYNOMIAL.fullmatch(polynomial):
        raise Malformed("id or polynomial is not hexadecimal")
    if not is_irreducible(int(polynomial, 16)):
        raise Malformed("the polynomial is reducible")
    return Config(version=version, id=name, chunker_polynomial=int(polynomial, 16))


def random_polynomial() -> int:
    """An irreducible polynomial of degree 53, drawn evenly (about one in 27 of the odd ones is)."""
    while True:
        drawn = 1 << POLYNOMIAL_DEGREE | secrets.randbits(POLYNOMIAL_DEGREE) | 1
        if is_irreducible(drawn):
            return drawn


def is_irreducible(polynomial: int) -> bool:
    """Whether no two polynomials over GF(2) of lower degree multiply to this one."""
    degree = polynomial.bit_length() - 1
    if degree < 1:
        return False
    power = 0b10  # x
    for _ in range(degree // 2):
        power = _remainder(_square(power), polynomial)
        if _common_divisor(polynomial, power ^ 0b10) != 1:
            return False
    return True


def _square(polynomial: int) -> int:
    """Over GF(2) the square only spreads the coefficients: every second one is zero."""
    return int("0".join(f"{polynomial:b}"), 2)


def _remainder(dividend: int, divisor: int) -> int:
    length = divisor.bit_length()
    while (excess := dividend.bit_length() - length) >= 0:
        dividend ^= divisor << excess
    return dividend


def _common_divisor(one: int, other: int) -> int:
    while other:
        one, other = other, _remainder(one, other)
    return one
