"""Backups that two programs share: `make story-repository`.

Makes a tree of small files (20,000 unless told otherwise) and some large ones, with links and hard links, holes, names
that are hard to write. opsuite backs it up; restic, which knows nothing of opsuite, checks every byte and restores it.
Then some of it changes, restic continues the history, and opsuite restores what restic has stored, forgets what is old,
gives back its room, and restic checks again. Beside it restic does the same work on a repository of its own, so that
the times can be compared; both re-verify each new blob, and both wait for their locks.

Exits 0 only if no byte, mode, time or link of any restored tree is different. Needs restic on PATH, or built by
`tools/restic/build.sh`. Nothing of it stays, also after Ctrl-C.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import resource
import shutil
import signal
import stat
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

ROOT: Final = Path(__file__).resolve().parents[1]
OPSUITE: Final = (sys.executable, "-m", "opsuite_cli", "repo")
PASSWORD: Final = "a story needs no secrets"
SMALL_FILES: Final = 20_000
LARGE_MIB: Final = 192
IN_A_FOLDER: Final = 200
CHANGED: Final = 100
PIECE: Final = 1 << 20


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--files", type=int, default=SMALL_FILES, help="how many small files")
    parser.add_argument("--mib", type=int, default=LARGE_MIB, help="how much is in large files")
    chosen = parser.parse_args()
    restic = found_restic()
    if restic is None:
        print("restic is not here: install it, or build it with tools/restic/build.sh", file=sys.stderr)
        return 1
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))  # as Ctrl-C does: nothing stays
    try:
        with tempfile.TemporaryDirectory(prefix="opsuite-story-") as place:
            return tell(Path(place), restic, files=chosen.files, large_mib=chosen.mib)
    except KeyboardInterrupt:
        print("\nleft; nothing stays")
        return 130


def found_restic() -> Path | None:
    """The program, on PATH or where the project builds it."""
    cache = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "opsuite" / "tools"
    found = shutil.which("restic", path=os.pathsep.join([str(cache), os.environ.get("PATH", "")]))
    return Path(found) if found else None


def tell(place: Path, restic: Path, *, files: int, large_mib: int) -> int:
    """The whole story. 0 if nothing is different."""
    tree = place / "tree"
    plant(tree, files, large_mib)
    entries = sum(1 for _ in walk(tree))
    print(f"a tree of {entries} entries, {size_of(tree) / PIECE:.0f} MiB\n")
    story = Story(place, restic)
    ours, theirs = story.tool(OPSUITE, "ours"), story.tool((str(restic),), "theirs")
    across = story.tool((str(restic),), "ours")
    ours.run("init")
    theirs.run("init")

    story.race("first backup", lambda tool: tool.run("backup", "tree"), ours, theirs)
    story.race("unchanged backup", lambda tool: tool.run("backup", "tree"), ours, theirs)
    story.step("restic checks every byte of ours", lambda: across.run("check", "--read-data"))
    story.race(
        "restore", lambda tool: tool.run("restore", "latest", "--target", f"from-{tool.repository}"), ours, theirs
    )
    story.compare("restored by opsuite", tree, place / "from-ours" / "tree")
    story.step("restic restores from ours", lambda: across.restore("across"))
    story.compare("restored by restic", tree, place / "across" / "tree")

    change(tree)
    summary = story.step("restic continues our history", lambda: across.last_line("backup", "tree", "--json"))
    story.expect(
        "restic read only what had changed",
        summary["files_changed"] == CHANGED and summary["files_new"] == 1 and summary["files_unmodified"] > 0,
    )
    story.step(
        "opsuite restores what restic stored", lambda: ours.run("restore", "latest", "--target", "back", "--verify")
    )
    story.compare("restored by opsuite", tree, place / "back" / "tree")
    continued = story.step("opsuite continues after restic", lambda: ours.last_line("backup", "tree", "--json"))
    story.expect("opsuite found nothing new", (continued["files_new"], continued["files_changed"]) == (0, 0))
    story.step("opsuite keeps the last snapshot only", lambda: ours.run("forget", "--keep-last", "1", "--prune"))
    story.step("restic checks every byte again", lambda: across.run("check", "--read-data"))
    story.step("opsuite checks every byte", lambda: ours.run("check", "--read-data"))
    return story.end()


@dataclass
class Tool:
    """A program that works on a repository."""

    command: tuple[str, ...]
    place: Path
    repository: str

    def run(self, *arguments: str) -> str:
        """What it writes. Raises CalledProcessError with all that it said."""
        cache = self.place / "cache"
        environment = os.environ | {
            "RESTIC_REPOSITORY": str(self.place / self.repository),
            "RESTIC_PASSWORD": PASSWORD,
            "RESTIC_CACHE_DIR": str(cache),
            "RESTIC_PROGRESS_FPS": "0",
        }
        done = subprocess.run(
            [*self.command, *arguments], cwd=self.place, env=environment, capture_output=True, text=True, check=False
        )
        if done.returncode != 0:
            raise StepFailed(f"{' '.join(arguments)} ended with {done.returncode}: {done.stdout}{done.stderr}")
        return done.stdout

    def restore(self, target: str, *options: str) -> str:
        """Restore the newest snapshot."""
        return self.run("restore", "latest", "--target", target, *options)

    def last_line(self, *arguments: str) -> Any:
        """The last of the JSON documents that it writes."""
        return json.loads(self.run(*arguments).splitlines()[-1])


class StepFailed(Exception):
    """A program did not do what it was asked to."""


@dataclass
class Story:
    """What happens, and what is wrong with it."""

    place: Path
    restic: Path
    wrong: list[str] = field(default_factory=list)

    def tool(self, command: tuple[str, ...], repository: str) -> Tool:
        """A program for one of the repositories."""
        return Tool(command, self.place, repository)

    def step(self, what: str, work: Any) -> Any:
        """Do it, and say how long it took."""
        began = time.monotonic()
        try:
            result = work()
        except StepFailed as error:
            print(f"{what:<42} FAILED: {error}")
            raise SystemExit(1) from error
        print(f"{what:<42} {time.monotonic() - began:7.2f} s")
        return result

    def race(self, what: str, work: Any, ours: Tool, theirs: Tool) -> None:
        """Both do it, one after the other on the same data; the ratio is of the times."""
        seconds, processor = {}, {}
        for name, tool in (("opsuite", ours), ("restic", theirs)):
            before = resource.getrusage(resource.RUSAGE_CHILDREN)
            began = time.monotonic()
            try:
                work(tool)
            except StepFailed as error:
                print(f"{what:<42} FAILED: {error}")
                raise SystemExit(1) from error
            seconds[name] = time.monotonic() - began
            after = resource.getrusage(resource.RUSAGE_CHILDREN)
            processor[name] = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
        print(
            f"{what:<42} {seconds['opsuite']:7.2f} s   restic {seconds['restic']:7.2f} s   "
            f"ratio {seconds['restic'] / seconds['opsuite']:.2f}   "
            f"processor {processor['opsuite']:.2f} and {processor['restic']:.2f} s"
        )

    def compare(self, what: str, original: Path, copy: Path) -> None:
        """Every entry of both."""
        different = list(differences(original, copy))
        self.expect(f"{what}: every byte as it was", not different, *different[:10])

    def expect(self, what: str, holds: bool, *details: str) -> None:
        """Note whether it is so."""
        print(f"{what:<42} {'yes' if holds else 'NO'}")
        if not holds:
            self.wrong += [what, *details]

    def end(self) -> int:
        """The exit status."""
        for line in self.wrong:
            print(f"wrong: {line}")
        print("\nnothing is different" if not self.wrong else "\nit went wrong")
        return 1 if self.wrong else 0


def plant(tree: Path, files: int, large_mib: int) -> None:
    """The same tree for the same numbers: text and noise, half and half."""
    chance = random.Random(20)  # for a tree that is the same each time, not for secrets
    words = [bytes(chance.choices(b"abcdefghijklmnopqrstuvwxyz", k=chance.randint(2, 9))) for _ in range(2000)]
    for number in range(files):
        folder = tree / f"folder-{number // IN_A_FOLDER:03}"
        if number % IN_A_FOLDER == 0:
            folder.mkdir(parents=True)
        length = chance.randint(2048, 6144)
        content = chance.randbytes(length) if number % 2 else b" ".join(chance.choices(words, k=length // 6))
        (folder / f"file-{number}").write_bytes(content)
    large = tree / "large"
    large.mkdir(parents=True)
    with (large / "log").open("wb") as log, (large / "noise").open("wb") as noise:
        for _ in range(large_mib // 2):
            log.write(b" ".join(chance.choices(words, k=PIECE // 6)))
            noise.write(chance.randbytes(PIECE))
    _plant_what_is_rare(tree / "rare")


def _plant_what_is_rare(folder: Path) -> None:
    (folder / "empty").mkdir(parents=True)
    (folder / "nothing").touch()
    (folder / "file").write_text("once")
    os.link(folder / "file", folder / "the same file")
    (folder / "link").symlink_to("../large/log")
    (folder / "link to nowhere").symlink_to("/nowhere/at/all")
    (folder / 'ünïcode <&> \\ " \t').write_text("hard to write")
    with open(os.fsencode(folder) + b"/caf\xe9", "w") as file:  # noqa: PTH123  # not UTF-8, which Path hides
        file.write("latin")
    with (folder / "hole").open("wb") as hole:
        hole.truncate(8 * PIECE)
    (folder / "private").write_text("mine")
    (folder / "private").chmod(0o600)
    os.mkfifo(folder / "pipe")
    os.utime(folder / "nothing", ns=(1, 1))


def change(tree: Path) -> None:
    """Some files get other content, one is new."""
    for number in range(CHANGED):
        file = tree / f"folder-{number // IN_A_FOLDER:03}" / f"file-{number}"
        file.write_bytes(file.read_bytes()[::-1] + b"changed")
    (tree / "new").write_text("new")


def walk(tree: Path) -> Iterator[bytes]:
    """The path of every entry below, relative to the top; as bytes, since not every name is text."""
    top = os.fsencode(tree)
    for folder, folders, files in os.walk(top):
        for name in sorted((*folders, *files)):
            yield os.path.relpath(os.path.join(folder, name), top)  # noqa: PTH118  # bytes


def size_of(tree: Path) -> int:
    """Bytes of all files."""
    return sum(about.st_size for path in walk(tree) if stat.S_ISREG((about := _about(tree, path)).st_mode))


def differences(original: Path, copy: Path) -> Iterator[str]:
    """Where the copy is different."""
    ones, others = set(walk(original)), set(walk(copy))
    yield from (f"{os.fsdecode(path)!r} is in one of them only" for path in sorted(ones ^ others))
    linked: dict[int, int] = {}
    for path in sorted(ones & others):
        one, other = _about(original, path), _about(copy, path)
        if _told(one) != _told(other):
            yield f"{os.fsdecode(path)!r}: {_told(one)} became {_told(other)}"
        elif stat.S_ISLNK(one.st_mode) and _target(original, path) != _target(copy, path):
            yield f"{os.fsdecode(path)!r} leads elsewhere"
        elif stat.S_ISREG(one.st_mode) and not _same_content(_at(original, path), _at(copy, path)):
            yield f"{os.fsdecode(path)!r} has other content"
        if linked.setdefault(one.st_ino, other.st_ino) != other.st_ino:
            yield f"{os.fsdecode(path)!r} is no hard link any more"


def _told(about: os.stat_result) -> tuple[int, ...]:
    """What has to be the same; folders have sizes of their own."""
    size = 0 if stat.S_ISDIR(about.st_mode) else about.st_size
    return about.st_mode, about.st_uid, about.st_gid, about.st_mtime_ns, size


def _about(tree: Path, path: bytes) -> os.stat_result:
    return os.lstat(_at(tree, path))


def _at(tree: Path, path: bytes) -> bytes:
    return os.path.join(os.fsencode(tree), path)  # noqa: PTH118  # bytes


def _target(tree: Path, path: bytes) -> bytes:
    return os.readlink(_at(tree, path))  # noqa: PTH115  # bytes


def _same_content(one: bytes, other: bytes) -> bool:
    with open(one, "rb") as first, open(other, "rb") as second:  # noqa: PTH123  # bytes
        while piece := first.read(PIECE):
            if piece != second.read(PIECE):
                return False
        return not second.read(1)


if __name__ == "__main__":
    sys.exit(main())
