"""Who a caller is, and how that was proved. What they may do is another question: policy.py."""

from __future__ import annotations

import enum
import hashlib
import hmac
import os
import secrets
import stat
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from opsuite_kernel.errors import Unauthenticated, Violation
from opsuite_rpc.settings import CannotServe

BEARER: Final = "bearer "
TOKEN_BYTES: Final = 32


class Proof(enum.Enum):
    """How an identity was proved."""

    LOCAL = "local"
    """Access to the data directory: the local token, or the Unix socket in its 0700 directory."""
    TOKEN = "token"  # noqa: S105  # the word, not a secret
    """A static token; the subject is its SHA-256 in hex."""
    JWT = "jwt"
    """A signed token of the trusted issuer; the subject is its `sub`."""
    SPIFFE = "spiffe"
    """A client certificate; the subject is its SPIFFE id or first URI."""


@dataclass(frozen=True, slots=True)
class Identity:
    """Somebody, as proved; never holds the secret itself."""

    proof: Proof
    subject: str = ""
    expires: float | None = field(default=None, compare=False)
    """Unix time after which the proof is worth nothing; None where it lasts as long as the policy lists it."""


LOCAL: Final = Identity(Proof.LOCAL)


def bearer_token(authorization: str) -> str:
    """The token of an `authorization: Bearer …` header. Raises Unauthenticated for any other scheme."""
    if authorization[: len(BEARER)].lower() != BEARER or not (token := authorization[len(BEARER) :].strip()):
        raise Unauthenticated("the authorization header holds no bearer token", reason="TOKEN_MALFORMED")
    return token


def token_hash(token: str) -> str:
    """SHA-256 in hex: the form in which a policy file names a token. Tokens are random, so no salt is needed."""
    return hashlib.sha256(token.encode()).hexdigest()


def certificate_identity(auth_context: Mapping[str, Iterable[bytes]]) -> Identity | None:
    """The identity of a verified client certificate; None without one, or when it holds no URI."""
    for key in ("peer_spiffe_id", "peer_uri"):
        for value in auth_context.get(key, ()):
            return Identity(Proof.SPIFFE, value.decode())
    return None


class LocalToken:
    """The token of whoever can read the data directory."""

    def __init__(self, token: str) -> None:
        self._token = token.encode()

    def matches(self, token: str) -> bool:
        """Compares in constant time."""
        return hmac.compare_digest(self._token, token.encode())


def local_token(path: Path) -> LocalToken:
    """The token in `path` (mode 0600), created on first start; safe when two processes start at once.

    Raises CannotServe when others may read the file, or it belongs to somebody else or is empty.
    """
    if not path.exists():
        _create_token(path)
    with path.open("rb") as file:
        status = os.fstat(file.fileno())
        if not stat.S_ISREG(status.st_mode) or status.st_uid != os.geteuid() or status.st_mode & 0o077:
            raise CannotServe([Violation("token_file", f"{path} must be a file of mode 0600 owned by this user")])
        token = file.read().decode().strip()
    if not token:
        raise CannotServe([Violation("token_file", f"{path} is empty; remove it and a new one is made")])
    return LocalToken(token)


def _create_token(path: Path) -> None:
    """Write a whole file beside `path`, then link it, so that nobody ever reads half a token."""
    draft = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with os.fdopen(descriptor, "w") as file:
            file.write(secrets.token_urlsafe(TOKEN_BYTES) + "\n")
            file.flush()
            os.fsync(file.fileno())
        os.link(draft, path)
    except FileExistsError:
        return  # another process was first: its token is the token
    finally:
        draft.unlink()
