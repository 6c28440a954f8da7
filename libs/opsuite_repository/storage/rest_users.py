"""Who may use a REST server: a file of names and salted scrypt hashes, and a memory of passwords that were right.

One user a line: `name:ln:salt:hash`, where 2^ln is scrypt's cost (with r=8, p=1), salt and hash in URL-safe Base64.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import os
import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final, Self

_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}")
_LOG_COST: Final = 15
_BLOCK: Final = 8


@dataclass(frozen=True, slots=True)
class PasswordHash:
    """What is kept of a password."""

    log_cost: int
    salt: bytes
    digest: bytes

    @classmethod
    def of(cls, password: str, *, log_cost: int = _LOG_COST) -> Self:
        """Hash a new password under a new salt."""
        salt = os.urandom(16)
        return cls(log_cost, salt, _scrypt(password, salt, log_cost))

    def fits(self, password: str) -> bool:
        """Whether it is the hash of this password; takes tens of milliseconds and 32 MiB, that is its purpose."""
        return hmac.compare_digest(self.digest, _scrypt(password, self.salt, self.log_cost))


_NOBODY: Final = PasswordHash(_LOG_COST, b"\0" * 16, b"\0" * 32)
"""Compared with for names that are unknown, so that the time of an answer does not tell which names exist."""


class Users:
    """The users of one server."""

    def __init__(self, hashes: dict[str, PasswordHash]) -> None:
        self._hashes = dict(hashes)
        self._key = os.urandom(32)
        self._right: dict[str, bytes] = {}

    @classmethod
    def parse(cls, lines: Iterable[str]) -> Self:
        """Read the lines of a file of users; empty ones and those that begin with `#` say nothing."""
        return cls(dict(_user(line.strip()) for line in lines if line.strip() and not line.startswith("#")))

    def recall(self, name: str, password: str) -> bool:
        """Whether this password was right before; quick."""
        known = self._right.get(name)
        return known is not None and hmac.compare_digest(known, self._keyed(password))

    def check(self, name: str, password: str) -> bool:
        """Whether the password is that of the user; slow, unless it was right before."""
        if self.recall(name, password):
            return True
        if not self._hashes.get(name, _NOBODY).fits(password) or name not in self._hashes:
            return False
        self._right[name] = self._keyed(password)
        return True

    def _keyed(self, password: str) -> bytes:
        """A fingerprint that is worth nothing outside of this process: its key is never written down."""
        return hmac.digest(self._key, password.encode(), "sha256")


def user_line(name: str, password: str) -> str:
    """The line of a file of users for this name and password."""
    if not is_user_name(name):
        raise ValueError(f"a user cannot be called {name!r}")
    kept = PasswordHash.of(password)
    return f"{name}:{kept.log_cost}:{_text(kept.salt)}:{_text(kept.digest)}"


def is_user_name(name: str) -> bool:
    """Whether the name can stand in a path as it is: a letter or digit first, no slash, nothing that is quoted."""
    return _NAME.fullmatch(name) is not None


def _user(line: str) -> tuple[str, PasswordHash]:
    try:
        name, log_cost, salt, digest = line.split(":")
        kept = PasswordHash(int(log_cost), base64.urlsafe_b64decode(salt), base64.urlsafe_b64decode(digest))
    except ValueError as error:
        raise ValueError("a line of the file of users is not name:ln:salt:hash") from error
    if not is_user_name(name) or not 10 <= kept.log_cost <= 20 or len(kept.salt) < 16 or len(kept.digest) != 32:
        raise ValueError(f"the line of user {name!r} is not usable")
    return name, kept


def _scrypt(password: str, salt: bytes, log_cost: int) -> bytes:
    needed = 128 * _BLOCK * 2**log_cost
    return hashlib.scrypt(
        password.encode(), salt=salt, n=2**log_cost, r=_BLOCK, p=1, maxmem=2 * needed + 2**20, dklen=32
    )


def _text(value: bytes) -> str:
    return base64.urlsafe_b64encode(value).decode()
