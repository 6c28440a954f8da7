from __future__ import annotations

import base64
import hashlib
import json
from typing import Any

import pytest

from opsuite_repository.errors import Malformed, Unsupported
from opsuite_repository.format.keys import Cost, KeyFile, create, parse
from opsuite_repository.format.sealing import MasterKey, Sealer
from opsuite_repository.format.times import Instant

CHEAP = Cost(n=16, r=1, p=1)
MASTER = MasterKey.random()


def a_key_file(password: str = "right", cost: Cost = CHEAP) -> KeyFile:
    return create(MASTER, password, created=Instant(5), username="me", hostname="here", cost=cost)


def a_document(**changed: Any) -> bytes:
    document = json.loads(a_key_file().encode())
    return json.dumps({key: value for key, value in {**document, **changed}.items() if value is not ...}).encode()


def test_the_right_password_gives_the_master_key() -> None:
    assert parse(a_key_file("päss wörd").encode()).unlock("päss wörd") == MASTER


@pytest.mark.parametrize("password", ["", "wrong", "right "])
def test_any_other_password_gives_nothing(password: str) -> None:
    assert a_key_file().unlock(password) is None


def test_the_file_is_what_the_design_says() -> None:
    document = json.loads(a_key_file("secret").encode())
    assert list(document) == ["created", "username", "hostname", "kdf", "N", "r", "p", "salt", "data"]
    assert document["created"] == "1970-01-01T00:00:00.000000005Z"
    salt = base64.b64decode(document["salt"])
    derived = hashlib.scrypt(b"secret", salt=salt, n=16, r=1, p=1, dklen=64)

    opened = Sealer(MasterKey(encrypt=derived[:32], mac_k=derived[32:48], mac_r=derived[48:])).open(
        base64.b64decode(document["data"])
    )

    assert len(salt) == 64
    assert json.loads(opened) == {
        "mac": {"k": base64.b64encode(MASTER.mac_k).decode(), "r": base64.b64encode(MASTER.mac_r).decode()},
        "encrypt": base64.b64encode(MASTER.encrypt).decode(),
    }


def test_two_files_of_one_password_have_nothing_in_common() -> None:
    one, other = a_key_file(), a_key_file()
    assert one.salt != other.salt
    assert one.data != other.data


def test_the_costs_of_restic_can_be_paid() -> None:
    cost = Cost(n=1 << 15, r=8, p=1)
    assert a_key_file(cost=cost).unlock("right") == MASTER


@pytest.mark.parametrize(
    "changed",
    [
        {"N": 15}, {"N": 1}, {"N": "16"}, {"N": 0}, {"r": ...}, {"p": -1}, {"salt": "§"}, {"data": 5},
        {"created": "yesterday"}, {"data": ...}, {"N": True},
    ],
    ids=str,
)  # fmt: skip
def test_a_file_that_is_no_key_is_refused(changed: dict[str, Any]) -> None:
    with pytest.raises(Malformed):
        parse(a_document(**changed))


@pytest.mark.parametrize("changed", [{"kdf": "argon2"}, {"kdf": ...}, {"N": 1 << 40}, {"r": 1 << 30}], ids=str)
def test_what_cannot_be_derived_here_is_told_apart(changed: dict[str, Any]) -> None:
    with pytest.raises(Unsupported):
        parse(a_document(**changed))


@pytest.mark.parametrize("stored", [b"", b"[]", b"{", b"\xff"])
def test_what_is_not_json_is_refused(stored: bytes) -> None:
    with pytest.raises(Malformed):
        parse(stored)
