"""Putting files of snapshots back."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from opsuite_cli import repo_options, repo_words, screen
from opsuite_cli.repo_access import opened
from opsuite_cli.repo_ending import INCOMPLETE, cancellable
from opsuite_cli.repo_options import DryRun, Hosts, One, Overwriting, Owners, Paths, Tags
from opsuite_cli.repo_output import line, progress

if TYPE_CHECKING:
    from opsuite_repository.pipeline.restore import RestoreResult


def add_to(app: typer.Typer) -> None:
    """Add the commands of this module."""
    app.command()(restore)


def _choosing(what: str, *names: str) -> Any:
    return typer.Option(*names, help=what, rich_help_panel="What to restore", show_default=False)


def restore(  # a command has as many options as people need
    snapshot: One,
    target: Annotated[Path, typer.Option("--target", "-t", help="Folder to restore into.")],
    includes: Annotated[list[str] | None, _choosing("Only what fits this pattern.", "--include", "-i")] = None,
    iincludes: Annotated[list[str] | None, _choosing("The same for either case.", "--iinclude")] = None,
    excludes: Annotated[list[str] | None, _choosing("Not what fits this pattern.", "--exclude", "-e")] = None,
    iexcludes: Annotated[list[str] | None, _choosing("The same for either case.", "--iexclude")] = None,
    overwrite: Annotated[Overwriting, typer.Option(help="What becomes of files that are there.")] = Overwriting.ALWAYS,
    delete: Annotated[bool, typer.Option("--delete", help="Remove what the snapshot does not have.")] = False,
    sparse: Annotated[bool, typer.Option("--sparse", help="Leave holes where there are only zeroes.")] = False,
    owner: Annotated[Owners, typer.Option(help="Whose the files are: by number, by name, or whoever restores.")] = (
        Owners.IDS
    ),
    xattrs: Annotated[bool, typer.Option("--xattrs/--no-xattrs", help="Extended attributes too.")] = True,
    verify: Annotated[bool, typer.Option("--verify", help="Read everything again afterwards.")] = False,
    dry_run: DryRun = False,
    hosts: Hosts = None,
    tags: Tags = None,
    paths: Paths = None,
) -> None:
    """Restore a snapshot, or a part of it. Exit status 3: something is missing, and was named."""
    from opsuite_repository.choosing import one
    from opsuite_repository.pipeline.restore import Overwrite, Ownership, RestoreRequest
    from opsuite_repository.pipeline.restore import restore as put_back

    with opened() as at, cancellable() as cancelled:
        saved, folder = one(at.snapshots, snapshot, repo_options.snapshot_filter(hosts, tags, paths))
        request = RestoreRequest(
            target=target,
            subfolder=folder or b"/",
            includes=tuple(includes or ()),
            excludes=tuple(excludes or ()),
            case_insensitive_includes=tuple(iincludes or ()),
            case_insensitive_excludes=tuple(iexcludes or ()),
            overwrite=Overwrite(overwrite.value),
            delete=delete,
            sparse=sparse,
            ownership=Ownership(owner.value),
            extended_attributes=xattrs,
            verify=verify,
            dry_run=dry_run,
        )
        with progress() as sink:
            done = put_back(at.repository, saved.snapshot, request, progress=sink, cancelled=cancelled, guard=at.guard)
        _print(done, saved.short_id, target)
        if done.findings:
            raise typer.Exit(INCOMPLETE)


def _print(done: RestoreResult, snapshot: str, target: Path) -> None:
    if not screen.wants_table():
        for finding in done.findings:
            path = repo_words.shown(finding.path)
            line({"message_type": "error", "error": {"message": finding.why}, "during": finding.kind, "item": path})
        line(
            {
                "message_type": "summary",
                "files_restored": done.files_restored,
                "files_skipped": done.files_unchanged,
                "files_deleted": done.deleted,
                "folders_restored": done.folders_restored,
                "others_restored": done.others_restored,
                "bytes_restored": done.bytes_restored,
                "files_verified": done.files_verified,
            }
        )
        return
    screen.complain([str(finding) for finding in done.findings], headed=False)
    screen.say(f"files    {done.files_restored} restored, {done.files_unchanged} left as they were")
    screen.say(f"others   {done.folders_restored} folders, {done.others_restored} links …, {done.deleted} deleted")
    screen.say(f"bytes    {repo_words.size(done.bytes_restored)}")
    if done.files_verified:
        screen.say(f"verified {done.files_verified} files")
    screen.say(f"snapshot {snapshot} is in {target}", "bold")
