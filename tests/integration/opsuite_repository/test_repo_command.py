"""`opsuite repo` on real repositories: what commands do, and how they end."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path

import pytest
from repo_command import CHEAP, COMMAND, a_repository, backed_up, environment_of, fed, in_terminal, repo
from restic import PASSWORD, Restic

from opsuite_repository import locking
from opsuite_repository.format import keys
from opsuite_repository.locking import locked
from opsuite_repository.repository import Repository
from opsuite_repository.storage.local import LocalStorage

SECONDS = 120
"""What ends a command that hangs."""


@pytest.fixture(autouse=True)
def hurried(monkeypatch: pytest.MonkeyPatch) -> None:
    """New keys protect nothing here, so they need not take half a second; nobody is near who could lock as well."""

    def cost(n: int = CHEAP.n, r: int = CHEAP.r, p: int = CHEAP.p) -> keys.Cost:
        return keys_cost(n=n, r=r, p=p)

    keys_cost = keys.Cost
    monkeypatch.setattr(keys, "Cost", cost)
    monkeypatch.setattr(locking, "SETTLE", timedelta(0))


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """A repository without snapshots."""
    a_repository(tmp_path / "repository")
    return tmp_path / "repository"


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """Something to back up."""
    (tmp_path / "tree" / "folder").mkdir(parents=True)
    (tmp_path / "tree" / "folder" / "file").write_text("content")
    (tmp_path / "tree" / "notes.txt").write_text("notes")
    return tmp_path / "tree"


def snapshot_ids(place: Path) -> list[str]:
    return [each["id"] for each in repo(place, "snapshots", "--no-lock", "--json").document]


def test_a_new_repository_is_one_that_restic_opens(tmp_path: Path) -> None:
    place = tmp_path / "new"

    made = repo(place, "init", "--json").document

    assert made["message_type"] == "initialized"
    assert Restic(place)("cat", "config").stdout.count(made["id"]) == 1
    assert repo(place, "init").status == 1


@pytest.mark.parametrize(
    ("arguments", "environment", "status"),
    [
        (["-r", "/nowhere"], {}, 10),
        ([], {"OPSUITE_REPOSITORY_PASSWORD": "wrong"}, 12),
        ([], {"OPSUITE_REPOSITORY_PASSWORD": ""}, 1),
        (["-r", "gopher:x"], {}, 1),
        (["--password-file", "/nowhere"], {}, 1),
        (["--password-command", "false"], {}, 1),
        (["--password-command", f"echo {PASSWORD}"], {"OPSUITE_REPOSITORY_PASSWORD": ""}, 0),
    ],
)
def test_exit_statuses_are_those_of_restic(
    place: Path, arguments: list[str], environment: dict[str, str], status: int
) -> None:
    ended = repo(place, "snapshots", *arguments, **environment)

    assert ended.status == status
    assert (ended.err == "") == (status == 0)


def test_a_password_of_a_file_is_read_without_its_last_line_break(place: Path, tmp_path: Path) -> None:
    (tmp_path / "password").write_text(PASSWORD + "\n")

    assert repo(place, "snapshots", "-p", tmp_path / "password", OPSUITE_REPOSITORY_PASSWORD="").status == 0


def test_variables_of_restic_are_understood(place: Path) -> None:
    theirs = {"RESTIC_REPOSITORY": str(place), "RESTIC_PASSWORD": PASSWORD}

    assert repo("", "snapshots", OPSUITE_REPOSITORY_PASSWORD="", **theirs).status == 0


def test_a_lock_of_somebody_else_is_status_11_and_does_not_bother_those_who_read_without(place: Path) -> None:
    with locked(Repository.open(LocalStorage(place), PASSWORD), exclusive=True):
        refused = repo(place, "snapshots", "--json")
        read = repo(place, "snapshots", "--no-lock")
        unlocked = repo(place, "unlock", "--json").document

    assert (refused.status, read.status) == (11, 0)
    assert '"code": 11' in refused.err
    assert unlocked == {"removed": []}
    assert repo(place, "forget", "--keep-last", "1", "--no-lock").status == 1


def test_files_come_back_as_they_were(place: Path, tree: Path, tmp_path: Path) -> None:
    saved = repo(place, "backup", tree, "--tag", "a,b", "--host", "web", "--json").lines[-1]

    restored = repo(place, "restore", "latest", "--target", tmp_path / "out", "--verify", "--json").lines[-1]

    assert (saved["files_new"], saved["total_bytes_processed"]) == (2, 12)
    assert (restored["files_restored"], restored["files_verified"]) == (2, 2)
    back = tmp_path / "out" / tree.relative_to("/")
    assert (back / "folder" / "file").read_text() == "content"
    (known,) = repo(place, "snapshots", "--json").document
    assert (known["id"], known["hostname"], known["tags"]) == (saved["snapshot_id"], "web", ["a", "b"])


def test_a_dry_run_and_a_tree_without_changes_make_no_snapshot(
    place: Path, tree: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tree.parent)  # a whole path would hold folders in which others are at work

    dry = repo(place, "backup", tree.name, "--dry-run", "--json").lines[-1]
    first = repo(place, "backup", tree.name, "--skip-if-unchanged").out
    second = repo(place, "backup", tree.name, "--skip-if-unchanged").out

    assert dry["files_new"] == 2
    assert "saved" in first
    assert "nothing changed" in second
    assert len(snapshot_ids(place)) == 1


def test_patterns_of_a_file_are_left_out_and_paths_of_a_file_are_taken(place: Path, tree: Path, tmp_path: Path) -> None:
    (tmp_path / "patterns").write_text("# nothing\n\n*.txt\n$LEFT_OUT\n")
    (tmp_path / "paths").write_bytes(os.fsencode(tree) + b"\n")
    options: list[str | Path] = ["--exclude-file", tmp_path / "patterns", "--files-from-verbatim", tmp_path / "paths"]

    assert repo(place, "backup", *options, LEFT_OUT="nothing").status == 0

    listed = [each.removeprefix(str(tree)) for each in repo(place, "ls", "latest").out.splitlines()]
    assert listed[-2:] == ["/folder", "/folder/file"]


def test_what_cannot_be_found_makes_the_backup_incomplete(place: Path, tree: Path) -> None:
    ended = repo(place, "backup", tree, tree / "absent", "--json")

    assert ended.status == 3
    assert ended.lines[-1]["is_incomplete"] is True
    assert [each["item"] for each in ended.lines if each["message_type"] == "error"] == [str(tree / "absent")]
    assert len(snapshot_ids(place)) == 1
    assert repo(place, "backup", tree / "absent").status == 1


def test_a_stream_is_kept_unless_its_command_fails(place: Path) -> None:
    good = repo(place, "backup", "--stdin-from-command", "echo hello", "--stdin-filename", "db/dump.sql")
    bad = repo(place, "backup", "--stdin-from-command", "sh -c 'echo half; exit 3'")
    absent = repo(place, "backup", "--stdin-from-command", "/nowhere/at/all")
    piped = fed(b"\0\1\2", place, "backup", "--stdin", "--stdin-filename", "piped")

    assert [good.status, bad.status, absent.status, piped.status] == [0, 1, 1, 0]
    assert "status 3" in bad.err
    assert repo(place, "dump", snapshot_ids(place)[0], "/db/dump.sql").out == "hello\n"
    assert repo(place, "dump", "latest", "piped").raw == b"\0\1\2"
    assert len(snapshot_ids(place)) == 2


def test_forgetting_goes_by_the_policy_and_only_then(place: Path, tree: Path) -> None:
    for day in ("2024-05-01", "2024-05-02 10:00", "2024-05-02 11:00", "2024-05-03"):
        backed_up_at(place, tree, day)

    dry = repo(place, "forget", "--keep-daily", "2", "--dry-run", "--json").lines[-1]
    assert len(snapshot_ids(place)) == 4
    done = repo(place, "forget", "--keep-daily", "2", "--prune")

    assert [len(dry[0]["keep"]), len(dry[0]["remove"])] == [2, 2]
    assert [each["id"] for each in dry[0]["keep"]] == snapshot_ids(place)[::-1]
    assert "2 snapshots removed" in done.out
    assert repo(place, "check", "--read-data").status == 0
    assert repo(place, "forget").status == 1
    assert repo(place, "forget", "--keep-tag", "nobody-has-this").status == 1
    assert repo(place, "forget", "--unsafe-allow-remove-all").status == 1
    assert len(snapshot_ids(place)) == 2
    assert repo(place, "forget", "--unsafe-allow-remove-all", "--path", tree).status == 0
    assert snapshot_ids(place) == []


def backed_up_at(place: Path, tree: Path, time: str) -> None:
    assert repo(place, "backup", tree, "--time", time).status == 0


def test_snapshots_are_forgotten_by_name(place: Path, tree: Path) -> None:
    repository = Repository.open(LocalStorage(place), PASSWORD)
    first, second = backed_up(repository, tree), backed_up(repository, tree)

    assert repo(place, "forget", first[:10]).status == 0
    assert repo(place, "forget", first[:10]).status == 1
    assert repo(place, "forget", second, "--host", "elsewhere").status == 1
    assert snapshot_ids(place) == [second]


def test_a_snapshot_that_cannot_be_read_is_told_left_out_and_can_be_removed(place: Path, tree: Path) -> None:
    repository = Repository.open(LocalStorage(place), PASSWORD)
    broken, whole = backed_up(repository, tree), backed_up(repository, tree)
    (place / "snapshots" / broken).chmod(0o600)
    (place / "snapshots" / broken).write_bytes(b"rubbish")

    listed = repo(place, "snapshots", "--json")
    checked = repo(place, "check", "--json").lines[-1]
    removed = repo(place, "forget", broken)

    assert [each["id"] for each in listed.document] == [whole]
    assert broken in listed.err
    assert [(each["file"], each["repair"]) for each in checked["findings"]] == [(f"snapshots/{broken}", "forget")]
    assert removed.status == 0
    assert repo(place, "check").status == 0


def test_tags_change_and_restic_knows_the_first_id(place: Path, tree: Path) -> None:
    first = backed_up(Repository.open(LocalStorage(place), PASSWORD), tree, tags=("old",))

    assert repo(place, "tag", "--add", "new,old", "--remove", "old").status == 0
    (changed,) = repo(place, "tag", "latest", "--set", "x", "--json").lines[-1]
    unchanged = repo(place, "tag", "latest", "--set", "x", "--json").lines[-1]

    (known,) = repo(place, "snapshots", "--json").document
    assert (known["tags"], known["original"], known["id"]) == (["x"], first, changed["new_snapshot_id"])
    assert unchanged == []
    assert repo(place, "tag", "latest", "--set", "").status == 0
    assert '"tags"' not in Restic(place)("snapshots", "--json").stdout
    assert repo(place, "tag", "latest").status == 1
    assert Restic(place)("check").returncode == 0


def test_keys_come_go_and_change(place: Path) -> None:
    add = ["keys", "add", "--new-password-command", "echo second"]
    assert [repo(place, *add).status, fed(b"", place, "keys", "add").status] == [0, 1]
    second = {"OPSUITE_REPOSITORY_PASSWORD": "second"}
    listed = repo(place, "keys", "list", "--json", **second).document
    mine = next(key["id"] for key in listed if key["current"])
    other = next(key["id"] for key in listed if not key["current"])

    assert repo(place, "keys", "remove", mine[:8], **second).status == 1
    assert repo(place, "keys", "remove", "nothing", **second).status == 1
    assert repo(place, "keys", "remove", other[:8], **second).status == 0
    assert repo(place, "snapshots").status == 12
    assert repo(place, "keys", "password", "--new-password-command", "echo third", **second).status == 0
    assert repo(place, "snapshots", OPSUITE_REPOSITORY_PASSWORD="third").status == 0


def test_damage_is_named_with_its_repair_and_repaired(place: Path, tree: Path) -> None:
    backed_up(Repository.open(LocalStorage(place), PASSWORD), tree)
    for pack in (place / "data").rglob("*"):
        if pack.is_file() and b"x" not in pack.name.encode():
            damaged = pack
    damaged.chmod(0o600)
    damaged.write_bytes(damaged.read_bytes()[:40] + b"?" + damaged.read_bytes()[41:])

    quick = repo(place, "check")
    thorough = repo(place, "check", "--read-data", "--json")
    repaired = [
        repo(place, "repair", "index").status,
        repo(place, "repair", "packs", damaged.name).status,
        repo(place, "repair", "snapshots").status,
    ]

    assert thorough.status == 1
    assert damaged.name in str(thorough.lines[-1]["findings"])
    assert quick.status in {0, 1}  # a damaged tree is seen without reading all
    assert repaired in ([0, 3, 0], [0, 0, 0])
    assert repo(place, "check", "--read-data").status == 0
    assert Restic(place)("check", "--read-data").returncode == 0
    assert repo(place, "repair", "packs", "short").status == 1


@pytest.mark.parametrize("subset", ["1/1", "100%", "1G"])
def test_a_check_reads_the_part_that_was_asked_for(place: Path, tree: Path, subset: str) -> None:
    backed_up(Repository.open(LocalStorage(place), PASSWORD), tree)

    report = repo(place, "check", "--read-data-subset", subset, "--json").lines[-1]

    assert (report["sound"], report["packs_read"]) == (True, report["packs"])


@pytest.mark.parametrize("subset", ["2/1", "0%", "a lot"])
def test_a_part_that_makes_no_sense_is_refused(place: Path, subset: str) -> None:
    assert repo(place, "check", "--read-data-subset", subset).status == 2


def test_snapshots_are_copied_once(place: Path, tree: Path, tmp_path: Path) -> None:
    backed_up(Repository.open(LocalStorage(place), PASSWORD), tree)
    a_repository(tmp_path / "second")

    first = repo(tmp_path / "second", "copy", "--from-repo", place, "--json").lines[-1]
    second = repo(tmp_path / "second", "copy", "--from-repo", place, "--json").lines[-1]

    assert list(first["copied"]) == snapshot_ids(place) == second["skipped"]
    assert list(first["copied"].values()) == snapshot_ids(tmp_path / "second")
    assert Restic(tmp_path / "second")("check", "--read-data").returncode == 0
    assert repo(tmp_path / "second", "copy", "--from-repo", tmp_path / "nothing").status == 10


def test_a_prune_with_a_grace_marks_first(place: Path, tree: Path) -> None:
    backed_up(Repository.open(LocalStorage(place), PASSWORD), tree)
    repo(place, "forget", "latest")

    dry = repo(place, "prune", "--dry-run", "--json").lines[-1]
    marked = repo(place, "prune", "--grace", "23h", "--json").lines[-1]
    pruned = repo(place, "prune", "--json").lines[-1]

    assert dry["packs_deleted"] == marked["packs_marked"] == 2
    assert pruned["bytes_unused_after"] == 0
    assert [path for path in (place / "data").rglob("*") if path.is_file()] == []


@contextmanager
def serving(root: Path, users: Path) -> Iterator[str]:
    """`opsuite repo serve`, and the address of a repository there."""
    command = [*COMMAND, "serve", str(root), "--users", str(users), "--port", "0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server:
        assert server.stdout is not None
        url = server.stdout.readline().split()[-1]
        try:
            yield url.replace("http://", "rest:http://web:secret@") + "web/site/"
        finally:
            server.send_signal(signal.SIGTERM)
            assert server.wait(SECONDS) == 0


def test_a_server_takes_backups_and_lets_nothing_be_deleted(tree: Path, tmp_path: Path) -> None:
    line = repo("", "user", "web", "--new-password-command", "echo secret").out
    (tmp_path / "users").write_text(line)

    with serving(tmp_path / "served", tmp_path / "users") as address:
        done = [
            repo(address, "init").status,
            repo(address, "backup", tree).status,
            repo(address, "check", "--read-data").status,
            repo(address, "forget", "latest").status,
        ]
        wrong = repo(address.replace("secret", "wrong"), "snapshots").status

    assert done == [0, 0, 0, 3]
    assert wrong == 1
    assert len(snapshot_ids(tmp_path / "served" / "web" / "site")) == 1


def test_a_server_that_others_reach_wants_tls(tmp_path: Path) -> None:
    (tmp_path / "users").touch()

    refused = repo("", "serve", tmp_path, "--users", tmp_path / "users", "--host", "0.0.0.0")  # refused
    half = repo("", "serve", tmp_path, "--users", tmp_path / "users", "--tls-cert", tmp_path / "cert")

    assert (refused.status, half.status) == (1, 1)
    assert "--tls-cert" in refused.err


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_backup_leaves_no_lock_and_no_snapshot(place: Path, number: signal.Signals) -> None:
    feed, taken = os.pipe()[::-1]
    command, environment = [*COMMAND, "backup", "--stdin", "--json"], os.environ | environment_of(place)
    with (
        os.fdopen(feed, "wb") as stream,
        subprocess.Popen(
            command,
            stdin=taken,
            stderr=subprocess.PIPE,
            env=environment,
        ) as running,
    ):
        os.close(taken)
        stream.write(b"x" * (1 << 20))  # more than a pipe holds: it has begun to read
        stream.flush()
        running.send_signal(number)
        stream.close()
        assert running.stderr is not None
        told = running.stderr.read()

    assert running.returncode == 130, told
    assert list((place / "locks").iterdir()) == []
    assert list((place / "snapshots").glob("*")) == []


def test_a_terminal_sees_how_far_it_is(place: Path, tree: Path) -> None:
    status, seen = in_terminal(place, "backup", tree)

    assert status == 0
    assert "\r[0:0" in seen
    assert "snapshot" in seen
