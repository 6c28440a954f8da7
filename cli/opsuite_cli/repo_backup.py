"""Making snapshots: of files, or of what a command writes."""

from __future__ import annotations

import shlex
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, BinaryIO, Final, NamedTuple, cast

import typer

from opsuite_cli import repo_words, screen
from opsuite_cli.repo_access import LockMode, Opened, opened
from opsuite_cli.repo_ending import INCOMPLETE, cancellable, refuse_unless
from opsuite_cli.repo_options import LEVELS, Compression, DryRun
from opsuite_cli.repo_output import line, progress
from opsuite_kernel.errors import Conflict, InvalidInput, Violation

if TYPE_CHECKING:
    from opsuite_repository.format.snapshots import Summary
    from opsuite_repository.pipeline.backup import BackupRequest, BackupResult

_MIB: Final = 1 << 20
_SMALLEST_PACK, _LARGEST_PACK = 4, 128


def add_to(app: typer.Typer) -> None:
    """Add the commands of this module."""
    app.command()(backup)


def _excluding(what: str, *names: str) -> Any:
    return typer.Option(*names, help=what, rich_help_panel="What to leave out", show_default=False)


def _stream(what: str, *names: str) -> Any:
    return typer.Option(*names, help=what, rich_help_panel="Streams", show_default=False)


def backup(  # a command has as many options as people need
    paths: Annotated[list[Path] | None, typer.Argument(metavar="[PATH]…", help="Files and folders.")] = None,
    files_from: Annotated[
        list[Path] | None, typer.Option("--files-from-verbatim", help="File with a path on each line; `-` for stdin.")
    ] = None,
    excludes: Annotated[list[str] | None, _excluding("Pattern as restic's.", "--exclude", "-e")] = None,
    iexcludes: Annotated[list[str] | None, _excluding("The same for either case.", "--iexclude")] = None,
    exclude_files: Annotated[list[Path] | None, _excluding("File of patterns.", "--exclude-file")] = None,
    if_present: Annotated[
        list[str] | None, _excluding("Folders that hold this file (name or name:header).", "--exclude-if-present")
    ] = None,
    caches: Annotated[bool, _excluding("Folders with a CACHEDIR.TAG.", "--exclude-caches")] = False,
    larger_than: Annotated[str, _excluding("Files of more than this (100M).", "--exclude-larger-than")] = "",
    one_file_system: Annotated[bool, _excluding("Other file systems.", "--one-file-system", "-x")] = False,
    tags: Annotated[list[str] | None, typer.Option("--tag", help="Tags (a,b) of the snapshot; several times.")] = None,
    host: Annotated[str | None, typer.Option("--host", "-H", help="Name of this host in the snapshot.")] = None,
    time: Annotated[str, typer.Option(help="Time of the snapshot, instead of now.")] = "",
    parent: Annotated[str, typer.Option(help="Snapshot to look for changes against.")] = "",
    force: Annotated[bool, typer.Option("--force", "-f", help="Read all files, changed or not.")] = False,
    ignore_inode: Annotated[bool, typer.Option("--ignore-inode", help="A new inode alone is no change.")] = False,
    ignore_ctime: Annotated[bool, typer.Option("--ignore-ctime", help="A new ctime alone is no change.")] = False,
    with_atime: Annotated[bool, typer.Option("--with-atime", help="Keep times of access.")] = False,
    compression: Annotated[Compression, typer.Option(help="How hard to try.")] = Compression.AUTO,
    pack_size: Annotated[int, typer.Option(min=_SMALLEST_PACK, max=_LARGEST_PACK, help="MiB of a pack.")] = 16,
    no_extra_verify: Annotated[
        bool, typer.Option("--no-extra-verify", help="Do not open each new blob again before it is stored.")
    ] = False,
    skip_if_unchanged: Annotated[bool, typer.Option("--skip-if-unchanged", help="None without changes.")] = False,
    dry_run: DryRun = False,
    stdin: Annotated[bool, _stream("Back up what comes in.", "--stdin")] = False,
    command: Annotated[
        str, _stream("Back up what this command writes; if it fails there is no snapshot.", "--stdin-from-command")
    ] = "",
    stdin_filename: Annotated[str, _stream("Name of the file.", "--stdin-filename")] = "stdin",
) -> None:
    """Make a snapshot of files and folders, or of a stream. Exit status 3: something could not be read."""
    from opsuite_repository.pipeline.backup import AUTO, BackupRequest

    with opened(LockMode.WRITE) as at:
        chosen = [*(paths or ()), *(path for each in files_from or () for path in _paths_in(each))]
        is_stream = stdin or bool(command)
        refuse_unless(bool(chosen) != is_stream, "PATH", "give paths, or --stdin, or --stdin-from-command")
        request = BackupRequest(
            paths=tuple(chosen),
            excludes=(*(excludes or ()), *_patterns(exclude_files)),
            case_insensitive_excludes=tuple(iexcludes or ()),
            exclude_if_present=tuple(if_present or ()),
            exclude_caches=caches,
            exclude_larger_than=repo_words.parse_size(larger_than) if larger_than else None,
            one_file_system=one_file_system,
            parent=_parent(at, parent) if parent else None if force else AUTO,
            read_all=force,
            ignore_inode=ignore_inode,
            ignore_ctime=ignore_ctime,
            with_atime=with_atime,
            hostname=host,
            tags=tuple(tag for each in tags or () for tag in each.split(",") if tag),
            time=repo_words.parse_time(time) if time else None,
            dry_run=dry_run,
            skip_if_unchanged=skip_if_unchanged,
            compression_level=LEVELS[compression],
            verify=not no_extra_verify,
            pack_bytes=pack_size * _MIB,
        )
        made = _made(at, request, _Source(stdin_filename, command) if is_stream else None)
        _print(made, dry_run=dry_run)
        if made.is_incomplete:
            raise typer.Exit(INCOMPLETE)


class _Source(NamedTuple):
    """Where a stream comes from."""

    name: str
    command: str
    """Empty for standard input."""


def _made(at: Opened, request: BackupRequest, source: _Source | None) -> BackupResult:
    from opsuite_repository.pipeline.backup import back_up, back_up_stream

    with cancellable() as cancelled, progress() as sink:
        if source is None:
            return back_up(at.repository, request, progress=sink, cancelled=cancelled, guard=at.guard)
        with _stream_of(source) as (stream, finish):
            return back_up_stream(
                at.repository, source.name, stream, request,
                finish=finish, progress=sink, cancelled=cancelled, guard=at.guard,
            )  # fmt: skip


@contextmanager
def _stream_of(source: _Source) -> Iterator[tuple[BinaryIO, Callable[[], None]]]:
    """The stream, and what raises Conflict when its writer failed."""
    if not source.command:
        yield sys.stdin.buffer, lambda: None
        return
    try:
        running = subprocess.Popen(shlex.split(source.command), stdout=subprocess.PIPE)
    except (OSError, ValueError) as error:
        raise InvalidInput([Violation("--stdin-from-command", f"cannot be run: {error}", "COMMAND")]) from error
    assert running.stdout is not None  # noqa: S101  # it is a pipe

    def finish() -> None:
        if status := running.wait():
            raise Conflict(f"the command ended with status {status}; there is no snapshot", reason="COMMAND_FAILED")

    try:
        yield cast("BinaryIO", running.stdout), finish
    finally:
        if running.poll() is None:
            running.kill()
        running.stdout.close()
        running.wait()


def _paths_in(file: Path) -> Iterator[Path]:
    """The paths of a file, one a line, as they stand there."""
    try:
        text = sys.stdin.buffer.read() if str(file) == "-" else file.read_bytes()
    except OSError as error:
        raise InvalidInput([Violation("--files-from-verbatim", f"cannot be read: {error}", "FILE")]) from error
    for name in text.split(b"\n"):
        if name:
            yield Path(name.decode("utf-8", "surrogateescape"))


def _patterns(files: list[Path] | None) -> Iterator[str]:
    for file in files or ():
        try:
            yield from repo_words.patterns_in(file.read_text())
        except (OSError, UnicodeDecodeError) as error:
            raise InvalidInput([Violation("--exclude-file", f"cannot be read: {error}", "FILE")]) from error


def _parent(at: Opened, typed: str) -> str:
    from opsuite_repository.choosing import one

    return one(at.snapshots, typed)[0].id


def _print(made: BackupResult, *, dry_run: bool) -> None:
    if not screen.wants_table():
        for finding in made.findings:
            line(
                {
                    "message_type": "error",
                    "error": {"message": finding.why},
                    "during": finding.kind.value,
                    "item": repo_words.shown(finding.path),
                }
            )
        line(_document(made, dry_run=dry_run))
        return
    screen.complain([str(finding) for finding in made.findings], headed=False)
    for text in _told(made.summary):
        screen.say(text)
    if made.snapshot_id is not None:
        screen.say(f"snapshot {made.snapshot_id[:8]} saved", "bold")
    else:
        screen.say("nothing was stored: this was a dry run" if dry_run else "nothing changed, so there is no snapshot")


def _told(summary: Summary) -> Iterator[str]:
    yield (
        f"files    {summary.files_new} new, {summary.files_changed} changed, {summary.files_unmodified} as they were"
    )
    yield f"folders  {summary.dirs_new} new, {summary.dirs_changed} changed, {summary.dirs_unmodified} as they were"
    yield (
        f"bytes    {repo_words.size(summary.total_bytes_processed)} in all, {repo_words.size(summary.data_added)} new, "
        f"{repo_words.size(summary.data_added_packed)} stored"
    )


def _document(made: BackupResult, *, dry_run: bool) -> dict[str, Any]:
    """The last line, named as restic names it."""
    import orjson

    from opsuite_repository.format.times import format_instant

    summary = made.summary
    told = {name: getattr(summary, name) for name in summary.__slots__ if not name.startswith("backup_")}
    began, ended = summary.backup_start, summary.backup_end
    return {
        "message_type": "summary",
        "dry_run": dry_run,
        **orjson.loads(orjson.dumps(told)),
        "total_duration": (ended.ns - began.ns) / 1e9,
        "backup_start": format_instant(began),
        "backup_end": format_instant(ended),
        **({"snapshot_id": made.snapshot_id} if made.snapshot_id else {}),
        "is_incomplete": made.is_incomplete,
    }
