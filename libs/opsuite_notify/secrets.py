"""Secrets, found when they are needed and shown to nobody by accident."""

from __future__ import annotations

import os
import stat
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import ClassVar, Final, NoReturn

from opsuite_kernel.errors import Conflict, Denied, NotFound
from opsuite_notify.port import EnvSecret, FileSecret, SecretRef

SIZE_LIMIT_BYTES: Final = 65_536


class Secret:
    """A value that does not show itself: not in a log, not in a traceback, not in a format string."""

    __slots__ = ("_value",)

    def __init__(self, value: str) -> None:
        self._value = value

    def reveal(self) -> str:
        """The value; keep it no longer than needed."""
        return self._value

    def __repr__(self) -> str:
        return "Secret(***)"

    def __reduce__(self) -> NoReturn:
        raise TypeError("a secret is not pickled")


class SecretMissing(NotFound):
    """The variable is not set, or there is no such file."""

    reason: ClassVar[str] = "SECRET_MISSING"


class SecretNotAllowed(Denied):
    """The settings do not allow the variable, or the file lies outside of the secrets directory."""

    reason: ClassVar[str] = "SECRET_NOT_ALLOWED"


class SecretUnusable(Conflict):
    """It is there, but cannot be a secret: empty, too large, not text, or not a regular file that can be read."""

    reason: ClassVar[str] = "SECRET_UNUSABLE"


class SecretSource:
    """Finds secrets in allowed environment variables and below one directory; anew each time, so they may rotate."""

    def __init__(
        self, *, env: Mapping[str, str], allowed_env: Collection[str] = (), directory: Path | None = None
    ) -> None:
        self._env = env
        self._allowed = frozenset(allowed_env)
        self._directory = directory

    def resolve(self, ref: SecretRef) -> Secret:
        """The secret, without one trailing newline. Raises: SecretMissing, SecretNotAllowed, SecretUnusable."""
        value = self._from_env(ref.name) if isinstance(ref, EnvSecret) else self._from_file(ref)
        value = value.removesuffix("\n").removesuffix("\r")
        if not value or "\0" in value:
            raise SecretUnusable(f"the secret {_name(ref)} is empty or not text")
        return Secret(value)

    def _from_env(self, name: str) -> str:
        if name not in self._allowed:
            raise SecretNotAllowed(f"the settings do not allow the variable {name}", metadata={"name": name})
        if name not in self._env:
            raise SecretMissing("environment variable", name)
        return self._env[name]

    def _from_file(self, ref: FileSecret) -> str:
        path = self._path_below(ref.path)
        try:
            return _read(path).decode()
        except FileNotFoundError as error:
            raise SecretMissing("secret file", ref.path) from error
        except (OSError, UnicodeDecodeError) as error:
            raise SecretUnusable(f"the secret file {ref.path} cannot be read: {type(error).__name__}") from error

    def _path_below(self, path: str) -> Path:
        """The file after following links, which may not lead out of the directory."""
        if self._directory is None:
            raise SecretNotAllowed("no secrets directory is set", metadata={"path": path})
        try:
            root = self._directory.resolve()
            found = (root / path).resolve()
        except (OSError, ValueError, RuntimeError) as error:  # a NUL in the path; a ring of links
            raise SecretUnusable(f"the secret file {path!r} cannot be read: {type(error).__name__}") from error
        if found == root or not found.is_relative_to(root):
            raise SecretNotAllowed(f"{path} is not below the secrets directory", metadata={"path": path})
        return found


def _read(path: Path) -> bytes:
    """The bytes of a regular file of bearable size; never waits for the other end of a pipe. Raises: OSError."""
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW | os.O_CLOEXEC)
    with os.fdopen(descriptor, "rb") as file:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise OSError("not a regular file")
        content = file.read(SIZE_LIMIT_BYTES + 1)
    if len(content) > SIZE_LIMIT_BYTES:
        raise OSError("too large")
    return content


def _name(ref: SecretRef) -> str:
    return ref.name if isinstance(ref, EnvSecret) else ref.path
