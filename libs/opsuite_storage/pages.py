"""Pages of a List request: each begins where the one before ended, found by key and never by counting rows.

A page token holds the keys of the last row seen and when it expires, signed together with the query it belongs to:
nobody can make one up, or carry one from one query to another. The signing key lives in the database, so that a token
from one replica works at the next.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import json
import secrets
from collections.abc import Sequence
from dataclasses import astuple, dataclass
from datetime import datetime, timedelta
from typing import Any, Final

import sqlalchemy as sa

from opsuite_kernel.clock import Clock
from opsuite_kernel.errors import InvalidInput, Violation
from opsuite_storage.order import Key, beyond
from opsuite_storage.store import Store

LIFETIME: Final = timedelta(days=3)
SIGNATURE_BYTES: Final = 16
KEYS: Final = sa.Table(
    "opsuite_keys",
    sa.MetaData(),
    sa.Column("purpose", sa.String(63), primary_key=True),
    sa.Column("secret", sa.LargeBinary, nullable=False),
)


@dataclass(frozen=True, slots=True)
class Listing:
    """What a token belongs to: changing any of it between two pages is refused."""

    collection: str
    parent: str = ""
    filter: str = ""
    order_by: str = ""

    def fingerprint(self) -> bytes:
        """The same for equal listings only."""
        return hashlib.sha256(json.dumps(astuple(self)).encode()).digest()


@dataclass(frozen=True, slots=True)
class Page:
    """Some rows in order, and the token of the page after them; empty when these are the last."""

    rows: Sequence[sa.Row[*tuple[Any, ...]]]
    next_token: str


class Pages:
    """Reads and writes the page tokens of one database."""

    def __init__(self, secret: bytes, clock: Clock) -> None:
        self._secret = secret
        self._clock = clock

    def read(
        self,
        connection: sa.Connection,
        statement: sa.Select[*tuple[Any, ...]],
        *,
        order: Sequence[Key],
        listing: Listing,
        token: str,
        size: int,
    ) -> Page:
        """At most `size` (1 or more) rows of `statement`, which selects the columns of `order`, after `token`.

        An empty token is the first page. Raises: InvalidInput (see `position`).
        """
        position = self.position(token, listing)
        if position is not None:
            statement = statement.where(beyond(order, position))
        # One row more than asked for tells whether there is another page.
        rows = connection.execute(statement.order_by(*(key.clause() for key in order)).limit(size + 1)).all()
        if len(rows) <= size:
            return Page(rows, "")
        last = rows[size - 1]._mapping  # noqa: SLF001 - public: SQLAlchemy keeps the plain names for columns
        return Page(rows[:size], self.token([last[key.column] for key in order], listing))

    def token(self, position: Sequence[Any], listing: Listing) -> str:
        """The token for what comes after `position`: texts, numbers, booleans and times."""
        expires = int((self._clock.now() + LIFETIME).timestamp())
        payload = json.dumps([expires, *position], separators=(",", ":"), default=_from_time).encode()
        return base64.urlsafe_b64encode(self._sign(payload, listing) + payload).rstrip(b"=").decode()

    def position(self, token: str, listing: Listing) -> list[Any] | None:
        """What `token` was made from; None when it is empty.

        Raises: InvalidInput (field `page_token`: damaged, of another query, or older than three days).
        """
        if not token:
            return None
        try:
            signed = base64.b64decode(token + "=" * (-len(token) % 4), altchars=b"-_", validate=True)
        except (binascii.Error, ValueError) as error:
            raise _refusal("is damaged") from error
        signature, payload = signed[:SIGNATURE_BYTES], signed[SIGNATURE_BYTES:]
        if not hmac.compare_digest(signature, self._sign(payload, listing)):
            raise _refusal("belongs to another query, or is damaged; a page repeats the query of the page before")
        expires, *position = json.loads(payload, object_hook=_to_time)
        if expires <= self._clock.now().timestamp():
            raise _refusal("has expired; begin again with the first page", reason="EXPIRED")
        return list(position)

    def _sign(self, payload: bytes, listing: Listing) -> bytes:
        return hmac.digest(self._secret, listing.fingerprint() + payload, "sha256")[:SIGNATURE_BYTES]


async def open_pages(store: Store, clock: Clock) -> Pages:
    """The pages of this database, whose signing key is made on the first start."""
    return Pages(await secret_of(store, "page_tokens"), clock)


async def secret_of(store: Store, purpose: str) -> bytes:
    """The database's own 32 random bytes for `purpose`, the same for all replicas; made when first asked for."""

    def find(connection: sa.Connection) -> bytes | None:
        if not sa.inspect(connection).has_table(KEYS.name):
            return None
        found: bytes | None = connection.scalar(sa.select(KEYS.c.secret).where(KEYS.c.purpose == purpose))
        return found

    def find_or_make(connection: sa.Connection) -> bytes:
        KEYS.create(connection, checkfirst=True)
        secret = find(connection)
        if secret is None:
            secret = secrets.token_bytes(32)
            connection.execute(sa.insert(KEYS).values(purpose=purpose, secret=secret))
        return secret

    found = await store.read(find)
    return await store.alter(find_or_make) if found is None else found


def _refusal(description: str, *, reason: str = "INVALID") -> InvalidInput:
    return InvalidInput([Violation("page_token", description, reason)])


def _from_time(value: Any) -> Any:
    if isinstance(value, datetime):
        return {"time": value.isoformat()}
    raise TypeError(f"a page cannot begin after a {type(value).__name__}")


def _to_time(value: dict[str, str]) -> datetime:
    return datetime.fromisoformat(value["time"])
