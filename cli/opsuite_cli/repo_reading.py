"""Looking into snapshots: ls, find, diff, dump."""

from __future__ import annotations

import sys
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, BinaryIO

import typer

from opsuite_cli import repo_options, repo_words, screen
from opsuite_cli.repo_access import Opened, opened
from opsuite_cli.repo_ending import incomplete, refuse_unless
from opsuite_cli.repo_options import ArchiveKind, Hosts, One, Paths, Sort, Tags
from opsuite_cli.repo_output import line

if TYPE_CHECKING:
    from opsuite_repository.choosing import Saved
    from opsuite_repository.diff import Difference
    from opsuite_repository.find import FindRequest, ObjectKind
    from opsuite_repository.format.blobs import BlobId
    from opsuite_repository.snapshot_walk import Broken

Long = Annotated[bool, typer.Option("--long", "-l", help="With mode, owner, size and time.")]
Human = Annotated[bool, typer.Option("--human-readable", help="Sizes with units.")]


def add_to(app: typer.Typer) -> None:
    """Add the commands of this module."""
    app.command("ls")(list_)
    app.command()(find)
    app.command()(diff)
    app.command()(dump)


def list_(
    snapshot: One,
    folders: Annotated[
        list[str] | None, typer.Argument(metavar="[FOLDER]…", help="Only what is in these folders; from the top: /etc.")
    ] = None,
    recursive: Annotated[bool, typer.Option("--recursive", help="What is below the folders too.")] = False,
    long: Long = False,
    human: Human = False,
    sort: Annotated[Sort, typer.Option("--sort", "-s", help="In which order.")] = Sort.NAME,
    reverse: Annotated[bool, typer.Option("--reverse", help="The other way round.")] = False,
    ncdu: Annotated[bool, typer.Option("--ncdu", help="For `ncdu -f -`.")] = False,
    hosts: Hosts = None,
    tags: Tags = None,
    paths: Paths = None,
) -> None:
    """List the files of a snapshot."""
    import os

    from opsuite_repository import listing

    order = listing.SortBy("mtime" if sort is Sort.TIME else sort.value)
    with opened() as at:
        refuse_unless(not ncdu or (not folders and sort is Sort.NAME and not reverse), "--ncdu", "takes the whole walk")
        saved, tree = _tree(at, snapshot, hosts, tags, paths)
        entries = listing.listing(
            at.repository, tree, [os.fsencode(each) for each in folders or ()], recursive=recursive
        )
        if ncdu:
            for text in listing.ncdu(saved.snapshot, entries):
                sys.stdout.write(text + "\n")
            return
        ordered = entries if order is listing.SortBy.NAME and not reverse else None
        if not screen.wants_table():
            line({"message_type": "snapshot", "struct_type": "snapshot", **repo_words.snapshot_document(saved)})
        for visited in ordered or listing.in_order(entries, order, reverse=reverse):
            if screen.wants_table():
                sys.stdout.write(screen.visible(repo_words.entry_line(visited, long=long, human=human)) + "\n")
            else:
                line(repo_words.entry_document(visited))


def find(
    patterns: Annotated[list[str], typer.Argument(metavar="PATTERN…", help="Globs of names or paths, or ids.")],
    snapshots: Annotated[
        list[str] | None, typer.Option("--snapshot", "-s", help="Only in this snapshot; several times.")
    ] = None,
    ignore_case: Annotated[bool, typer.Option("--ignore-case", "-i")] = False,
    oldest: Annotated[str, typer.Option("--oldest", "-O", help="Changed then or later.")] = "",
    newest: Annotated[str, typer.Option("--newest", "-N", help="Changed then or before.")] = "",
    blob: Annotated[bool, typer.Option("--blob", help="The patterns are ids of blobs.")] = False,
    tree: Annotated[bool, typer.Option("--tree", help="The patterns are ids of trees.")] = False,
    pack: Annotated[bool, typer.Option("--pack", help="The patterns are ids of packs.")] = False,
    long: Long = False,
    human: Human = False,
    reverse: Annotated[bool, typer.Option("--reverse", "-R", help="The oldest snapshot first.")] = False,
    hosts: Hosts = None,
    tags: Tags = None,
    paths: Paths = None,
) -> None:
    """Find files by name and time in all snapshots, or what refers to a blob, a tree or a pack."""
    from opsuite_repository.choosing import some
    from opsuite_repository.find import FindRequest, ObjectKind

    kinds = [kind for kind, chosen in zip(ObjectKind, (blob, tree, pack), strict=True) if chosen]
    request = FindRequest(
        patterns=tuple(patterns),
        ignore_case=ignore_case,
        oldest=repo_words.parse_time(oldest) if oldest else None,
        newest=repo_words.parse_time(newest) if newest else None,
    )
    with opened() as at:
        refuse_unless(len(kinds) <= 1, "--blob", "--tree and --pack cannot be given at once")
        found = some(at.snapshots, snapshots or (), repo_options.snapshot_filter(hosts, tags, paths))
        ordered = found if reverse else found[::-1]
        broken: list[Broken] = []
        if kinds:
            _find_objects(at, ordered, kinds[0], patterns, broken.append)
        else:
            _find_files(at, ordered, request, broken.append, long=long, human=human)
        _complain_of(broken)


def _find_files(
    at: Opened,
    snapshots: list[Saved],
    request: FindRequest,
    broken: Callable[[Broken], None],
    *,
    long: bool,
    human: bool,
) -> None:
    from opsuite_repository.find import find as search

    answers = []
    for saved in snapshots:
        matches = search(at.repository, saved.snapshot.tree, request, broken=broken)
        if screen.wants_table():
            for number, visited in enumerate(matches):
                if number == 0:
                    screen.say(f"snapshot {saved.short_id} of {repo_words.local(saved.snapshot.time)}", "bold")
                screen.say(repo_words.entry_line(visited, long=long, human=human))
            continue
        documents = [repo_words.entry_document(visited) for visited in matches]
        if documents:
            answers.append({"matches": documents, "hits": len(documents), "snapshot": saved.id})
    if not screen.wants_table():
        screen.write(answers)


def _find_objects(
    at: Opened, snapshots: list[Saved], kind: ObjectKind, typed: list[str], broken: Callable[[Broken], None]
) -> None:
    from opsuite_repository.find import Objects

    objects = Objects(at.repository, kind, typed)
    documents = []
    for saved in snapshots:
        for reference in objects.references(at.repository, saved.snapshot.tree, broken=broken):
            path = repo_words.shown(reference.path)
            if screen.wants_table():
                where = repo_words.on_one_line(reference.path)
                screen.say(f"{reference.kind.value} {reference.id}  {saved.short_id}  {where}")
                continue
            documents.append(
                {
                    "object_type": reference.kind.value,
                    "id": reference.id,
                    "path": path,
                    "parent_tree": reference.parent_tree,
                    "snapshot": saved.id,
                }
            )
    if not screen.wants_table():
        screen.write(documents)


def diff(
    one: One,
    other: One,
    metadata: Annotated[bool, typer.Option("--metadata", help="Changes of owner, mode and times too.")] = False,
) -> None:
    """Tell what changed from one snapshot to another: + added, - removed, M content, T kind, U metadata."""
    from opsuite_repository import diff as comparing

    def tell(change: comparing.Change) -> None:
        if screen.wants_table():
            screen.say(f"{change.modifier:<4} {repo_words.on_one_line(change.path)}")
        else:
            path = repo_words.shown(change.path)
            line({"message_type": "change", "path": path, "modifier": change.modifier})

    with opened() as at:
        first, first_tree = _tree(at, one)
        second, second_tree = _tree(at, other)
        broken: list[Broken] = []
        counted = comparing.diff(
            at.repository, first_tree, second_tree, found=tell, broken=broken.append, metadata=metadata
        )
        _print_difference(counted, first, second)
        _complain_of(broken)


def _print_difference(counted: Difference, first: Saved, second: Saved) -> None:
    added, removed = counted.added, counted.removed
    if screen.wants_table():
        screen.say()
        screen.say(f"files    {added.files} new, {removed.files} removed, {counted.changed_files} changed")
        screen.say(f"folders  {added.dirs} new, {removed.dirs} removed")
        screen.say(f"others   {added.others} new, {removed.others} removed")
        screen.say(f"bytes    {repo_words.size(added.size)} new, {repo_words.size(removed.size)} removed")
        return
    sides = {
        name: {
            "files": side.files,
            "dirs": side.dirs,
            "others": side.others,
            "data_blobs": side.data_blobs,
            "tree_blobs": side.tree_blobs,
            "bytes": side.size,
        }
        for name, side in (("added", added), ("removed", removed))
    }
    line(
        {
            "message_type": "statistics",
            "source_snapshot": first.id,
            "target_snapshot": second.id,
            "changed_files": counted.changed_files,
            **sides,
        }
    )


def dump(
    snapshot: One,
    path: Annotated[str, typer.Argument(help="File or folder in the snapshot; `/` for all of it.")],
    archive: Annotated[ArchiveKind, typer.Option("--archive", "-a", help="How a folder is written.")] = ArchiveKind.TAR,
    target: Annotated[Path | None, typer.Option("--target", "-t", help="File to write instead of the output.")] = None,
    hosts: Hosts = None,
    tags: Tags = None,
    paths: Paths = None,
) -> None:
    """Write a file to the output, or a folder as an archive."""
    import os

    from opsuite_repository import dump as dumping

    with opened() as at, ExitStack() as files:
        refuse_unless(target is not None or not sys.stdout.isatty(), "--target", "the output is a terminal")
        _, tree = _tree(at, snapshot, hosts, tags, paths)
        out: BinaryIO = sys.stdout.buffer if target is None else files.enter_context(target.open("wb"))
        dumping.dump(at.repository, tree, os.fsencode(path), out, dumping.Archive(archive.value))
        out.flush()


def _tree(
    at: Opened,
    typed: str,
    hosts: list[str] | None = None,
    tags: list[str] | None = None,
    paths: list[str] | None = None,
) -> tuple[Saved, BlobId]:
    """The snapshot that is meant, and the tree of the folder behind its id."""
    from opsuite_repository.choosing import one
    from opsuite_repository.snapshot_walk import tree_at

    saved, folder = one(at.snapshots, typed, repo_options.snapshot_filter(hosts, tags, paths))
    return saved, tree_at(at.repository, saved.snapshot.tree, folder)


def _complain_of(broken: list[Broken]) -> None:
    """What could not be read makes the answer incomplete."""
    if broken:
        raise incomplete([f"{repo_words.on_one_line(each.path)}: {each.why}" for each in broken])
