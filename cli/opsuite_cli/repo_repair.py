"""Saving what can be saved of a repository that is damaged."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from opsuite_cli import screen
from opsuite_cli.repo_access import LockMode, opened
from opsuite_cli.repo_ending import cancellable, incomplete
from opsuite_cli.repo_options import DryRun, Ids
from opsuite_cli.repo_output import line, progress
from opsuite_kernel.errors import InvalidInput, Violation

repair = typer.Typer(
    no_args_is_help=True, help="Save what can be saved: the index first, then packs, then snapshots, then prune."
)


def add_to(app: typer.Typer) -> None:
    """Add the commands of this module."""
    app.add_typer(repair, name="repair")


@repair.command("index")
def repair_index(
    read_all: Annotated[bool, typer.Option("--read-all-packs", help="Believe nothing of the index.")] = False,
    dry_run: DryRun = False,
) -> None:
    """Make the index say what the packs hold."""
    from opsuite_repository.repair import repair_index as rebuild

    with opened(LockMode.EXCLUSIVE, index=False, snapshots=False) as at, cancellable() as cancelled, progress() as sink:
        done = rebuild(
            at.repository, read_all_packs=read_all, dry_run=dry_run, progress=sink, cancelled=cancelled, guard=at.guard
        )
        _say(
            {
                "removed_files": list(done.removed_files),
                "added_packs": list(done.added_packs),
                "dropped_packs": list(done.dropped_packs),
                "unreadable_packs": [error.file for error in done.unreadable_packs],
            }
        )
        if done.unreadable_packs:
            raise incomplete(
                [f"{error.file}: {error.why}; opsuite repo repair packs" for error in done.unreadable_packs]
            )


@repair.command("packs")
def repair_packs(
    packs: Annotated[list[str], typer.Argument(metavar="PACK…", help="Whole ids of packs, as `check` names them.")],
    keep_in: Annotated[Path | None, typer.Option("--keep-in", help="Folder for copies of what is removed.")] = None,
) -> None:
    """Save what is whole in damaged packs, and remove them."""
    from opsuite_repository.repair import repair_packs as save
    from opsuite_repository.storage.port import FileType, is_name

    with opened(LockMode.EXCLUSIVE, index=False, snapshots=False) as at, cancellable() as cancelled, progress() as sink:
        names = [pack.rpartition("/")[2] for pack in packs]
        if wrong := [name for name in names if not is_name(FileType.DATA, name)]:
            raise InvalidInput([Violation("PACK", f"{wrong[0]!r} is not the whole id of a pack", "PATTERN")])
        done = save(at.repository, names, keep_in=keep_in, progress=sink, cancelled=cancelled, guard=at.guard)
        _say(
            {
                "saved_blobs": done.saved_blobs,
                "lost_blobs": list(done.lost_blobs),
                "removed_packs": list(done.removed_packs),
                "sound_packs": list(done.sound_packs),
            }
        )
        if done.lost_blobs:
            raise incomplete([f"{len(done.lost_blobs)} blobs are lost; opsuite repo repair snapshots"])


@repair.command("snapshots")
def repair_snapshots(
    ids: Ids = None,
    keep: Annotated[bool, typer.Option("--keep", help="Keep the broken ones beside those that replace them.")] = False,
    remove_unreadable: Annotated[
        bool, typer.Option("--remove-unreadable", help="Remove snapshot files that cannot be read.")
    ] = False,
    dry_run: DryRun = False,
) -> None:
    """Replace snapshots that lack something by ones without it."""
    from opsuite_repository.choosing import ANY, some
    from opsuite_repository.repair import repair_snapshots as mend

    with opened(LockMode.EXCLUSIVE) as at, cancellable() as cancelled:
        names = [saved.id for saved in some(at.snapshots, ids, ANY)] if ids else None
        done = mend(
            at.repository, names, forget=not keep, remove_unreadable=remove_unreadable, dry_run=dry_run,
            cancelled=cancelled, guard=at.guard,
        )  # fmt: skip
        _say(
            {
                "repaired": [{"id": each.id, "replacement": each.replacement} for each in done.repaired],
                "whole": len(done.whole),
                "unreadable": [error.file for error in done.unreadable],
            }
        )


def _say(done: dict[str, Any]) -> None:
    if not screen.wants_table():
        line(done)
        return
    for name, value in done.items():
        words = name.replace("_", " ")
        if isinstance(value, list):
            screen.say(f"{words}: {len(value)}")
            for each in value:
                screen.say(f"  {_item(each)}")
        else:
            screen.say(f"{words}: {value}")


def _item(each: Any) -> str:
    if isinstance(each, dict):
        return f"{each['id'][:8]} is now {each['replacement'][:8] if each['replacement'] else 'nothing'}"
    return str(each)
