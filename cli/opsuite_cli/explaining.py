"""Errors in words: what is wrong, every violation by its path, and what to do about it. Pure."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final

from opsuite_kernel.errors import (
    Conflict,
    Denied,
    Exhausted,
    Internal,
    InvalidInput,
    NotFound,
    OpsuiteError,
    Stale,
    TimedOut,
    Unauthenticated,
    Unavailable,
)

_TLS_WORDS: Final = ("certificate", "handshake", "ssl", "tls")


def explained(error: OpsuiteError, address: str) -> list[str]:
    """What to print for an error of a call to `address`."""
    hint = next((tell(error, address) for kind, tell in _HINTS if isinstance(error, kind)), "")
    return [*_what(error, address), *([f"hint: {hint}"] if hint else [])]


def _what(error: OpsuiteError, address: str) -> Sequence[str]:
    if _is_nobody_there(error):
        return [f"error: nothing answers at {address}"]
    if not isinstance(error, InvalidInput):
        return [f"error: {error.message}"]
    told = [f"{one.field}: {one.description}" if one.field else one.description for one in error.violations]
    if len(told) == 1:
        return [f"error: {told[0]}"]
    return [f"error: {len(told)} things are wrong", *(f"  {line}" for line in told)]


def _is_nobody_there(error: OpsuiteError) -> bool:
    return isinstance(error, Unavailable) and "failed to connect" in error.message and not _is_about_tls(error)


def _is_about_tls(error: OpsuiteError) -> bool:
    return any(word in error.message.lower() for word in _TLS_WORDS)


def _unavailable(error: OpsuiteError, address: str) -> str:
    if _is_about_tls(error):
        return (
            "the server may want a client certificate: set OPSUITE_CERT_FILE and OPSUITE_KEY_FILE, "
            "and OPSUITE_CA_FILE for its own"
        )
    return "start the deployer with: opsuite up" if _is_nobody_there(error) else f"{address} cannot help now; try again"


def _not_found(error: OpsuiteError, _address: str) -> str:
    kind = getattr(error, "kind", "")
    return {
        "pipeline": "see which there are: opsuite pipeline list",
        "deployment": "see which there are: opsuite history",
        "file": "`opsuite up` says where its token is; give it with --token-file",
    }.get(kind, "")


def _conflict(error: OpsuiteError, _address: str) -> str:
    if error.reason == "NO_PREVIOUS_DEPLOYMENT":
        return "see what succeeded: opsuite history --status SUCCEEDED"
    if error.reason in {"ENVIRONMENT_OCCUPIED", "PIPELINE_IN_USE"}:
        holder = error.metadata.get("holder") or error.metadata.get("deployment", "")
        return f"wait for it: opsuite watch {holder.rpartition('/')[2]}"
    if deployment := error.metadata.get("deployment"):
        return f"see where it stands: opsuite explain {deployment.rpartition('/')[2]}"
    return ""


def _exhausted(error: OpsuiteError, _address: str) -> str:
    wait = getattr(error, "retry_after", None)
    return f"try again in {wait.total_seconds():g} s" if wait else "try again later"


def _said(text: str) -> Callable[[OpsuiteError, str], str]:
    return lambda _error, _address: text


_HINTS: Final[Sequence[tuple[type[OpsuiteError], Callable[[OpsuiteError, str], str]]]] = (
    (Exhausted, _exhausted),
    (Unavailable, _unavailable),
    (NotFound, _not_found),
    (Conflict, _conflict),
    (Stale, _said("read it again, then try again")),
    (Denied, _said("the policy file of the server says who may do this")),
    (Unauthenticated, _said("give the token with --token-file, OPSUITE_TOKEN_FILE or OPSUITE_TOKEN")),
    (TimedOut, _said("whether it took effect is not known: look with `opsuite history`")),
    (Internal, _said("the log of the server has more under this id")),
)
"""What to do, by kind; the first that fits. InvalidInput says it itself."""
