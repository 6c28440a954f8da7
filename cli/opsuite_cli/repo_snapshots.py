"""Which snapshots there are, and how much they hold."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from opsuite_cli import repo_options, repo_words, screen
from opsuite_cli.repo_access import opened
from opsuite_cli.repo_options import GroupBy, Hosts, Ids, Mode, Paths, Tags

if TYPE_CHECKING:
    from opsuite_repository.choosing import Saved
    from opsuite_repository.stats import Stats

HEAD = ["ID", "TIME", "HOST", "TAGS", "PATHS", "SIZE"]


def add_to(app: typer.Typer) -> None:
    """Add the commands of this module."""
    app.command()(snapshots)
    app.command()(stats)


def snapshots(
    ids: Ids = None,
    hosts: Hosts = None,
    tags: Tags = None,
    paths: Paths = None,
    latest: Annotated[int | None, typer.Option(min=1, help="Only so many of each host and set of paths.")] = None,
    group_by: GroupBy = "",
) -> None:
    """List snapshots, the newest last."""
    from opsuite_repository.choosing import DEFAULT_GROUPS, grouped, newest_first, parse_group_by, some

    with opened(index=False) as at:
        found = some(at.snapshots, ids or (), repo_options.snapshot_filter(hosts, tags, paths))
        by = parse_group_by(group_by)
    if latest:
        recent = [newest_first(each)[:latest] for each in grouped(found, by or DEFAULT_GROUPS).values()]
        found = newest_first(saved for each in recent for saved in each)[::-1]
    groups = grouped(found, by)
    if not screen.wants_table():
        documents = [repo_words.snapshot_document(saved) for saved in found]
        screen.write(
            documents
            if not by
            else [
                {
                    "group_key": key._asdict(),
                    "snapshots": [repo_words.snapshot_document(saved) for saved in members],
                }
                for key, members in groups.items()
            ]
        )
        return
    for key, members in groups.items():
        if by:
            screen.say(f"snapshots of {key}", "bold")
        print_table(members)
    screen.say(f"{len(found)} snapshots")


def print_table(found: list[Saved]) -> None:
    """The snapshots in a table."""
    screen.table(HEAD, [repo_words.snapshot_row(saved) for saved in found])


def stats(
    ids: Ids = None,
    mode: Annotated[Mode, typer.Option(help="What is counted.")] = Mode.RESTORE_SIZE,
    hosts: Hosts = None,
    tags: Tags = None,
    paths: Paths = None,
) -> None:
    """Count what snapshots hold: files as restored, each content or blob once, or what is stored."""
    from opsuite_repository import stats as counting
    from opsuite_repository.choosing import some

    with opened() as at:
        found = some(at.snapshots, ids or (), repo_options.snapshot_filter(hosts, tags, paths))
        counted = counting.stats(
            at.repository, [saved.snapshot.tree for saved in found], counting.StatsMode(mode.value)
        )
    if screen.wants_table():
        for name, value in _rows(counted):
            screen.say(f"{name:<18}{value}")
    else:
        screen.write(_document(counted))


def _rows(counted: Stats) -> list[tuple[str, str]]:
    rows = [("snapshots", str(counted.snapshots))]
    rows += [("files", str(counted.files))] if counted.files else []
    rows += [("blobs", str(counted.blobs))] if counted.blobs else []
    rows += [("size", repo_words.size(counted.size))]
    if counted.uncompressed_size:
        rows += [
            ("uncompressed", repo_words.size(counted.uncompressed_size)),
            ("ratio", f"{counted.compression_ratio:.2f} of what is compressed"),
            ("spared", f"{counted.space_saving:.2f} %"),
        ]
    return rows


def _document(counted: Stats) -> dict[str, float | int]:
    """As restic names it; what was not counted is left out."""
    told = {
        "total_uncompressed_size": counted.uncompressed_size,
        "compression_ratio": counted.compression_ratio,
        "compression_progress": counted.compression_progress,
        "compression_space_saving": counted.space_saving,
        "total_file_count": counted.files,
        "total_blob_count": counted.blobs,
    }
    return {
        "total_size": counted.size,
        **{name: value for name, value in told.items() if value},
        "snapshots_count": counted.snapshots,
    }
