"""Opens the addresses of a server, and refuses those that would let strangers in or steal another server's place."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import grpc

from opsuite_kernel.errors import Violation
from opsuite_rpc.settings import UNIX, CannotServe, ServerSettings, is_loopback, is_unix
from opsuite_rpc.tls import ReloadingCertificates

LONGEST_SOCKET_PATH: Final = 107  # sun_path holds 108 bytes with the final NUL


def problems(settings: ServerSettings, *, guards_tcp: bool) -> list[Violation]:
    """What forbids these addresses. `guards_tcp`: callers over TCP can be told apart by token."""
    found: list[Violation] = []
    if not settings.listen:
        found.append(Violation("listen", "names no address"))
    certified = settings.tls is not None and settings.tls.client_ca is not None
    for index, address in enumerate(settings.listen):
        found += [Violation(f"listen[{index}]", problem) for problem in _problems(address, settings)]
        if not is_unix(address) and not (guards_tcp or certified):
            found.append(
                Violation(
                    f"listen[{index}]", f"{address} would be open to everybody: no token, no policy, no client_ca"
                )
            )
    return found


def _problems(address: str, settings: ServerSettings) -> Iterator[str]:
    if is_unix(address):
        path = address.removeprefix(UNIX)
        if not path.startswith("/"):
            yield f"{address} must be {UNIX} and an absolute path"
        if len(os.fsencode(path)) > LONGEST_SOCKET_PATH:
            yield f"{path} is longer than {LONGEST_SOCKET_PATH} bytes, the limit for a socket"
        return
    if not address.rpartition(":")[2].isdigit() or not address.rpartition(":")[0]:
        yield f"{address} must be host:port"
    elif settings.tls is None and not is_loopback(address):
        yield f"{address} can be reached from other machines and needs TLS"


class SocketLock:
    """Holds a Unix socket's place: grpc binds over a living server's socket without a word."""

    def __init__(self, path: Path) -> None:
        """Raises CannotServe when another process holds it, or others may enter its directory."""
        self._path = path.with_name(path.name + ".lock")
        _private_directory(path.parent)
        self._descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            os.close(self._descriptor)
            raise CannotServe([Violation("listen", f"another server listens on {path}")]) from error

    def release(self) -> None:
        """Give the place up. The file stays: removing it would let two servers hold two different files of its name."""
        os.close(self._descriptor)


def _private_directory(directory: Path) -> None:
    """The directory is what keeps other users out, so it has to be ours alone."""
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    status = directory.stat()
    if status.st_uid != os.geteuid() or status.st_mode & 0o077:
        raise CannotServe([Violation("listen", f"{directory} must have mode 0700 and belong to this user")])


@contextmanager
def _umask(mask: int) -> Iterator[None]:
    before = os.umask(mask)
    try:
        yield
    finally:
        os.umask(before)


def open_address(server: grpc.aio.Server, address: str, certificates: ReloadingCertificates | None) -> str:
    """Bind `address`; the address as bound, with the port that was found for port 0. Raises CannotServe."""
    try:
        if is_unix(address):
            with _umask(0o077):
                server.add_secure_port(
                    f"unix:{address.removeprefix(UNIX)}", grpc.local_server_credentials(grpc.LocalConnectionType.UDS)
                )
            return address
        credentials = (
            grpc.local_server_credentials(grpc.LocalConnectionType.LOCAL_TCP)
            if certificates is None
            else certificates.credentials()
        )
        port = server.add_secure_port(address, credentials)
    except RuntimeError as error:
        raise CannotServe(
            [Violation("listen", f"{address} cannot be bound: in use, or not an address of this machine")]
        ) from error
    return f"{address.rpartition(':')[0]}:{port}"
