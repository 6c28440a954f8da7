from pathlib import Path, PurePosixPath
from typing import Any

import pytest
import yaml

from opsuite_kernel.errors import InvalidInput
from opsuite_platforms.hosts_file import read_hosts
from opsuite_platforms.ssh import PORTS, HostSpec


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    """Holds the files that a host names."""
    for name in ("key", "known_hosts"):
        (tmp_path / name).touch()
    return tmp_path


def a_host(**fields: Any) -> dict[str, Any]:
    known = {"name": "one", "address": "10.0.0.11", "user": "deploy", "key_file": "key", "known_hosts": "known_hosts"}
    return known | {"data": "/var/lib/opsuite"} | fields


def file_of(directory: Path, document: Any) -> Path:
    path = directory / "hosts.yaml"
    path.write_text(document if isinstance(document, str) else yaml.safe_dump(document))
    return path


def test_a_host_is_read_with_its_defaults_and_files_beside_the_file(directory: Path) -> None:
    assert read_hosts(file_of(directory, {"hosts": [a_host()]})) == (
        HostSpec(
            name="one",
            address="10.0.0.11",
            user="deploy",
            key_file=directory / "key",
            known_hosts=directory / "known_hosts",
            data=PurePosixPath("/var/lib/opsuite"),
            port=22,
            python="/usr/bin/python3",
            ports=PORTS,
        ),
    )


def test_everything_may_be_said(directory: Path) -> None:
    said = a_host(address="::1", port=2222, python="/opt/python", ports="21000-21099")

    (host,) = read_hosts(file_of(directory, {"hosts": [said]}))

    assert (host.address, host.port, host.python, host.ports) == ("::1", 2222, "/opt/python", range(21000, 21100))


@pytest.mark.parametrize(
    ("fields", "at"),
    [
        ({"name": "One"}, "name"),
        ({"name": 1}, "name"),
        ({"address": ""}, "address"),
        ({"address": "a b"}, "address"),
        ({"user": "a b"}, "user"),
        ({"user": None}, "user"),
        ({"key_file": "nothing"}, "key_file"),
        ({"known_hosts": "."}, "known_hosts"),
        ({"data": "var/lib"}, "data"),
        ({"data": "/" + "a" * 70}, "data"),
        ({"port": 0}, "port"),
        ({"port": 65536}, "port"),
        ({"port": True}, "port"),
        ({"port": "22"}, "port"),
        ({"python": "python3"}, "python"),
        ({"ports": "21000"}, "ports"),
        ({"ports": "21099-21000"}, "ports"),
        ({"ports": "0-99999"}, "ports"),
        ({"colour": "red"}, "colour"),
    ],
)
def test_what_is_wrong_is_named_by_its_path(directory: Path, fields: dict[str, Any], at: str) -> None:
    path = file_of(directory, {"hosts": [a_host(), a_host(name="two", data="/var/lib/two") | fields]})

    with pytest.raises(InvalidInput) as refused:
        read_hosts(path)

    assert [violation.field for violation in refused.value.violations] == [f"{path}.hosts[1].{at}"]


def test_everything_that_is_wrong_is_named_at_once(directory: Path) -> None:
    path = file_of(directory, {"hosts": [{}, "two", a_host(), a_host()], "more": 1})

    with pytest.raises(InvalidInput) as refused:
        read_hosts(path)

    found = {violation.field.removeprefix(f"{path}.") for violation in refused.value.violations}
    missing = {f"hosts[0].{name}" for name in ("name", "address", "user", "key_file", "known_hosts", "data")}
    assert found == {"more", "hosts[1]", "hosts[3].name", "hosts[3].data"} | missing


@pytest.mark.parametrize("document", ["", "hosts: []", "hosts: 1", "[1]", "{", {"machines": []}])
def test_a_file_without_hosts_is_refused(directory: Path, document: Any) -> None:
    with pytest.raises(InvalidInput):
        read_hosts(file_of(directory, document))


def test_a_file_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match="cannot be read"):
        read_hosts(tmp_path / "hosts.yaml")
