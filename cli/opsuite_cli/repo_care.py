"""Keeping a repository whole and small: check, prune, copy, unlock."""

from __future__ import annotations

import re
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from opsuite_cli import repo_options, repo_words, screen
from opsuite_cli.deployments import duration
from opsuite_cli.repo_access import Access, LockMode, Opened, current, lock, opened, repository_at, snapshots_of
from opsuite_cli.repo_ending import FAILED, cancellable, reported
from opsuite_cli.repo_options import DryRun, Hosts, Ids, Paths, Tags
from opsuite_cli.repo_output import line, progress
from opsuite_cli.repo_passwords import password

if TYPE_CHECKING:
    from opsuite_repository.check_report import CheckReport, Read
    from opsuite_repository.prune_plan import PruneOptions, PrunePlan

_PERCENT = re.compile(r"(\d+(?:\.\d+)?)%")
_SUBSET = re.compile(r"(\d+)/(\d+)")


def add_to(app: typer.Typer) -> None:
    """Add the commands of this module."""
    app.command()(check)
    app.command()(prune)
    app.command()(copy)
    app.command()(unlock)


def check(
    read_data: Annotated[bool, typer.Option("--read-data", help="Read every byte too.")] = False,
    subset: Annotated[
        str, typer.Option("--read-data-subset", help="Read a part: 2/7 (the second of seven), 5%, or 50G at random.")
    ] = "",
) -> None:
    """Find what is damaged or missing, and say what repairs it. Exit status 1: there is something."""
    from opsuite_repository.check_report import ALL, CheckRequest
    from opsuite_repository.checking import check as find_damage

    with opened(index=False, snapshots=False) as at, cancellable() as cancelled:
        request = CheckRequest(read=ALL if read_data else _subset(subset))
        with progress() as sink:
            report = find_damage(at.repository, request, progress=sink, cancelled=cancelled, guard=at.guard)
        _print_report(report)
        if not report.is_sound:
            raise typer.Exit(FAILED)


def _subset(text: str) -> Read:
    from opsuite_repository.check_report import Percent, Size, Subset

    try:
        if found := _SUBSET.fullmatch(text):
            return Subset(int(found[1]), int(found[2]))
        if found := _PERCENT.fullmatch(text):
            return Percent(float(found[1]))
    except ValueError as error:
        raise typer.BadParameter(str(error), param_hint="--read-data-subset") from error
    return Size(repo_words.parse_size(text)) if text else None


def _print_report(report: CheckReport) -> None:
    if not screen.wants_table():
        line(
            {
                "message_type": "summary",
                "sound": report.is_sound,
                "snapshots": report.snapshots,
                "trees": report.trees,
                "packs": report.packs,
                "packs_read": report.packs_read,
                "bytes_read": report.bytes_read,
                "findings": [
                    {"file": each.file, "kind": each.kind.value, "why": each.why, "repair": each.repair.value}
                    for each in report.findings
                ],
            }
        )
        return
    lines = [
        f"{each.file}: {each.kind.value}: {each.why}; opsuite repo {each.repair.value}" for each in report.findings
    ]
    screen.complain(lines, headed=False)
    read = f", {report.packs_read} of them read ({repo_words.size(report.bytes_read)})" if report.packs_read else ""
    screen.say(f"{report.snapshots} snapshots, {report.trees} folders, {report.packs} packs{read}")
    screen.say("nothing is wrong" if report.is_sound else "the repository is damaged", "bold")


MaxUnused = Annotated[str, typer.Option("--max-unused", help="Waste that may stay: 5%, 200M, unlimited.")]
MaxRepack = Annotated[str, typer.Option("--max-repack-size", help="Write no more than this anew (2G).")]
Grace = Annotated[
    timedelta | None,
    typer.Option(
        parser=duration,
        help="Keep nobody out: mark now, delete what was marked so long ago (23h). Not where restic writes too.",
    ),
]


def prune(
    max_unused: MaxUnused = "5%",
    max_repack: MaxRepack = "",
    no_repack_small: Annotated[bool, typer.Option("--no-repack-small", help="Leave small packs as they are.")] = False,
    grace: Grace = None,
    dry_run: DryRun = False,
) -> None:
    """Give back the room of what no snapshot refers to."""
    from opsuite_repository.prune import PRUNE_ROLE

    mode = LockMode.READ if dry_run else LockMode.EXCLUSIVE if grace is None else LockMode.WRITE
    role = "" if grace is None or dry_run else PRUNE_ROLE
    with opened(mode, role=role, index=False, snapshots=False) as at:
        options = _prune_options(max_unused, max_repack, grace, repack_small=not no_repack_small)
        prune_now(at, options, dry_run=dry_run)


def prune_now(at: Opened, options: PruneOptions | None = None, *, dry_run: bool = False) -> None:
    """Prune, or say what a prune would do."""
    from opsuite_repository.prune import plan_prune
    from opsuite_repository.prune import prune as give_back

    with cancellable() as cancelled, progress() as sink:
        if dry_run:
            plan = plan_prune(at.repository, options, cancelled=cancelled, guard=at.guard)
        else:
            plan = give_back(at.repository, options, progress=sink, cancelled=cancelled, guard=at.guard)
    _print_plan(plan, dry_run=dry_run)


def _prune_options(unused: str, repack: str, grace: timedelta | None, *, repack_small: bool) -> PruneOptions:
    from opsuite_repository.prune_plan import PruneOptions

    percent = _PERCENT.fullmatch(unused)
    most = None if percent or unused == "unlimited" else repo_words.parse_size(unused)
    return PruneOptions(
        max_unused_percent=float(percent[1]) if percent else None,
        max_unused_bytes=most,
        max_repack_bytes=repo_words.parse_size(repack) if repack else None,
        repack_small=repack_small,
        grace=grace,
    )


def _print_plan(plan: PrunePlan, *, dry_run: bool) -> None:
    told: dict[str, Any] = {
        "packs_kept": len(plan.keep),
        "packs_repacked": len(plan.repack),
        "packs_deleted": len(plan.delete),
        "packs_unindexed": len(plan.unindexed),
        "packs_marked": len(plan.marked),
        "packs_waiting": len(plan.waiting),
        "bytes_used": plan.used_bytes,
        "bytes_repacked": plan.repacked_bytes,
        "bytes_freed": plan.freed_bytes,
        "bytes_unused_before": plan.unused_bytes_before,
        "bytes_unused_after": plan.unused_bytes_after,
    }
    if not screen.wants_table():
        line({"message_type": "summary", "dry_run": dry_run, **told})
        return
    screen.say(
        f"packs  {told['packs_kept']} kept, {told['packs_repacked']} written anew, {told['packs_deleted']} deleted"
    )
    if plan.marked or plan.waiting:
        screen.say(f"       {told['packs_marked']} marked, {told['packs_waiting']} wait for the end of their grace")
    screen.say(
        f"bytes  {repo_words.size(plan.used_bytes)} in use, {repo_words.size(plan.freed_bytes)} freed, "
        f"{repo_words.size(plan.unused_bytes_after)} of waste stay"
    )
    if dry_run:
        screen.say("nothing was changed: this was a dry run", "bold")


def copy(
    ids: Ids = None,
    source: Annotated[
        str, typer.Option("--from-repo", envvar="RESTIC_FROM_REPOSITORY", help="Repository to copy from.")
    ] = "",
    source_password_file: Annotated[
        Path | None, typer.Option(envvar="RESTIC_FROM_PASSWORD_FILE", help="File with its password.")
    ] = None,
    source_password_command: Annotated[
        str, typer.Option(envvar="RESTIC_FROM_PASSWORD_COMMAND", help="Command that prints it.")
    ] = "",
    hosts: Hosts = None,
    tags: Tags = None,
    paths: Paths = None,
) -> None:
    """Copy snapshots from another repository; those that are here already are left out."""
    from opsuite_repository.choosing import some
    from opsuite_repository.copying import copy as bring

    with reported():
        secret = password(Access(source, source_password_file, source_password_command), what="password of --from-repo")
        with repository_at(source, secret) as origin, lock(origin, LockMode.READ) as held:
            found, _ = snapshots_of(origin)
            origin.load_index()
            wanted = some(found, ids or (), repo_options.snapshot_filter(hosts, tags, paths))
            with opened(LockMode.WRITE) as at, cancellable() as cancelled, progress() as sink:

                def guard() -> None:
                    at.guard()
                    if held is not None:
                        held.ensure()

                done = bring(
                    origin, at.repository, [saved.id for saved in wanted],
                    progress=sink, cancelled=cancelled, guard=guard,
                )  # fmt: skip
    if screen.wants_table():
        for old, new in done.copied.items():
            screen.say(f"{old[:8]} is {new[:8]} here")
        screen.say(
            f"{len(done.copied)} snapshots copied, {len(done.skipped)} were here already; "
            f"{repo_words.size(done.bytes_stored)} stored"
        )
    else:
        line(
            {
                "copied": dict(done.copied),
                "skipped": list(done.skipped),
                "blobs": done.blobs,
                "bytes": done.bytes_stored,
            }
        )


def unlock(
    remove_all: Annotated[
        bool, typer.Option("--remove-all", help="Those of the living too: they may then destroy each other's work.")
    ] = False,
) -> None:
    """Remove locks that nobody holds any more."""
    from opsuite_repository.locking import unlock as remove_locks

    with reported():
        access = current()
        with repository_at(access.address, password(access), key_hint=access.key_hint) as repository:
            removed = remove_locks(repository, all_locks=remove_all)
    if screen.wants_table():
        screen.say(f"{len(removed)} locks removed")
    else:
        line({"removed": removed})
