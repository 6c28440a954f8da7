"""Key files: the master key, wrapped under a password by scrypt. One plain JSON file per password.

Source: restic's design document, "Keys, Encryption and MAC", and internal/repository/key.go. scrypt gives 64 bytes,
cut as in MasterKey.from_bytes; the `data` of the file is the master key as JSON, sealed under them. A wrong password
therefore shows as a seal that does not fit. The name of the file is the SHA-256 of its bytes.
"""

from __future__ import annotations

import hashlib
import os
from base64 import b64decode, b64encode
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

import orjson

from opsuite_repository.errors import Malformed, Unauthentic, Unsupported
from opsuite_repository.format.sealing import Buffer, MasterKey, Sealer
from opsuite_repository.format.times import Instant, format_instant, parse_instant
from opsuite_repository.format.unpacked import parse_object

SALT_BYTES: Final = 64
MOST_MEMORY_BYTES: Final = 1 << 30
"""A key file that asks scrypt for more is refused: whoever can write one could stop every reader with it."""


@dataclass(frozen=True, slots=True)
class Cost:
    """What one guess of the password costs. The default is what restic's calibration chooses, and two rounds more."""

    n: int = 32_768
    r: int = 8
    p: int = 5

    @property
    def memory_bytes(self) -> int:
        """What scrypt needs: 128·N·r for its table, 128·r·p for its blocks."""
        return 128 * self.r * (self.n + self.p)


@dataclass(frozen=True, slots=True)
class KeyFile:
    """One key file as it is stored."""

    created: Instant
    username: str
    hostname: str
    cost: Cost
    salt: bytes
    data: bytes = field(repr=False)
    """The sealed master key."""

    def encode(self) -> bytes:
        """The bytes of the file."""
        return orjson.dumps(
            {
                "created": format_instant(self.created),
                "username": self.username,
                "hostname": self.hostname,
                "kdf": "scrypt",
                "N": self.cost.n,
                "r": self.cost.r,
                "p": self.cost.p,
                "salt": b64encode(self.salt).decode(),
                "data": b64encode(self.data).decode(),
            }
        )

    def unlock(self, password: str) -> MasterKey | None:
        """The master key, or None when the password is not that of this file. Takes long on purpose."""
        try:
            document = Sealer(_user_key(password, self.salt, self.cost)).open(self.data)
        except Unauthentic:
            return None
        return _parse_master_key(parse_object(document))


def create(
    master: MasterKey, password: str, *, created: Instant, username: str, hostname: str, cost: Cost | None = None
) -> KeyFile:
    """A key file that opens `master` with `password`."""
    cost, salt = cost or Cost(), os.urandom(SALT_BYTES)
    document = {
        "mac": {"k": b64encode(master.mac_k).decode(), "r": b64encode(master.mac_r).decode()},
        "encrypt": b64encode(master.encrypt).decode(),
    }
    data = Sealer(_user_key(password, salt, cost)).seal(orjson.dumps(document))
    return KeyFile(created=created, username=username, hostname=hostname, cost=cost, salt=salt, data=data)


def parse(stored: Buffer) -> KeyFile:
    """The key file in `stored`. Raises Malformed, or Unsupported for another way to derive keys."""
    document = parse_object(stored)
    if document.get("kdf") != "scrypt":
        raise Unsupported(f"a key derived by {document.get('kdf')!r} cannot be read")
    return KeyFile(
        created=parse_instant(_text(document, "created")),
        username=str(document.get("username", "")),
        hostname=str(document.get("hostname", "")),
        cost=_parse_cost(document),
        salt=_secret(document, "salt"),
        data=_secret(document, "data"),
    )


def _parse_cost(document: Mapping[str, Any]) -> Cost:
    cost = Cost(n=_count(document, "N"), r=_count(document, "r"), p=_count(document, "p"))
    if cost.n < 2 or cost.n & (cost.n - 1):
        raise Malformed("N is not a power of two")
    if cost.memory_bytes > MOST_MEMORY_BYTES:
        raise Unsupported(f"the key asks for {cost.memory_bytes} bytes of memory")
    return cost


def _parse_master_key(document: Mapping[str, Any]) -> MasterKey:
    mac = document.get("mac")
    if not isinstance(mac, dict):
        raise Malformed("the master key has no MAC key")
    return MasterKey(encrypt=_secret(document, "encrypt"), mac_k=_secret(mac, "k"), mac_r=_secret(mac, "r"))


def _user_key(password: str, salt: bytes, cost: Cost) -> MasterKey:
    secret = hashlib.scrypt(
        password.encode("utf-8", "surrogateescape"),
        salt=salt,
        n=cost.n,
        r=cost.r,
        p=cost.p,
        maxmem=cost.memory_bytes + (1 << 20),  # OpenSSL refuses to use more than it was told, by a few kilobytes
        dklen=64,
    )
    return MasterKey.from_bytes(secret)


def _count(document: Mapping[str, Any], name: str) -> int:
    value = document.get(name)
    if type(value) is not int or value < 1:
        raise Malformed(f"{name} is not a positive number")
    return value


def _text(document: Mapping[str, Any], name: str) -> str:
    value = document.get(name)
    if not isinstance(value, str):
        raise Malformed(f"{name} is missing or not text")
    return value


def _secret(document: Mapping[str, Any], name: str) -> bytes:
    try:
        return b64decode(_text(document, name), validate=True)
    except ValueError as error:
        raise Malformed(f"{name} is not base64") from error
