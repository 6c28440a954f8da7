"""The hosts of a `HostsPlatform`, written in a YAML file.

hosts:
  - name: one
    address: 10.0.0.11
    user: deploy
    key_file: keys/one            # relative paths start at the directory of the file
    known_hosts: keys/known_hosts
    data: /var/lib/opsuite
    port: 22                      # and everything below may be left out
    python: /usr/bin/python3
    ports: 20000-20999
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from pathlib import Path, PurePosixPath
from typing import Any, Final

import yaml

from opsuite_kernel.errors import InvalidInput, Violation
from opsuite_platforms.ssh import PORTS, HostSpec
from opsuite_validation.values import check_dns_label, check_host_port

LONGEST_DATA: Final = 70
"""Bytes of the path of a data directory, which holds a Unix socket."""
REQUIRED: Final = ("name", "address", "user", "key_file", "known_hosts", "data")
OPTIONAL: Final = ("port", "python", "ports")
LARGEST_PORT: Final = 65535
_USER: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_.-]{0,31}")
_PORTS: Final = re.compile(r"(\d{1,5})-(\d{1,5})")


def read_hosts(path: Path) -> tuple[HostSpec, ...]:
    """The hosts of a file. Raises InvalidInput with every problem, by its path in the file."""
    reader = _Reader(path.parent)
    hosts = reader.hosts(_document(path))
    if reader.found:
        raise InvalidInput([violation.below(str(path)) for violation in reader.found], reason="HOSTS_FILE_INVALID")
    return hosts


def _document(path: Path) -> Any:
    try:
        return yaml.safe_load(path.read_text())
    except (OSError, UnicodeDecodeError) as error:
        raise InvalidInput([Violation(str(path), f"cannot be read: {error}")], reason="HOSTS_FILE_INVALID") from error
    except yaml.YAMLError as error:
        raise InvalidInput([Violation(str(path), f"is not YAML: {error}")], reason="HOSTS_FILE_INVALID") from error


class _Reader:
    """Collects what is wrong while it reads."""

    def __init__(self, directory: Path) -> None:
        self.found: list[Violation] = []
        self._directory = directory

    def hosts(self, document: Any) -> tuple[HostSpec, ...]:
        entries = document.get("hosts") if isinstance(document, Mapping) else None
        if not isinstance(entries, list) or not entries:
            self._fail("hosts", "must be a list of hosts")
            return ()
        for key in sorted(set(map(str, document)) - {"hosts"}):
            self._fail(key, "is unknown; known is hosts")
        hosts = [self._host(f"hosts[{index}]", entry) for index, entry in enumerate(entries)]
        self._refuse_alike(hosts)
        return tuple(host for host in hosts if host is not None)

    def _host(self, path: str, entry: Any) -> HostSpec | None:
        if not isinstance(entry, Mapping):
            self._fail(path, "must be a mapping")
            return None
        before = len(self.found)
        for key in sorted(set(map(str, entry)) - {*REQUIRED, *OPTIONAL}):
            self._fail(f"{path}.{key}", f"is unknown; known are {', '.join((*REQUIRED, *OPTIONAL))}")

        def text(key: str, wrong: Callable[[str], str | None]) -> str:
            return self._text(f"{path}.{key}", entry.get(key), wrong)

        host = HostSpec(
            name=text("name", check_dns_label),
            address=text("address", _wrong_address),
            user=text("user", lambda value: None if _USER.fullmatch(value) else "must be the name of a user"),
            key_file=self._file(f"{path}.key_file", entry.get("key_file")),
            known_hosts=self._file(f"{path}.known_hosts", entry.get("known_hosts")),
            data=PurePosixPath(text("data", _wrong_data)),
            port=self._port(f"{path}.port", entry.get("port", 22)),
            python=self._text(f"{path}.python", entry.get("python", "/usr/bin/python3"), _not_absolute),
            ports=self._ports(f"{path}.ports", entry.get("ports")),
        )
        return host if len(self.found) == before else None

    def _text(self, path: str, value: Any, wrong: Callable[[str], str | None]) -> str:
        if not isinstance(value, str) or not value:
            self._fail(path, "must be a text that is not empty")
            return ""
        if (problem := wrong(value)) is not None:
            self._fail(path, problem)
        return value

    def _file(self, path: str, value: Any) -> Path:
        name = self._text(path, value, lambda _: None)
        file = self._directory / Path(name).expanduser()
        if name and not file.is_file():
            self._fail(path, f"there is no file {file}")
        return file

    def _port(self, path: str, value: Any) -> int:
        if isinstance(value, bool) or not isinstance(value, int) or not 0 < value <= LARGEST_PORT:
            self._fail(path, f"must be a port, 1 to {LARGEST_PORT}")
            return 0
        return value

    def _ports(self, path: str, value: Any) -> range:
        if value is None:
            return PORTS
        found = _PORTS.fullmatch(value) if isinstance(value, str) else None
        first, last = (int(found[1]), int(found[2])) if found else (0, 0)
        if not 0 < first <= last <= LARGEST_PORT:
            self._fail(path, f"must be FIRST-LAST, within 1 to {LARGEST_PORT}")
        return range(first, last + 1)

    def _refuse_alike(self, hosts: list[HostSpec | None]) -> None:
        names, places = set[str](), set[tuple[str, int, PurePosixPath]]()
        for index, host in enumerate(hosts):
            if host is None:
                continue
            if host.name in names:
                self._fail(f"hosts[{index}].name", f"{host.name} stands there twice")
            if (place := (host.address, host.port, host.data)) in places:
                self._fail(f"hosts[{index}].data", "is the same directory of the same host as that of another one")
            names.add(host.name)
            places.add(place)

    def _fail(self, path: str, description: str) -> None:
        self.found.append(Violation(path, description))


def _wrong_address(value: str) -> str | None:
    host = f"[{value}]" if ":" in value else value
    return "must be a host name or an address" if check_host_port(f"{host}:22") else None


def _not_absolute(value: str) -> str | None:
    return None if value.startswith("/") else "must be an absolute path"


def _wrong_data(value: str) -> str | None:
    if len(value.encode()) > LONGEST_DATA:
        return f"must have at most {LONGEST_DATA} bytes"
    return _not_absolute(value)
