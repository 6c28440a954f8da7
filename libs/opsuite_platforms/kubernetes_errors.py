"""What a Kubernetes API server answers instead of what was asked for, as errors of this project. Pure.

The server says no with a `Status` object: HTTP code, reason in one word, message, and causes by field. Its own message
is passed on word for word: it names the field, the quota, the verb or the other owner, and people search for it.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from datetime import timedelta
from http import HTTPStatus
from typing import Any, Final

from opsuite_kernel.errors import Conflict, Denied, InvalidInput, NotFound, OpsuiteError, Stale, Unavailable, Violation

# Reason of an Unavailable where the server itself asks to be asked again: it is overloaded, or about to be ready.
BUSY: Final = "KUBERNETES_BUSY"
UNAUTHENTICATED: Final = "KUBERNETES_UNAUTHENTICATED"
# How RBAC refuses; quotas and admission refuse with the same code and reason, but for what is asked, not for who asks.
RBAC_REFUSAL: Final = re.compile(r'User "(?P<user>[^"]*)" cannot (?P<verb>\S+) (resource|path) "(?P<resource>[^"]*)"')
# A field that the kind does not have is a fault of the caller, which server-side apply answers with 500.
UNKNOWN_FIELD: Final = "failed to create typed patch object"


def error_of(code: int, body: bytes, what: str, retry_after: str = "") -> OpsuiteError:
    """The error that an answer amounts to; `what` names the thing asked for: "deployment web"."""
    status = status_of(body)
    message = str(status.get("message") or f"the API server answers {code}")
    if code in {HTTPStatus.TOO_MANY_REQUESTS, HTTPStatus.SERVICE_UNAVAILABLE}:
        return unavailable(message, reason=BUSY, retry_after=seconds_of(retry_after))
    if code >= HTTPStatus.INTERNAL_SERVER_ERROR and UNKNOWN_FIELD not in message:
        return unavailable(message)
    if code == HTTPStatus.UNAUTHORIZED:
        return Unavailable(
            f"the Kubernetes API server does not know who asks ({message}): give the service a valid token",
            reason=UNAUTHENTICATED,
        )
    if code == HTTPStatus.NOT_FOUND:
        return _not_found(status, what)
    if code == HTTPStatus.FORBIDDEN:
        return _forbidden(message)
    if code == HTTPStatus.CONFLICT:
        return _conflict(status, message)
    return InvalidInput(_violations(status, message), message=message, reason="REFUSED_BY_KUBERNETES")


def status_of(body: bytes) -> Mapping[str, Any]:
    """The server's `Status`; one that holds the text itself when the answer is something else."""
    try:
        status = json.loads(body)
    except ValueError:
        status = None
    if isinstance(status, dict) and status.get("kind") == "Status":
        return status
    return {"message": body.decode(errors="replace").strip()[:500]}


def seconds_of(retry_after: str) -> timedelta | None:
    """The time that a `Retry-After` header asks for; the form with a date is not used by API servers."""
    return timedelta(seconds=int(retry_after)) if retry_after.isdecimal() else None


def unavailable(
    why: str, *, reason: str = "KUBERNETES_UNAVAILABLE", retry_after: timedelta | None = None
) -> Unavailable:
    """The error of a server that gives no answer, or none that helps."""
    return Unavailable(f"the Kubernetes API server cannot answer now: {why}", retry_after=retry_after, reason=reason)


def _not_found(status: Mapping[str, Any], what: str) -> NotFound:
    details = status.get("details") or {}
    if details.get("kind") == "namespaces":  # it may be what is missing, whatever was asked for in it
        return NotFound("namespace", str(details.get("name", "")), reason="NAMESPACE_UNKNOWN")
    kind, _, name = what.partition(" ")
    return NotFound(kind, name)


def _forbidden(message: str) -> OpsuiteError:
    if (refusal := RBAC_REFUSAL.search(message)) is None:
        return Conflict(message, reason="REFUSED_BY_KUBERNETES")
    advice = "grant it with a Role such as deploy/kubernetes/deployer-role.yaml"
    return Denied(f"{message}: {advice}", reason="KUBERNETES_FORBIDDEN", metadata=refusal.groupdict())


def _conflict(status: Mapping[str, Any], message: str) -> OpsuiteError:
    if status.get("reason") == "AlreadyExists":
        return Conflict(message, reason="ALREADY_EXISTS")
    owned = [cause for cause in causes_of(status) if cause.get("reason") == "FieldManagerConflict"]
    if not owned:
        return Stale(message, reason="STALE")
    fields = "; ".join(f"{cause['field']}: {cause['message']}" for cause in owned)
    return Conflict(f"another field manager owns what is to be changed: {fields}", reason="FIELDS_OWNED")


def _violations(status: Mapping[str, Any], message: str) -> Sequence[Violation]:
    by_field = [Violation(str(cause.get("field", "")), str(cause.get("message", ""))) for cause in causes_of(status)]
    return by_field or [Violation("", message)]


def causes_of(status: Mapping[str, Any]) -> Sequence[Mapping[str, Any]]:
    """What the server says field by field."""
    return (status.get("details") or {}).get("causes") or []
