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

_NOT_CONNECTED: Final = "failed to connect"
"""Begins what gRPC says when no connection came about, whatever the reason."""


def explained(error: OpsuiteError, address: str = "", *, accepts: Callable[[], bool] = lambda: False) -> list[str]:
    """What to print for an error of a call to `address`; `accepts` says whether anybody takes connections there.

    gRPC's own words do not tell a server that is not there from one that speaks TLS and hangs up.
    """
    if isinstance(error, Unavailable) and _NOT_CONNECTED in error.message:
        return _not_connected(error, address) if accepts() else _nobody_there(address)
    hint = next((tell(error) for kind, tell in _HINTS if isinstance(error, kind)), "")
    return [*_what(error), *([f"hint: {hint}"] if hint else [])]


def _what(error: OpsuiteError) -> Sequence[str]:
    if not isinstance(error, InvalidInput):
        cannot = _WISHES.get(error.metadata.get("wish", ""), "")
        return [f"error: {cannot}{error.message}"]
    told = [f"{one.field}: {one.description}" if one.field else one.description for one in error.violations]
    if len(told) == 1:
        return [f"error: {told[0]}"]
    return [f"error: {len(told)} things are wrong", *(f"  {line}" for line in told)]


def _nobody_there(address: str) -> list[str]:
    return [f"error: nothing answers at {address}", "hint: start the suite with: opsuite up"]


def _not_connected(error: OpsuiteError, address: str) -> list[str]:
    said = error.message.rpartition("last error: ")[2]
    return [
        f"error: the server at {address} hangs up: {said}",
        "hint: for TLS set OPSUITE_CA_FILE; to show a client certificate OPSUITE_CERT_FILE and OPSUITE_KEY_FILE",
    ]


_LOOK: Final = "see where it stands: opsuite explain ID"
_WISHES: Final = {
    "promote_next_step": "it cannot be promoted: ",
    "promote_skip_step": "its step cannot be skipped: ",
    "promote_full": "it cannot be promoted: ",
    "abort": "it cannot be aborted: ",
    "pause": "it cannot be paused: ",
    "resume": "it cannot go on: ",
}
"""What a rollout refuses, in front of why."""
_ROLLOUT_HINTS: Final = {
    ("NO_ROLLOUT", ""): "what it does instead: opsuite explain ID",
    ("NOT_HEALTHY", ""): "wait until it is (opsuite rollout status ID --watch), or go back: opsuite rollout abort ID",
    ("ABORTING", ""): "follow it back (opsuite rollout status ID --watch), then begin anew: opsuite rollout retry ID",
    ("ROLLOUT_REFUSED", "promote_next_step"): "see where it stands (opsuite rollout status ID), or take its step "
    "for done: opsuite rollout promote ID --skip",
    ("ROLLOUT_REFUSED", "promote_skip_step"): "go to the end of it instead: opsuite rollout promote ID --full",
    ("ROLLOUT_REFUSED", "resume"): "let it go on with: opsuite rollout promote ID",
    ("ROLLOUT_REFUSED", ""): "see where it stands: opsuite rollout status ID",
}
"""What to do about a refusal of a rollout, by reason and wish; ID stands for the deployment."""


_ENVIRONMENT_HINTS: Final = {
    "ENVIRONMENT_LOCKED": "ask {holder}, or with the right to: opsuite unlock PIPELINE {environment} --force",
    "LOCK_NOT_YOURS": "ask {holder}, or with the right to: opsuite unlock PIPELINE {environment} --force",
    "NOT_PROMOTED_YET": "deploy it there first (--env {after}), then carry it on: --env {environment} --from {after}",
    "NOT_STABLE_THERE": "see what is: opsuite env list PIPELINE",
}
"""What to do about a refusal of an environment, by reason, with the facts of the error."""


def _not_found(error: OpsuiteError) -> str:
    kind = getattr(error, "kind", "")
    return {
        "pipeline": "see which there are: opsuite pipeline list",
        "deployment": "see which there are: opsuite history",
        "environment": "see which there are: opsuite env list PIPELINE",
        "workload": "see which there are: opsuite workload list",
        "document": "write one with: opsuite init",
        "file": "it is named by an option or an OPSUITE_…_FILE variable; `opsuite up` says where its token is",
    }.get(kind, "")


def _conflict(error: OpsuiteError) -> str:
    if error.reason == "NO_PREVIOUS_DEPLOYMENT":
        return "see what succeeded: opsuite history --status SUCCEEDED"
    if (hint := _ENVIRONMENT_HINTS.get(error.reason)) is not None:
        return hint.format_map({"environment": "ENV", "after": "ENV"} | error.metadata)
    if error.reason in {"ENVIRONMENT_OCCUPIED", "PIPELINE_IN_USE"}:
        holder = error.metadata.get("holder") or error.metadata.get("deployment", "")
        return f"wait for it: opsuite watch {holder.rpartition('/')[2]}"
    if deployment := error.metadata.get("deployment", "").rpartition("/")[2]:
        wish = error.metadata.get("wish", "")
        told = _ROLLOUT_HINTS.get((error.reason, wish)) or _ROLLOUT_HINTS.get((error.reason, ""), _LOOK)
        return told.replace("ID", deployment)
    return ""


def _exhausted(error: OpsuiteError) -> str:
    wait = getattr(error, "retry_after", None)
    return f"try again in {wait.total_seconds():g} s" if wait else "try again later"


def _said(text: str) -> Callable[[OpsuiteError], str]:
    return lambda _error: text


_HINTS: Final[Sequence[tuple[type[OpsuiteError], Callable[[OpsuiteError], str]]]] = (
    (Exhausted, _exhausted),
    (Unavailable, _said("it cannot help now; try again")),
    (NotFound, _not_found),
    (Conflict, _conflict),
    (Stale, _said("read it again, then try again")),
    (Denied, _said("the policy file of the server says who may do this")),
    (Unauthenticated, _said("give the token with --token-file, OPSUITE_TOKEN_FILE or OPSUITE_TOKEN")),
    (TimedOut, _said("whether it took effect is not known: look with `opsuite history`")),
    (Internal, _said("the log of the server has more under this id")),
)
"""What to do, by kind; the first that fits. InvalidInput says it itself."""
