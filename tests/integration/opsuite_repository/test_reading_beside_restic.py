"""What `opsuite repo` says of snapshots, compared with what restic says of them."""

from __future__ import annotations

import hashlib
import io
import json
import os
import stat
import subprocess
import tarfile
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from components import program
from repo_command import Ended, a_repository, backed_up
from repo_command import repo as run
from restic import PASSWORD, Restic

NODE = ("name", "type", "path", "uid", "gid", "size", "mode", "permissions", "mtime", "atime", "ctime", "inode")
RAW_NAME = os.fsdecode(b"caf\xe9.txt")


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A repository with two snapshots of a tree, `restic`'s view of it in `Restic(place)`."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TZ", "UTC")
        root = tmp_path_factory.mktemp("reading")
        source = root / "tree"
        _grow(source)
        repository = a_repository(root / "repository")
        backed_up(repository, source, hostname="one", tags=("first",))
        _change(source)
        backed_up(repository, source, hostname="one", tags=("second", "x"))
        yield root / "repository"


def _grow(tree: Path) -> None:
    (tree / "docs" / "deep" / "deeper").mkdir(parents=True)
    (tree / "empty").mkdir()
    (tree / "docs" / "a.txt").write_text("a" * 5000)
    (tree / "docs" / "b.TXT").write_bytes(os.urandom(3_000_000))
    (tree / "docs" / "deep" / "c.tar.gz").write_text("c")
    (tree / "docs" / "deep" / "deeper" / ".hidden").write_text("h" * 77)
    (tree / "nothing").touch()
    (tree / "same").write_text("a" * 5000)
    os.link(tree / "docs" / "a.txt", tree / "hard")
    (tree / "link").symlink_to("docs/a.txt")
    (tree / "to-be-a-folder").write_text("not yet")
    (tree / 'ü <&> \\ " \t').write_text("hard to write")
    os.mkfifo(tree / "pipe")
    (tree / "docs" / "deep").chmod(0o1750)
    (tree / "same").chmod(0o4755)
    for number, path in enumerate(sorted(tree.rglob("*"))):
        os.utime(path, ns=(0, 1_500_000_000_123_456_789 + number * 86_400 * 10**9), follow_symlinks=False)


def _change(tree: Path) -> None:
    (tree / "docs" / "a.txt").write_text("b" * 6000)
    (tree / "docs" / "deep" / "c.tar.gz").unlink()
    (tree / "docs" / "new").mkdir()
    (tree / "docs" / "new" / "file").write_text("new")
    (tree / "docs" / "new" / "link").symlink_to("file")
    (tree / "same").chmod(0o600)
    (tree / "to-be-a-folder").unlink()
    (tree / "to-be-a-folder").mkdir()
    (tree / "to-be-a-folder" / "inside").write_text("i")
    (tree / "empty").rmdir()


def repo(place: Path, *arguments: str) -> Ended:
    """What we say. Without a lock, which takes a fifth of a second each time."""
    return run(place, *arguments, "--no-lock")


def theirs(place: Path, *arguments: str) -> list[Any]:
    """What restic says as JSON, a document on each line."""
    return [json.loads(line) for line in Restic(place)(*arguments, "--json", "--no-lock").stdout.splitlines()]


def ids(place: Path) -> list[str]:
    """The snapshots, the older one first."""
    (listed,) = theirs(place, "snapshots")
    return [each["id"] for each in sorted(listed, key=lambda each: str(each["time"]))]


def test_snapshots_are_told_as_restic_tells_them(place: Path) -> None:
    (listed,) = theirs(place, "snapshots")

    assert repo(place, "snapshots", "--json").document == listed
    assert [each["id"] for each in repo(place, "snapshots", "--tag", "first", "--json").document] == ids(place)[:1]
    assert [each["id"] for each in repo(place, "snapshots", "--latest", "1", "--json").document] == ids(place)[1:]
    assert repo(place, "snapshots", "--host", "two", "--json").document == []


def test_a_snapshot_lists_the_entries_that_restic_lists(place: Path) -> None:
    about, *entries = repo(place, "ls", "latest", "--json").lines
    their_about, *their_entries = theirs(place, "ls", "latest")

    assert about == their_about
    assert [_node(each) for each in entries] == [_node(each) for each in their_entries]
    assert len(entries) > 15


def _node(document: dict[str, Any]) -> dict[str, Any]:
    return {name: document.get(name) for name in NODE}


@pytest.mark.parametrize(
    "arguments",
    [
        ["/"],
        ["{tree}/docs"],
        ["{tree}/docs", "--recursive"],
        ["{tree}/docs/deep/", "{tree}/docs/new"],
        ["{tree}/do"],
        ["{tree}/hard", "--recursive"],
        ["--sort", "size"],
        ["--sort", "time", "--reverse"],
        ["--sort", "extension"],
        ["--reverse"],
    ],
)
def test_folders_and_orders_of_a_listing_are_those_of_restic(place: Path, arguments: list[str]) -> None:
    tree = str(place.parent / "tree")
    options = [each.replace("{tree}", tree) for each in arguments]

    ours = [each["path"] for each in repo(place, "ls", "latest", *options, "--json").lines[1:]]

    assert ours == [each["path"] for each in theirs(place, "ls", "latest", *options)[1:]]


def test_a_folder_behind_the_id_becomes_the_top(place: Path) -> None:
    folder = f"latest:{place.parent / 'tree' / 'docs'}"

    ours = [each["path"] for each in repo(place, "ls", folder, "--json").lines[1:]]

    assert ours == [each["path"] for each in theirs(place, "ls", folder)[1:]]
    assert "/new/file" in ours


def test_a_long_listing_reads_as_that_of_restic(place: Path) -> None:
    ours = repo(place, "ls", "latest", "--long").out.splitlines()
    stock = Restic(place)("ls", "latest", "--long", "--no-lock", "--quiet").stdout.splitlines()

    assert [line for line in ours if '"' not in line] == [line for line in stock if '"' not in line]


def test_ncdu_gets_a_tree_of_every_entry(place: Path) -> None:
    major, minor, _, top = repo(place, "ls", "latest", "--ncdu").document
    stock = json.loads(Restic(place)("ls", "latest", "--ncdu", "--no-lock").stdout)

    assert [major, minor, top] == [*stock[:2], stock[3]]


@pytest.mark.parametrize(
    "arguments",
    [
        ["*.txt"],
        ["*.txt", "--ignore-case"],
        ["deep"],
        ["docs/*"],
        ["/**/new"],
        ["nowhere"],
        ["*", "--newest", "2017-07-20"],
        ["*", "--oldest", "2017-07-20", "--newest", "2017-07-25 12:00:00"],
    ],
)
def test_the_files_are_found_that_restic_finds(place: Path, arguments: list[str]) -> None:
    (found,) = theirs(place, "find", *arguments)

    ours = repo(place, "find", *arguments, "--json").document

    assert {each["snapshot"]: [match["path"] for match in each["matches"]] for each in ours} == {
        each["snapshot"]: [match["path"] for match in each["matches"]] for each in found
    }


def test_a_blob_leads_to_its_files_and_a_pack_to_all_in_it(place: Path) -> None:
    repository = json.loads(Restic(place)("cat", "index", _only_index(place), "--no-lock").stdout)
    packs = {pack["id"]: [blob["id"] for blob in pack["blobs"]] for pack in repository["packs"]}

    for pack in packs:
        ours = repo(place, "find", "--pack", pack, "--json").document
        (stock,) = theirs(place, "find", "--pack", pack)
        assert sorted(map(_reference, ours)) == sorted(map(_reference, stock))
    assert repo(place, "find", "--blob", "f" * 64, "--json").status == 1


def _only_index(place: Path) -> str:
    return min(path.name for path in (place / "index").iterdir())


def _reference(document: dict[str, Any]) -> tuple[str, ...]:
    return tuple(document.get(key, "") for key in ("object_type", "id", "path", "parent_tree", "snapshot"))


@pytest.mark.parametrize("options", [[], ["--metadata"]])
@pytest.mark.parametrize("backwards", [False, True])
def test_changes_are_told_as_restic_tells_them(place: Path, options: list[str], backwards: bool) -> None:
    pair = ids(place)[::-1] if backwards else ids(place)

    ours, stock = repo(place, "diff", *pair, *options, "--json").lines, theirs(place, "diff", *pair, *options)

    assert ours == stock
    assert len(ours) > 5


@pytest.mark.parametrize("mode", ["restore-size", "files-by-contents", "blobs-per-file", "raw-data"])
def test_counts_are_those_of_restic(place: Path, mode: str) -> None:
    (stock,) = theirs(place, "stats", "--mode", mode, *ids(place))  # it counts otherwise in another order

    assert repo(place, "stats", "--mode", mode, "--json").document == pytest.approx(stock)


def test_a_file_is_dumped_as_it_was(place: Path) -> None:
    path = str(place.parent / "tree" / "docs" / "b.TXT")

    assert repo(place, "dump", "latest", path).raw == (place.parent / "tree" / "docs" / "b.TXT").read_bytes()
    assert repo(place, "dump", "latest", path + "x").status == 1
    assert repo(place, "dump", "latest", str(place.parent / "tree" / "link")).status == 1


@pytest.mark.parametrize("path", ["/", "{tree}", "{tree}/docs"])
def test_a_tar_archive_holds_what_restics_holds(place: Path, path: str) -> None:
    path = path.replace("{tree}", str(place.parent / "tree"))

    ours = _members(repo(place, "dump", "latest", path).raw)
    stock = _members(_dumped(place, path, "tar"))

    pipes = {name: ours.pop(name) for name in list(ours) if ours[name][0] == tarfile.FIFOTYPE}
    assert ours == {name: about for name, about in stock.items() if name not in pipes}
    assert len(pipes) == ("docs" not in path)  # restic leaves them out, or makes files of them


def _members(archive: bytes) -> dict[str, tuple[Any, ...]]:
    members = {}
    with tarfile.open(fileobj=io.BytesIO(archive)) as tar:
        for member in tar:
            content = tar.extractfile(member) if member.isreg() else None
            digest = hashlib.sha256(content.read()).hexdigest() if content else ""
            members[member.name] = (
                member.type, oct(member.mode), member.uid, member.gname, member.size, member.linkname,
                round(member.mtime), digest,
            )  # fmt: skip
    return members


def test_a_zip_archive_holds_what_restics_holds(place: Path) -> None:
    path = str(place.parent / "tree")

    ours, stock = repo(place, "dump", "latest", path, "--archive", "zip").raw, _dumped(place, path, "zip")

    assert _entries(ours) == _entries(stock)


def _entries(archive: bytes) -> dict[str, tuple[Any, ...]]:
    with zipfile.ZipFile(io.BytesIO(archive)) as zipped:
        assert zipped.testzip() is None
        return {
            each.filename: (each.external_attr >> 16, each.file_size, zipped.read(each))
            for each in zipped.infolist()
            if not stat.S_ISFIFO(each.external_attr >> 16)  # restic has them, empty
        }


def _dumped(place: Path, path: str, archive: str) -> bytes:
    restic = program("restic", "tools/restic/build.sh")
    command = [str(restic), "-r", str(place), "--no-cache", "--no-lock", "dump", "latest", path, "--archive", archive]
    return subprocess.run(
        command, env=os.environ | {"RESTIC_PASSWORD": PASSWORD}, stdout=subprocess.PIPE, check=True
    ).stdout


def test_names_that_are_not_utf8_are_shown_with_escapes_and_dumped_as_they_are(tmp_path: Path) -> None:
    (tmp_path / "tree").mkdir()
    (tmp_path / "tree" / RAW_NAME).write_text("coffee")
    backed_up(a_repository(tmp_path / "repository"), tmp_path / "tree")
    path = str(tmp_path / "tree" / RAW_NAME)

    listed = repo(tmp_path / "repository", "ls", "latest").out.splitlines()
    archive = repo(tmp_path / "repository", "dump", "latest", str(tmp_path / "tree")).raw

    assert listed[-1] == str(tmp_path / "tree") + "/caf\\xe9.txt"
    assert repo(tmp_path / "repository", "dump", "latest", path).out == "coffee"
    with tarfile.open(fileobj=io.BytesIO(archive)) as tar:
        assert tar.getnames() == [path[1:]]
