"""Removing snapshots and giving them other tags."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Any

import typer

from opsuite_cli import repo_care, repo_options, repo_words, screen
from opsuite_cli.repo_access import LockMode, Opened, current, opened
from opsuite_cli.repo_ending import incomplete, refuse_unless
from opsuite_cli.repo_options import DryRun, GroupBy, Hosts, Ids, Paths, Tags
from opsuite_cli.repo_output import line

if TYPE_CHECKING:
    from opsuite_repository.choosing import SnapshotFilter
    from opsuite_repository.forgetting import ForgetReport, GroupPlan

_COUNT = "so many, or 'unlimited'"
_SPAN = "that are younger than this (1y6m, 90d) against the newest"


def add_to(app: typer.Typer) -> None:
    """Add the commands of this module."""
    app.command()(forget)
    app.command()(tag)


def _keep(what: str, *names: str) -> Any:
    return typer.Option(*names, help=f"Keep {what}.", rich_help_panel="What to keep", show_default=False)


def forget(  # a command has as many options as people need
    ids: Ids = None,
    last: Annotated[str, _keep(f"the last {_COUNT}", "--keep-last", "-l")] = "",
    hourly: Annotated[str, _keep(f"the last of each hour, {_COUNT}", "--keep-hourly")] = "",
    daily: Annotated[str, _keep(f"the last of each day, {_COUNT}", "--keep-daily", "-d")] = "",
    weekly: Annotated[str, _keep(f"the last of each week, {_COUNT}", "--keep-weekly", "-w")] = "",
    monthly: Annotated[str, _keep(f"the last of each month, {_COUNT}", "--keep-monthly", "-m")] = "",
    yearly: Annotated[str, _keep(f"the last of each year, {_COUNT}", "--keep-yearly", "-y")] = "",
    within: Annotated[str, _keep(f"those {_SPAN}", "--keep-within")] = "",
    within_hourly: Annotated[str, _keep(f"the last of each hour {_SPAN}", "--keep-within-hourly")] = "",
    within_daily: Annotated[str, _keep(f"the last of each day {_SPAN}", "--keep-within-daily")] = "",
    within_weekly: Annotated[str, _keep(f"the last of each week {_SPAN}", "--keep-within-weekly")] = "",
    within_monthly: Annotated[str, _keep(f"the last of each month {_SPAN}", "--keep-within-monthly")] = "",
    within_yearly: Annotated[str, _keep(f"the last of each year {_SPAN}", "--keep-within-yearly")] = "",
    keep_tags: Annotated[list[str] | None, _keep("those with all of these tags (a,b)", "--keep-tag")] = None,
    hosts: Hosts = None,
    tags: Tags = None,
    paths: Paths = None,
    group_by: GroupBy = "host,paths",
    prune: Annotated[bool, typer.Option("--prune", help="Remove what nothing refers to any more, afterwards.")] = False,
    dry_run: DryRun = False,
    allow_remove_all: Annotated[
        bool,
        typer.Option("--unsafe-allow-remove-all", help="With --host, --tag or --path, without --keep-…: all."),
    ] = False,
) -> None:
    """Remove snapshots: these, or by a policy those that no --keep-… wants. Each group is judged by itself."""
    with opened(LockMode.READ if dry_run and current().no_lock else LockMode.EXCLUSIVE, index=prune) as at:
        policy = repo_options.policy(
            {
                "last": last, "hourly": hourly, "daily": daily, "weekly": weekly, "monthly": monthly, "yearly": yearly,
                "within": within, "within_hourly": within_hourly, "within_daily": within_daily,
                "within_weekly": within_weekly, "within_monthly": within_monthly, "within_yearly": within_yearly,
                "tags": keep_tags,
            }
        )  # fmt: skip
        wanted = repo_options.snapshot_filter(hosts, tags, paths)
        if ids:
            removed = _named(at, ids, wanted)
        else:
            refuse_unless(bool(policy) or (allow_remove_all and bool(wanted)), "--keep-last", "say what to keep")
            plans = _plans(at, policy, wanted, group_by)
            removed = [saved.id for each in plans for saved in each.removed]
            if screen.wants_table():
                _print(plans)
            else:
                line([_document(each) for each in plans])
        _remove(at, removed, dry_run=dry_run, prune=prune)


def _named(at: Opened, ids: list[str], wanted: SnapshotFilter) -> list[str]:
    """Those with these ids; one that cannot be read has to be named whole."""
    from opsuite_repository.choosing import some

    readable = [id_ for id_ in ids if id_ not in at.unreadable]
    unreadable = [id_ for id_ in ids if id_ in at.unreadable]
    return unreadable + ([saved.id for saved in some(at.snapshots, readable, wanted)] if readable else [])


def _plans(at: Opened, policy: Any, wanted: SnapshotFilter, group_by: str) -> list[GroupPlan]:
    from opsuite_repository.choosing import parse_group_by, some
    from opsuite_repository.forgetting import plan_groups

    now = at.repository.storage.now() or datetime.now(UTC)
    return plan_groups(some(at.snapshots, (), wanted), policy, now=now, by=parse_group_by(group_by))


def _remove(at: Opened, ids: list[str], *, dry_run: bool, prune: bool) -> None:
    from opsuite_repository.forgetting import ForgetReport
    from opsuite_repository.forgetting import forget as remove

    report = ForgetReport([], []) if dry_run else remove(at.repository, ids, guard=at.guard)
    if screen.wants_table():
        screen.say(f"{len(ids)} snapshots would be removed" if dry_run else f"{len(report.removed)} snapshots removed")
    if prune and report.removed:
        repo_care.prune_now(at)
    _complain_of(report)


def _complain_of(report: ForgetReport) -> None:
    if report.failed:
        raise incomplete([f"snapshot {id_} could not be removed: {why}" for id_, why in report.failed])


def _print(plans: list[GroupPlan]) -> None:
    for each in plans:
        screen.say(f"snapshots of {each.key}: {len(each.kept)} kept, {len(each.removed)} removed", "bold")
        rows = [
            [
                "keep" if verdict.keep else "remove",
                verdict.saved.short_id,
                repo_words.local(verdict.saved.snapshot.time),
                ",".join(verdict.saved.snapshot.tags),
                ", ".join(verdict.reasons),
            ]
            for verdict in reversed(each.verdicts)
        ]
        screen.table(["", "ID", "TIME", "TAGS", "REASONS"], rows)


def _document(plan: GroupPlan) -> dict[str, Any]:
    """As restic's `forget --json`."""
    return {
        "tags": list(plan.key.tags) or None,
        "host": plan.key.hostname,
        "paths": list(plan.key.paths) or None,
        "keep": [repo_words.snapshot_document(saved) for saved in plan.kept],
        "remove": [repo_words.snapshot_document(saved) for saved in plan.removed] or None,
        "reasons": [
            {"snapshot": repo_words.snapshot_document(verdict.saved), "matches": list(verdict.reasons)}
            for verdict in plan.verdicts
            if verdict.keep
        ],
    }


def tag(
    ids: Ids = None,
    set_to: Annotated[
        list[str] | None, typer.Option("--set", help="These tags (a,b) and no others; '' for none.")
    ] = None,
    add: Annotated[list[str] | None, typer.Option("--add", help="These tags (a,b) too.")] = None,
    remove: Annotated[list[str] | None, typer.Option("--remove", help="Not these tags (a,b).")] = None,
    hosts: Hosts = None,
    tags: Tags = None,
    paths: Paths = None,
) -> None:
    """Give snapshots other tags; they get other ids by it."""
    from opsuite_repository.choosing import some
    from opsuite_repository.tagging import TagChange
    from opsuite_repository.tagging import tag as change_tags

    with opened(LockMode.EXCLUSIVE, index=False) as at:
        change = TagChange(set_to=None if set_to is None else _flat(set_to), add=_flat(add), remove=_flat(remove))
        found = some(at.snapshots, ids or (), repo_options.snapshot_filter(hosts, tags, paths))
        done = change_tags(at.repository, found, change, guard=at.guard)
    if not screen.wants_table():
        line([{"old_snapshot_id": each.old_id, "new_snapshot_id": each.new_id} for each in done])
        return
    for each in done:
        screen.say(f"{each.old_id[:8]} is now {each.new_id[:8]}")
    screen.say(f"{len(done)} snapshots changed")


def _flat(given: list[str] | None) -> tuple[str, ...]:
    from opsuite_repository.choosing import parse_tags

    return tuple(tag for each in given or () for tag in parse_tags(each) if tag)
