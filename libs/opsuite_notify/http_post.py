"""One POST to a webhook, and what its status means.

URLs of webhooks come from whoever may register pipelines, and the request is made from inside the fleet's network. So
only http and https are spoken, redirects are not followed, nothing of the answer but its status is used, and settings
can limit the hosts.
"""

from __future__ import annotations

import math
import ssl
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from typing import Final

import aiohttp
from yarl import URL

from opsuite_kernel.clock import Clock
from opsuite_notify.port import NotNow, Refused, SendResult, Sent

_REQUEST_TIMEOUT: Final = 408
_TOO_MANY_REQUESTS: Final = 429
_LONGEST_WAIT_SECONDS: Final = 31_536_000
"""A year: keeps absurd numbers out of timedelta."""


class HttpPoster:
    """Posts over one session that keeps no cookies."""

    def __init__(
        self, clock: Clock, *, allowed_hosts: frozenset[str] | None = None, tls: ssl.SSLContext | None = None
    ) -> None:
        """`allowed_hosts` (lower case) None means any; `tls` None means the certificate authorities of the system."""
        self._clock = clock
        self._allowed_hosts = allowed_hosts
        self._tls = tls
        self._session: aiohttp.ClientSession | None = None

    async def close(self) -> None:
        """Close the session; repeating is fine."""
        if self._session is not None:
            await self._session.close()
            self._session = None

    async def post(self, url: str, body: bytes, headers: Mapping[str, str]) -> SendResult:
        """What came of one try; no reason ever holds the URL, which may be a secret."""
        try:
            target = URL(url)
        except ValueError:
            return Refused("the URL is malformed")
        if refusal := self._judge(url, target):
            return refusal
        try:
            async with self._http().post(target, data=body, headers=headers, allow_redirects=False) as response:
                return self._result(response.status, response.headers.get("Retry-After"))
        except (aiohttp.InvalidURL, UnicodeError):
            return Refused("the URL is malformed")
        except (aiohttp.ClientError, OSError) as error:
            return NotNow(f"no HTTP answer ({type(error).__name__})")

    def _judge(self, written: str, target: URL) -> Refused | None:
        """The host is judged as the client understands it, not as another parser might."""
        if not written.isprintable() or target.scheme not in {"http", "https"} or not target.host:
            return Refused("the URL is not of http or https")
        if self._allowed_hosts is not None and target.host.lower() not in self._allowed_hosts:
            return Refused(f"the settings do not allow messages to the host {target.host}")
        return None

    def _result(self, status: int, retry_after: str | None) -> SendResult:
        if 200 <= status < 300:
            return Sent()
        if status >= 500 or status in {_REQUEST_TIMEOUT, _TOO_MANY_REQUESTS}:
            return NotNow(f"HTTP {status}", retry_after=retry_after_of(retry_after, self._clock.now()))
        return Refused(f"HTTP {status}")

    def _http(self) -> aiohttp.ClientSession:
        if self._session is None:
            self._session = aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(limit=0, ssl=True if self._tls is None else self._tls),
                cookie_jar=aiohttp.DummyCookieJar(),
                timeout=aiohttp.ClientTimeout(total=None, sock_connect=None),
                headers={"User-Agent": "opsuite", "Content-Type": "application/json"},
                trust_env=False,
            )
        return self._session


def retry_after_of(header: str | None, now: datetime) -> timedelta | None:
    """The pause that a `Retry-After` (RFC 9110, 10.2.3: seconds or a date) asks for; None without a sensible one."""
    if not header:
        return None
    try:
        seconds = float(header) if header.strip().isdigit() else _seconds_until(header, now)
    except (ValueError, OverflowError):
        return None
    if not math.isfinite(seconds):
        return None
    return timedelta(seconds=min(max(seconds, 0), _LONGEST_WAIT_SECONDS))


def _seconds_until(date: str, now: datetime) -> float:
    moment = parsedate_to_datetime(date)
    return (moment.replace(tzinfo=moment.tzinfo or UTC) - now).total_seconds()
