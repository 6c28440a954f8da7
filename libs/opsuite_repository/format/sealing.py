"""How restic encrypts and authenticates every file and blob: AES-256-CTR, then Poly1305-AES over the ciphertext.

Sources: restic's design document, "Keys, Encryption and MAC"; D. J. Bernstein, "The Poly1305-AES
message-authentication code". What is stored is `IV (16) || ciphertext || MAC (16)`. The IV is the first counter block
of CTR. The one-time key of Poly1305 is `r || AES-128_k(IV)`; r is stored as it was drawn, and whatever computes
Poly1305 clamps it. Keys and IVs of zeroes alone are refused: they only ever come from a fault.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from hmac import compare_digest
from typing import Final, TypeAlias

from cryptography.hazmat.primitives.ciphers import Cipher, CipherContext, algorithms, modes
from cryptography.hazmat.primitives.poly1305 import Poly1305

from opsuite_repository.errors import Malformed, Unauthentic

Buffer: TypeAlias = bytes | bytearray | memoryview

IV_BYTES: Final = 16
MAC_BYTES: Final = 16
OVERHEAD_BYTES: Final = IV_BYTES + MAC_BYTES
"""How much longer the sealed form is than the plain one."""

_NO_IV: Final = bytes(IV_BYTES)
_IVS_PER_DRAW: Final = 256  # one system call serves many small blobs


@dataclass(frozen=True, slots=True)
class MasterKey:
    """The three secrets of a repository. They never change: a new password only wraps them anew."""

    encrypt: bytes = field(repr=False)
    """32 bytes, for AES-256-CTR."""
    mac_k: bytes = field(repr=False)
    """16 bytes, for the AES-128 of Poly1305-AES."""
    mac_r: bytes = field(repr=False)
    """16 bytes, not clamped."""

    def __post_init__(self) -> None:
        """Raises Malformed for a key of the wrong length, or of nothing but zeroes."""
        for name, secret, length in (("encrypt", self.encrypt, 32), ("k", self.mac_k, 16), ("r", self.mac_r, 16)):
            if len(secret) != length or not any(secret):
                raise Malformed(f"the key {name} is not {length} bytes, or nothing but zeroes")

    @classmethod
    def random(cls) -> MasterKey:
        """The key of a new repository."""
        return cls(encrypt=os.urandom(32), mac_k=os.urandom(16), mac_r=os.urandom(16))

    @classmethod
    def from_bytes(cls, secret: bytes) -> MasterKey:
        """The key made of 64 derived bytes, in the order in which restic cuts scrypt's output."""
        return cls(encrypt=secret[:32], mac_k=secret[32:48], mac_r=secret[48:64])


class Sealer:
    """Seals and opens under one key, from any number of threads at once.

    Making a cipher context costs more than sealing a small blob, so that each thread keeps one and only resets its IV.
    """

    def __init__(self, key: MasterKey) -> None:
        self._key = key
        self._own = threading.local()

    def seal(self, plain: Buffer) -> bytes:
        """`plain` encrypted and authenticated under a fresh IV, OVERHEAD_BYTES longer."""
        own = self._contexts()
        iv = next(own.ivs)
        ciphertext = own.crypt(iv, plain)
        return b"".join((iv, ciphertext, own.mac(iv, ciphertext)))

    def open(self, sealed: Buffer) -> bytes:
        """What was sealed. Raises Unauthentic when any bit differs; not a byte has been decrypted then."""
        view = memoryview(sealed)
        if len(view) < OVERHEAD_BYTES:
            raise Malformed(f"{len(view)} bytes are too few to be sealed data")
        iv, ciphertext, mac = bytes(view[:IV_BYTES]), view[IV_BYTES:-MAC_BYTES], bytes(view[-MAC_BYTES:])
        own = self._contexts()
        if iv == _NO_IV or not compare_digest(own.mac(iv, ciphertext), mac):
            raise Unauthentic("the seal does not fit the content")
        return own.crypt(iv, ciphertext)

    def _contexts(self) -> _Contexts:
        own: _Contexts | None = getattr(self._own, "contexts", None)
        if own is None or own.forks != _forks:
            own = self._own.contexts = _Contexts(self._key)
        return own


class _Contexts:
    """The cipher contexts of one thread."""

    def __init__(self, key: MasterKey) -> None:
        self._counter: CipherContext = Cipher(algorithms.AES(key.encrypt), modes.CTR(_NO_IV)).encryptor()
        # ECB of exactly one block is the bare AES of the paper, not a mode of encryption.
        self._block = Cipher(algorithms.AES(key.mac_k), modes.ECB()).encryptor()  # noqa: S305
        self._r = key.mac_r
        self.ivs = _fresh_ivs()
        self.forks = _forks
        """A forked child draws its own IVs: one used twice under a key would give both plaintexts away."""

    def crypt(self, iv: bytes, data: Buffer) -> bytes:
        """Encrypt or decrypt: in CTR they are the same."""
        self._counter.reset_nonce(iv)
        return self._counter.update(data)

    def mac(self, iv: bytes, ciphertext: Buffer) -> bytes:
        return Poly1305.generate_tag(self._r + self._block.update(iv), ciphertext)


_forks = 0
"""How many forks lie between this process and the one that began. Asking for the process id is a call of the system."""


def _count_fork() -> None:
    global _forks  # there is one process
    _forks += 1


os.register_at_fork(after_in_child=_count_fork)


def _fresh_ivs() -> Iterator[bytes]:
    """Random IVs without end."""
    while True:
        drawn = os.urandom(IV_BYTES * _IVS_PER_DRAW)
        for at in range(0, len(drawn), IV_BYTES):
            iv = drawn[at : at + IV_BYTES]
            if iv != _NO_IV:
                yield iv
