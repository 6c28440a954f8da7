"""Who owns a run, on either database, when owners sleep, sweepers race and clocks lie."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Callable
from datetime import datetime, timedelta

import pytest
import sqlalchemy as sa
from fakes.clock import NOON, FakeClock

from opsuite_kernel.errors import Unavailable
from opsuite_runs.keeper import LeaseKeeper
from opsuite_runs.lease import Leases, new_owner
from opsuite_runs.port import FencedOut, Lease
from opsuite_storage.columns import UtcDateTime, new_metadata
from opsuite_storage.store import Store

METADATA = new_metadata()
RUNS = sa.Table(
    "runs",
    METADATA,
    sa.Column("id", sa.Text, primary_key=True),
    sa.Column("state", sa.Text, nullable=False),
    sa.Column("owner", sa.Text),
    sa.Column("epoch", sa.BigInteger, nullable=False),
    sa.Column("lease_expires_at", UtcDateTime),
)
AT_WORK = RUNS.c.state == "running"
LEASES = Leases(RUNS)
LONG = timedelta(minutes=10)


class Fleet:
    """The table of runs, seen by any number of owners."""

    def __init__(self, store: Store) -> None:
        self.store = store
        self._now: datetime | None = None

    async def add(self, *runs: str) -> None:
        rows = [{"id": run, "state": "running", "epoch": 0} for run in runs]
        await self.store.write(lambda tx: tx.execute(sa.insert(RUNS), rows).close())

    async def claim(self, owner: str, limit: int = 100, *, skew: timedelta = timedelta(0)) -> list[Lease]:
        return await self.store.write(
            lambda tx: LEASES.claim(tx, owner, where=AT_WORK, limit=limit, now=self.store.now(tx) + skew)
        )

    async def claim_one(self, owner: str, run: str) -> Lease | None:
        return await self.store.write(lambda tx: LEASES.claim_one(tx, owner, run, now=self.store.now(tx)))

    async def renew(self, *leases: Lease) -> set[str]:
        return await self.store.write(lambda tx: LEASES.renew(tx, leases, now=self.store.now(tx)))

    async def release(self, lease: Lease) -> bool:
        return await self.store.write(lambda tx: LEASES.release(tx, lease))

    async def finish(self, lease: Lease) -> None:
        await self.store.write(lambda tx: _finish(tx, lease))

    async def let_expire(self, *runs: str) -> None:
        """Let the leases have run out by the database's clock."""

        def body(tx: sa.Connection) -> None:
            past = self.store.now(tx) - timedelta(milliseconds=1)
            tx.execute(sa.update(RUNS).where(RUNS.c.id.in_(runs)).values(lease_expires_at=past))

        await self.store.write(body)

    async def row(self, run: str) -> tuple[str, str | None, int]:
        def body(tx: sa.Connection) -> tuple[str, str | None, int]:
            row = tx.execute(sa.select(RUNS).where(RUNS.c.id == run)).one()
            return row.state, row.owner, row.epoch

        return await self.store.read(body)


def _finish(tx: sa.Connection, lease: Lease) -> None:
    if not tx.execute(sa.update(RUNS).where(LEASES.fence(lease)).values(state="done")).rowcount:
        raise FencedOut(lease.run)


@pytest.fixture
async def fleet(store: Store) -> Fleet:
    await store.alter(METADATA.create_all)
    return Fleet(store)


async def test_a_free_run_is_claimed_once_and_its_epoch_grows(fleet: Fleet) -> None:
    await fleet.add("a")

    assert await fleet.claim("one") == [Lease("a", "one", 1)]
    assert await fleet.claim("two") == []
    assert await fleet.claim_one("two", "a") is None


async def test_a_claim_takes_no_more_than_asked_and_the_first_in_order(fleet: Fleet) -> None:
    await fleet.add(*"abcdef")
    newest_first = [RUNS.c.id.desc()]
    taken = await fleet.store.write(
        lambda tx: LEASES.claim(tx, "one", where=AT_WORK, limit=2, now=fleet.store.now(tx), order_by=newest_first)
    )

    assert {lease.run for lease in taken} == {"e", "f"}


async def test_a_run_that_is_not_asked_for_is_left_alone(fleet: Fleet) -> None:
    await fleet.add("a")
    lease = await fleet.claim_one("one", "a")
    assert lease
    await fleet.finish(lease)
    await fleet.let_expire("a")

    assert await fleet.claim("two") == []


async def test_an_owner_that_slept_through_its_lease_writes_nothing_when_it_wakes(fleet: Fleet) -> None:
    await fleet.add("a")
    [asleep] = await fleet.claim("one")
    await fleet.let_expire("a")
    [awake] = await fleet.claim("two")

    with pytest.raises(FencedOut):
        await fleet.finish(asleep)
    assert await fleet.renew(asleep) == set()
    assert not await fleet.release(asleep)
    assert await fleet.row("a") == ("running", "two", 2)
    await fleet.finish(awake)


async def test_a_process_is_fenced_from_its_own_earlier_lease(fleet: Fleet) -> None:
    await fleet.add("a")
    [earlier] = await fleet.claim("one")
    await fleet.let_expire("a")
    [later] = await fleet.claim("one")

    assert await fleet.renew(earlier) == set()
    with pytest.raises(FencedOut):
        await fleet.finish(earlier)
    assert not await fleet.release(earlier)
    assert await fleet.renew(later) == {"a"}


async def test_a_released_run_is_free_at_once_and_its_epoch_is_kept(fleet: Fleet) -> None:
    await fleet.add("a")
    [lease] = await fleet.claim("one")

    assert await fleet.release(lease)
    assert await fleet.row("a") == ("running", None, 1)
    assert await fleet.claim_one("two", "a") == Lease("a", "two", 2)


async def test_one_renewal_tells_which_of_many_leases_are_still_ours(fleet: Fleet) -> None:
    await fleet.add(*"abcd")
    leases = await fleet.claim("one")
    await fleet.let_expire("b", "c")
    await fleet.claim_one("two", "b")

    assert await fleet.renew(*leases) == {"a", "c", "d"}
    assert await fleet.claim("two") == []  # c was prolonged though it had run out
    assert await fleet.renew() == set()


async def test_the_holder_of_the_data_directory_takes_every_lease_over(fleet: Fleet) -> None:
    await fleet.add(*"ab")
    [old] = await fleet.claim("one", limit=1)
    taken = await fleet.store.write(lambda tx: LEASES.take_over_all(tx, "two", where=AT_WORK, now=fleet.store.now(tx)))

    assert sorted((lease.run, lease.epoch) for lease in taken) == [("a", 2), ("b", 1)]
    with pytest.raises(FencedOut):
        await fleet.finish(old)
    assert await fleet.claim("three") == []


async def test_in_any_order_of_sweepers_and_the_old_owner_one_alone_owns_the_run(fleet: Fleet) -> None:
    for order in itertools.permutations(["sweep one", "sweep two", "finish", "renew"]):
        await _play("-".join(order), order, fleet)


async def _play(run: str, order: tuple[str, ...], fleet: Fleet) -> None:
    await fleet.add(run)
    [old] = await fleet.claim("old")
    await fleet.let_expire(run)
    state, owner, epoch, expired = "running", "old", 1, True  # what a plain reading of the rules gives

    for step in order:
        match step:
            case "finish":
                allowed = epoch == 1
                try:
                    await fleet.finish(old)
                    assert allowed
                    state = "done"
                except FencedOut:
                    assert not allowed
            case "renew":
                assert await fleet.renew(old) == ({run} if epoch == 1 else set())
                expired = expired and epoch != 1
            case sweeper:
                taken = await fleet.claim(sweeper)
                if state == "running" and expired:
                    owner, epoch, expired = sweeper, epoch + 1, False
                    assert taken == [Lease(run, owner, epoch)]
                else:
                    assert taken == []
        assert await fleet.row(run) == (state, owner, epoch)


async def test_many_sweepers_at_once_never_own_the_same_run(fleet: Fleet) -> None:
    runs = [f"run-{number}" for number in range(60)]
    await fleet.add(*runs)
    owners = [new_owner() for _ in range(6)]

    taken = await asyncio.gather(*(fleet.claim(owner, limit=7) for owner in owners * 3))
    rest = await fleet.claim("last")  # SKIP LOCKED may pass over rows that another sweeper only looked at

    claimed = [lease.run for leases in [*taken, rest] for lease in leases]
    assert sorted(claimed) == sorted(runs)
    assert all(len(leases) <= 7 for leases in taken)


async def test_sweepers_and_finishers_at_once_leave_no_finished_run_with_a_new_owner(fleet: Fleet) -> None:
    runs = [f"run-{number}" for number in range(30)]
    await fleet.add(*runs)
    old = await fleet.claim("old")
    await fleet.let_expire(*runs)

    answers = await asyncio.gather(
        *(fleet.claim("sweeper", limit=5) for _ in range(6)),
        *(fleet.finish(lease) for lease in old),
        return_exceptions=True,
    )

    taken = {lease.run for leases in answers if isinstance(leases, list) for lease in leases}
    refused = {error.run for error in answers if isinstance(error, FencedOut)}
    assert taken == refused
    for run in runs:
        state, owner, _ = await fleet.row(run)
        assert (state, owner) == (("running", "sweeper") if run in taken else ("done", "old"))


async def test_replicas_with_wrong_clocks_neither_take_over_early_nor_miss_a_takeover(postgres_store: Store) -> None:
    await postgres_store.alter(METADATA.create_all)
    fleet = Fleet(postgres_store)
    await fleet.add("a")
    [lease] = await fleet.claim("slow", skew=-LONG)

    assert await fleet.claim("fast", skew=LONG) == []
    assert await fleet.renew(lease) == {"a"}
    await fleet.let_expire("a")
    assert await fleet.claim("slow again", skew=-LONG) == [Lease("a", "slow again", 2)]


async def test_a_lease_lasts_fifteen_seconds_of_the_clock_of_the_one_process(sqlite_store: Store) -> None:
    await sqlite_store.alter(METADATA.create_all)
    fleet = Fleet(sqlite_store)
    await fleet.add("a")

    def claim(after: timedelta, owner: str) -> Callable[[sa.Connection], list[Lease]]:
        return lambda tx: LEASES.claim(tx, owner, where=AT_WORK, limit=1, now=NOON + after)

    assert len(await fleet.store.write(claim(timedelta(0), "one"))) == 1
    assert await fleet.store.write(claim(timedelta(seconds=-3600), "two")) == []  # the clock has jumped back
    assert await fleet.store.write(claim(timedelta(seconds=15), "two")) == []
    assert len(await fleet.store.write(claim(timedelta(seconds=15, microseconds=1), "two"))) == 1


def test_two_starts_of_a_process_have_different_names() -> None:
    assert len({new_owner() for _ in range(100)}) == 100


# keeping leases alive


def keeper(fleet: Fleet, clock: FakeClock, lost: list[Lease]) -> LeaseKeeper:
    return LeaseKeeper(fleet.store, LEASES, clock, on_lost=lost.append)


async def test_a_kept_lease_may_be_used_until_ten_seconds_after_its_last_renewal(fleet: Fleet) -> None:
    await fleet.add("a")
    clock = FakeClock()
    kept = keeper(fleet, clock, [])
    [lease] = await fleet.claim("one")
    kept.hold(lease)

    clock.advance(timedelta(seconds=9))
    assert kept.may_act("a")
    await kept.renew()
    clock.advance(timedelta(seconds=9))
    assert kept.may_act("a")
    clock.advance(timedelta(seconds=1))
    assert not kept.may_act("a")
    assert not kept.may_act("another")


async def test_a_wall_clock_that_jumps_changes_nothing_about_what_may_be_done(fleet: Fleet) -> None:
    await fleet.add("a")
    clock = FakeClock()
    kept = keeper(fleet, clock, [])
    [lease] = await fleet.claim("one")
    kept.hold(lease)

    clock.jump(LONG)
    assert kept.may_act("a")
    clock.jump(-2 * LONG)
    clock.advance(timedelta(seconds=10))
    assert not kept.may_act("a")


async def test_a_lease_that_somebody_else_took_is_told_and_no_longer_held(fleet: Fleet) -> None:
    await fleet.add("a", "b")
    lost: list[Lease] = []
    kept = keeper(fleet, FakeClock(), lost)
    leases = await fleet.claim("one")
    for lease in leases:
        kept.hold(lease)
    await fleet.let_expire("a")
    await fleet.claim_one("two", "a")

    await kept.renew()

    assert [lease.run for lease in lost] == ["a"]
    assert [lease.run for lease in kept.held()] == ["b"]
    assert not kept.may_act("a")


async def test_a_dropped_lease_is_not_renewed(fleet: Fleet) -> None:
    await fleet.add("a")
    kept = keeper(fleet, FakeClock(), [])
    [lease] = await fleet.claim("one")
    kept.hold(lease)
    kept.drop("a")
    await fleet.let_expire("a")

    await kept.renew()

    assert await fleet.claim_one("two", "a") == Lease("a", "two", 2)


async def test_while_the_database_is_away_leases_are_held_but_not_trusted(fleet: Fleet) -> None:
    await fleet.add("a")
    clock = FakeClock()
    lost: list[Lease] = []
    kept = keeper(fleet, clock, lost)
    [lease] = await fleet.claim("one")
    kept.hold(lease)
    await fleet.store.close()
    clock.advance(timedelta(seconds=10))

    with pytest.raises(Unavailable):
        await kept.renew()

    assert not kept.may_act("a")
    assert kept.held() == [lease]
    assert lost == []


async def test_the_keeper_renews_by_itself(fleet: Fleet) -> None:
    await fleet.add("a")
    gone = asyncio.Event()
    kept = LeaseKeeper(fleet.store, LEASES, FakeClock(), lease=timedelta(milliseconds=15), on_lost=lambda _: gone.set())
    [lease] = await fleet.claim("one")
    kept.hold(lease)
    await fleet.let_expire("a")
    await fleet.claim_one("two", "a")
    task = asyncio.create_task(kept.run())

    async with asyncio.timeout(20):
        await gone.wait()

    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
