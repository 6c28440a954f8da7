"""Credentials of metric sources: settings name where one is found, and it is looked up each time it is needed."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from opsuite_notify.secrets import Secret

Credential = Callable[[], Secret]
"""Finds the secret anew, since it may rotate. Raises: SecretMissing, SecretNotAllowed, SecretUnusable."""


def bearer(token: Credential | None) -> Mapping[str, str]:
    """The header that shows a token."""
    return {} if token is None else {"Authorization": f"Bearer {token().reveal()}"}


def revealed(credential: Credential | None) -> str | None:
    """The secret itself, for a library that wants it."""
    return None if credential is None else credential().reveal()
