"""The retention plan, compared with what `restic forget --dry-run` says of the same snapshots."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from dataclasses import asdict, replace
from datetime import UTC, datetime
from hashlib import sha256
from operator import itemgetter
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, assume, given, settings
from hypothesis import strategies as st
from repo_command import repo
from restic import PASSWORD, Restic

from opsuite_repository.choosing import GroupBy, Saved, grouped
from opsuite_repository.format import unpacked
from opsuite_repository.format.keys import Cost
from opsuite_repository.format.snapshots import Snapshot
from opsuite_repository.format.times import Instant
from opsuite_repository.periods import NO_SPAN, Span, before
from opsuite_repository.repository import Repository
from opsuite_repository.retention import Policy, plan
from opsuite_repository.storage.local import LocalStorage

SECOND = 1_000_000_000
HOUR, DAY = 3600 * SECOND, 86_400 * SECOND
PAST = (631_152_000 * SECOND, 1_546_300_800 * SECOND)  # 1990 to 2019
FUTURE = 4_102_444_800 * SECOND  # 2100
ANCIENT = -60_000_000_000 * SECOND  # the year 68
BATCH = 16
"""Histories that one call of restic judges, each of a host of its own."""

counts = st.one_of(st.just(0), st.integers(1, 6), st.just(-1))
spans = st.one_of(
    st.just(NO_SPAN),
    st.tuples(st.integers(0, 3), st.integers(0, 14), st.integers(0, 40), st.integers(0, 60)).map(Span._make),
    st.integers(1, 10).map(lambda days: Span(days=days)),
)
tag_lists = st.lists(
    st.lists(st.sampled_from(["", "keep", "daily", "x y"]), min_size=1, max_size=2).map(tuple), max_size=2
).map(tuple)
policies = st.builds(
    Policy,
    last=counts, hourly=counts, daily=counts, weekly=counts, monthly=counts, yearly=counts,
    within=spans, within_hourly=spans, within_daily=spans, within_weekly=spans, within_monthly=spans,
    within_yearly=spans, tags=tag_lists,
)  # fmt: skip
sparse_policies = st.one_of(
    st.builds(Policy, last=counts, daily=counts, yearly=counts, tags=tag_lists),
    st.builds(Policy, weekly=counts, within_weekly=spans),
    st.builds(Policy, hourly=counts, monthly=counts, within=spans),
    st.builds(Policy, within_daily=spans, within_monthly=spans, within_yearly=spans),
    st.builds(Policy, tags=tag_lists),
)
steps = st.one_of(
    st.integers(1, SECOND),
    st.integers(1, 3 * HOUR),
    st.integers(1, 3).map(lambda hours: hours * HOUR),
    st.integers(1, 40).map(lambda days: days * DAY),
    st.integers(1, 400 * DAY),
)
zones = st.sampled_from([0, 0, 60, 120, -300, 345, 840, -720])
tags = st.lists(st.sampled_from(["keep", "daily", "x y"]), max_size=2, unique=True).map(tuple)


@st.composite
def histories(draw: st.DrawFn, host: str, policy: Policy) -> list[Snapshot]:
    """Snapshots of one host, some of them where a rule ends to the nanosecond."""
    at = draw(st.one_of(st.integers(*PAST), st.just(PAST[0]), st.just(FUTURE), st.just(ANCIENT)))
    times = {at, *(at := at + step for step in draw(st.lists(steps, max_size=14)))}
    newest = Instant(max(time for time in times if time < FUTURE) if at < FUTURE else at, draw(zones))
    for span in (policy.within, policy.within_daily, policy.within_monthly):
        if any(span) and draw(st.booleans()):
            times |= {before(newest, span) + draw(st.integers(-1, 1))}
    if draw(st.integers(0, 9)) == 0:
        times |= {FUTURE + draw(st.integers(0, DAY))}
    zone = draw(zones)
    return [
        _snapshot(host, Instant(ns, zone if ns != newest.ns else newest.offset_minutes), draw(tags)) for ns in times
    ]


@st.composite
def batches(draw: st.DrawFn) -> tuple[Policy, list[Snapshot]]:
    """A policy, and histories of many hosts."""
    policy = draw(st.one_of(policies, sparse_policies))
    return policy, [snapshot for number in range(BATCH) for snapshot in draw(histories(f"host-{number:02}", policy))]


def _snapshot(host: str, time: Instant, labels: tuple[str, ...]) -> Snapshot:
    return Snapshot(time=time, tree=bytes(31) + b"\1", paths=("/srv",), hostname=host, tags=labels)


class Judge:
    """A repository that holds nothing but snapshots, and restic's opinion of them."""

    def __init__(self, place: Path) -> None:
        self._repository = Repository.init(LocalStorage(place), PASSWORD, cost=Cost(n=2, r=8, p=1))
        self._restic = Restic(place)
        self._snapshots = place / "snapshots"
        self._snapshots.mkdir(exist_ok=True)

    def hold(self, snapshots: list[Snapshot]) -> list[Saved]:
        """Put exactly these into the repository."""
        for old in self._snapshots.iterdir():
            old.unlink()
        saved = []
        for snapshot in snapshots:
            stored = self._repository.sealer.seal(unpacked.encode(snapshot.encode()))
            saved.append(Saved(sha256(stored).hexdigest(), snapshot))
            (self._snapshots / saved[-1].id).write_bytes(stored)
        return saved

    def drop(self, saved: list[Saved]) -> None:
        """Take some out again."""
        for each in saved:
            (self._snapshots / each.id).unlink()

    def verdicts(self, policy: Policy) -> dict[str, tuple[str, ...]]:
        """Reasons by the id of each snapshot that restic keeps."""
        done = self._forget(policy)
        assert done.returncode == 0, done.stderr
        groups = json.loads(done.stdout or "[]")
        return {
            reason["snapshot"]["id"]: tuple(reason["matches"]) for group in groups for reason in group["reasons"] or ()
        }

    def refuses(self, policy: Policy) -> bool:
        """Whether restic will not remove all snapshots of a group."""
        return "refusing to delete last snapshot" in self._forget(policy).stderr

    def _forget(self, policy: Policy) -> Any:
        return self._restic(
            "forget", "--dry-run", "--json", "--no-cache", "--no-lock", "--group-by", "host",
            *_options(policy), check=False,
        )  # fmt: skip


def _options(policy: Policy) -> Iterator[str]:
    for name, value in asdict(policy).items():
        option = f"--keep-{name.replace('_', '-')}"
        if name == "tags":
            yield from (f"--keep-tag={','.join(each)}" for each in value)
        elif name.startswith("within"):
            if any(value):
                yield f"{option}={Span(*value)}"
        elif value:
            yield f"{option}={'unlimited' if value == -1 else value}"


@pytest.fixture(scope="module")
def judge(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Judge]:
    """Its clock runs in UTC: restic would count hours before a moment by the summer time of its own zone."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(os.environ, "TZ", "UTC")
        yield Judge(tmp_path_factory.mktemp("judged") / "repository")


def assert_agreed(judge: Judge, policy: Policy, snapshots: list[Snapshot]) -> None:
    """Compare each group; those of which nothing would be kept are to be refused."""
    saved = judge.hold(snapshots)
    groups = list(grouped(saved, {GroupBy.HOST}).values())
    planned = [plan(group, policy, now=datetime.now(UTC)) for group in groups]
    emptied = [each for each in planned if not any(verdict.keep for verdict in each)]

    if emptied:
        judge.drop([verdict.saved for each in planned if each not in emptied for verdict in each])
        assert judge.refuses(policy)
        judge.hold([])
        saved = judge.hold([verdict.saved.snapshot for each in planned if each not in emptied for verdict in each])

    ours = {
        verdict.saved.id: verdict.reasons
        for group in grouped(saved, {GroupBy.HOST}).values()
        for verdict in plan(group, policy, now=datetime.now(UTC))
        if verdict.keep
    }
    assert judge.verdicts(policy) == ours


def compared(examples: int) -> Callable[[Any], Any]:
    """Settings of a run; shrinking is worth its time, a deadline says nothing beside another program."""
    return settings(
        max_examples=examples,
        deadline=None,
        suppress_health_check=list(HealthCheck),
        phases=(Phase.explicit, Phase.generate, Phase.shrink),
        derandomize=examples < 100,
        database=None,
    )


@compared(20)
@given(batches())
def test_policies_keep_what_restic_keeps_for_the_same_reasons(
    judge: Judge, batch: tuple[Policy, list[Snapshot]]
) -> None:
    policy, snapshots = batch
    assume(policy)

    assert_agreed(judge, policy, snapshots)


@pytest.mark.long
@compared(500)
@given(batches())
def test_thousands_of_histories_are_kept_as_restic_keeps_them(
    judge: Judge, batch: tuple[Policy, list[Snapshot]]
) -> None:
    policy, snapshots = batch
    assume(policy)

    assert_agreed(judge, policy, snapshots)


@pytest.mark.parametrize("group_by", ["host,paths", "host", "tags", "paths,tags", ""])
def test_what_is_said_of_groups_is_what_restic_says(tmp_path: Path, group_by: str) -> None:
    Judge(tmp_path / "repository").hold(
        [
            replace(_snapshot(host, Instant(PAST[0] + number * 7 * HOUR + after), labels), paths=paths)
            for number in range(12)
            for after, host, labels, paths in (
                (0, "web", (), ("/a", "/b")),
                (1, "web", ("x", "a"), ("/b", "/a")),
                (2, "db", ("a", "x"), ("/a",)),
            )
            if (number + len(host)) % 3
        ]
    )
    options = ["forget", "--keep-last", "1", "--keep-daily", "2", "--keep-tag", "x,a", "--group-by", group_by]

    ours = repo(tmp_path / "repository", *options, "--dry-run", "--no-lock", "--json").document
    stock = json.loads(Restic(tmp_path / "repository")(*options, "--dry-run", "--no-lock", "--json").stdout)

    assert _sorted(ours) == _sorted(stock)


def _sorted(groups: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Groups come in any order from restic."""
    for group in groups:
        for each in (*(group["keep"] or ()), *(group["remove"] or ())):
            each["paths"] = sorted(each["paths"])  # restic sorts them on the way, and sometimes the tags
            each.get("tags", []).sort()
        for name in ("keep", "remove"):
            group[name] = sorted(group[name] or (), key=itemgetter("id"))
        group["reasons"] = sorted((each["snapshot"]["id"], each["matches"]) for each in group["reasons"])
    return sorted(groups, key=lambda group: json.dumps([group["host"], group["paths"], group["tags"]]))
