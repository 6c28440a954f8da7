from __future__ import annotations

import json
from typing import Any

import pytest

from opsuite_repository.errors import Malformed
from opsuite_repository.format.snapshots import Snapshot, Summary, parse
from opsuite_repository.format.times import Instant

TREE, OTHER = b"t" * 32, "ab" * 32
FULL = Snapshot(
    time=Instant(5, 60), tree=TREE, paths=("/a", "/b<"), parent=OTHER, hostname="h", username="u", uid=1, gid=2,
    excludes=("*.tmp",), tags=("x", "y"), original=OTHER, program_version="p 1",
    summary=Summary(backup_start=Instant(1), backup_end=Instant(2), files_new=3, total_bytes_processed=1 << 40),
    unknown={"label": "ours"},
)  # fmt: skip


def test_a_full_snapshot_is_written_in_the_order_of_restic_and_comes_back() -> None:
    document = json.loads(FULL.encode())
    assert list(document) == [
        "time", "parent", "tree", "paths", "hostname", "username", "uid", "gid", "excludes", "tags", "original",
        "program_version", "summary", "label",
    ]  # fmt: skip
    assert list(document["summary"])[:4] == ["backup_start", "backup_end", "files_new", "files_changed"]
    assert document["summary"]["files_changed"] == 0
    assert parse(FULL.encode()) == FULL


def test_an_empty_one_holds_only_what_it_must() -> None:
    snapshot = Snapshot(time=Instant(0), tree=TREE, paths=())
    assert snapshot.encode() == f'{{"time":"1970-01-01T00:00:00Z","tree":"{TREE.hex()}","paths":[]}}'.encode()
    assert parse(snapshot.encode()) == snapshot


@pytest.mark.parametrize(
    "changed",
    [
        {"time": ...}, {"time": 5}, {"tree": None}, {"tree": "ab"}, {"parent": "zz"}, {"paths": 5}, {"uid": "x"},
        {"summary": {}}, {"summary": 5},
    ],
    ids=str,
)  # fmt: skip
def test_a_wrong_snapshot_is_refused(changed: dict[str, Any]) -> None:
    document = {**json.loads(FULL.encode()), **changed}
    with pytest.raises(Malformed):
        parse(json.dumps({key: value for key, value in document.items() if value is not ...}).encode())


def test_paths_that_are_null_are_none_at_all() -> None:
    assert parse(json.dumps({**json.loads(FULL.encode()), "paths": None}).encode()).paths == ()
