"""The policy file, followed while the server runs."""

from __future__ import annotations

from pathlib import Path

import structlog

from opsuite_kernel.errors import InvalidInput, Violation
from opsuite_rpc.policy import Policy, parse_policy
from opsuite_rpc.settings import CannotServe

log = structlog.get_logger("opsuite.rpc")


class PolicyFile:
    """Fits `opsuite_rpc.access.PolicySource`."""

    def __init__(self, path: Path) -> None:
        """Raises CannotServe with every violation of the file."""
        self._path = path
        self._seen = _fingerprint(path)
        try:
            self._policy = _read(path)
        except InvalidInput as error:
            raise CannotServe([violation.below(str(path)) for violation in error.violations]) from error

    @property
    def policy(self) -> Policy:
        """The policy of the moment."""
        return self._policy

    def reload(self) -> bool:
        """Take a changed file into use; whether it did. A bad file is logged and the old policy stays."""
        if (now := _fingerprint(self._path)) == self._seen:
            return False
        self._seen = now
        try:
            self._policy = _read(self._path)
        except InvalidInput as error:
            log.error("policy_not_reloaded", file=str(self._path), problem=error.message)  # noqa: TRY400  # all is said
            return False
        log.info("policy_reloaded", file=str(self._path))
        return True


def _read(path: Path) -> Policy:
    try:
        return parse_policy(path.read_text())
    except (OSError, UnicodeDecodeError) as error:
        raise InvalidInput([Violation("", f"cannot be read: {error}")]) from error


def _fingerprint(path: Path) -> tuple[int, int, int] | None:
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_mtime_ns, status.st_size, status.st_ino
