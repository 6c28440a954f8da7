"""How many alerts are routed, grouped and told, up to 100,000 of them: the rules alone, and over the real database.

In processor time of one core, that of the database's thread with it: what a core can do for others too. Waiting for the
disk is not in it; it is once for each push.
"""

from __future__ import annotations

import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import sqlalchemy as sa

from bench.table import Row
from opsuite_healer.adapters import tables
from opsuite_healer.adapters.alerts.transaction import SqlAlertTx
from opsuite_healer.adapters.unit import PartStore, SqlStore, SqlUnit
from opsuite_healer.application.alerts.alerts import Alerting
from opsuite_healer.application.alerts.flushing import Flushing
from opsuite_healer.application.alerts.quieting import QuietNow
from opsuite_healer.application.alerts.writing import Writing
from opsuite_healer.composition.service import MIGRATIONS
from opsuite_healer.domain.alerts.alert import Pushed
from opsuite_healer.domain.alerts.grouping import Member, Told, flush
from opsuite_healer.domain.alerts.inhibition import InhibitRule
from opsuite_healer.domain.alerts.labels import fingerprint
from opsuite_healer.domain.alerts.matching import parse
from opsuite_healer.domain.alerts.routing import Route, Router, Routing, Way
from opsuite_healer.domain.alerts.silences import Silence
from opsuite_healer.domain.trouble import Trouble
from opsuite_kernel.clock import SystemClock
from opsuite_kernel.ids import new_id
from opsuite_notify.port import Message
from opsuite_runs.port import Call
from opsuite_runs.reading import reader
from opsuite_runs.watch import Hub
from opsuite_storage.migrations import migrate
from opsuite_storage.store import open_store

ALERTS = 100_000
TEAMS = 50
SIZES = (1_000, 10_000, 100_000)
BATCH = 1000
GOAL_RATIO = 1.5
"""An alert among 100,000 may cost so many times one among 1,000."""
NOW = datetime(2026, 6, 1, 12, tzinfo=UTC)


def labels_of(number: int) -> dict[str, str]:
    """Labels such as Prometheus sends: a thousand alerts have the same name and cluster."""
    return {
        "alertname": f"Alert{number % 20}",
        "cluster": f"cluster-{number % 5}",
        "team": f"team-{number % TEAMS}",
        "instance": f"10.0.{number // 250}.{number % 250}:9100",
        "job": "node",
        "severity": ("info", "warning", "error", "critical")[number % 4],
        "number": str(number),
    }


def a_routing() -> Routing:
    """A route for each of fifty teams, half of them by an expression; groups by name and cluster."""
    routes = tuple(
        Route(
            id=f"team-{number}",
            matchers=(parse(f'team{"=~" if number % 2 else "="}"team-{number}"'),),
            receivers=(f"team-{number}",),
        )
        for number in range(TEAMS)
    )
    rule = InhibitRule("down", (parse('alertname="Alert0"'),), (parse('alertname=~"Alert1[0-9]"'),), ("instance",))
    return Routing(Route(receivers=("all",), group_by=("alertname", "cluster"), routes=routes), (rule,))


def processor_seconds(run: Callable[[], object]) -> float:
    """Processor time of a call."""
    began = time.process_time()
    run()
    return time.process_time() - began


def grouped(count: int) -> dict[str, list[str]]:
    """Fingerprints by group."""
    router = Router(a_routing())
    groups: dict[str, list[str]] = {}
    for number in range(count):
        labels = labels_of(number)
        name = fingerprint(labels)
        for way in router.ways(labels):
            groups.setdefault(way.group_id(way.group_labels(labels)), []).append(name)
    return groups


def members_of(count: int) -> list[Member]:
    """Members of one group, of which one is new."""
    told = [Told.FIRING] * (count - 1) + [Told.NOTHING]
    return [Member(f"{number:016x}", is_firing=True, is_quiet=False, told=one) for number, one in enumerate(told)]


def look_seconds(count: int, rounds: int) -> float:
    """Processor time of a look at one group of so many; the best of the rounds."""
    members = members_of(count)
    later = NOW + timedelta(minutes=5)
    return min(processor_seconds(lambda: flush(Way(receivers=("all",)), members, NOW, later)) for _ in range(rounds))


def group_seconds(count: int, rounds: int) -> float:
    """Processor time of routing and grouping so many; the best of the rounds."""
    return min(processor_seconds(lambda: grouped(count)) for _ in range(rounds))


class _Nobody:
    """Hears of trouble and messages, and does nothing: what incidents do with them is not measured here."""

    def __init__(self) -> None:
        self.messages = 0

    def found(self, trouble: Trouble) -> None:
        """Nothing."""

    def gone(self, key: str, at: datetime, reason: str) -> None:
        """Nothing."""

    def send(self, receivers: Sequence[str], message: Message, *, about: str) -> Sequence[str]:
        """Count it."""
        self.messages += 1
        return ()


class _Database:
    """The part over a real SQLite file."""

    def __init__(self, folder: Path) -> None:
        self.clock = SystemClock()
        self.database = open_store("sqlite", data_dir=folder, name="bench", clock=self.clock)
        self.nobody = _Nobody()
        store = SqlStore(self.database, Hub(reader(self.database, tables.events), self.clock), "bench", self.clock)
        self.store: PartStore[SqlAlertTx] = store.part(self._transaction)
        self.alerting = Alerting(self.store)

    def _transaction(self, unit: SqlUnit) -> SqlAlertTx:
        return SqlAlertTx(unit, self.nobody, self.nobody)

    async def push(self, first: int, last: int) -> float:
        """Processor seconds for these alerts, in pushes of a thousand."""
        began = time.process_time()
        for start in range(first, last, BATCH):
            told = [Pushed(labels_of(number)) for number in range(start, min(start + BATCH, last))]
            await self.alerting.push(told, Call("bench"))
        return time.process_time() - began

    async def look(self) -> tuple[float, int]:
        """Processor seconds for a look at every group, all of them new, and how many were told."""
        at_once = sa.text("UPDATE alert_groups SET next_flush_at = created_at")
        await self.store.write(lambda tx: tx.connection.execute(at_once))
        began = time.process_time()
        looked_at = await Flushing(self.store, Writing("")).look()
        return time.process_time() - began, len(looked_at.told)

    async def silence(self, count: int) -> None:
        """Record silences, of which none is about the alerts."""
        now = self.clock.now()
        wanted = Silence("", (parse('team="x"'), parse('job=~"node|api"')), now, now + timedelta(days=1), "ann", "why")
        silences = [replace(wanted, id=new_id(now), created_at=now, updated_at=now) for _ in range(count)]
        for silence in silences:
            await self.store.write(lambda tx, one=silence: tx.put_silence(one))  # type: ignore[misc]  # bound now

    async def quiet(self, count: int) -> float:
        """Processor seconds to find what keeps so many alerts quiet."""
        asked = {str(number): labels_of(number) for number in range(count)}

        def body(tx: SqlAlertTx) -> float:
            quiet = QuietNow(tx, tx.routing().routing.inhibit_rules, tx.unit.now())
            began = time.process_time()
            quiet.of_all(asked)
            return time.process_time() - began

        return await self.store.read(body)


async def main(rounds: int) -> list[Row]:
    """Every figure; the database once."""
    rows = _rules(min(rounds, 3))
    with tempfile.TemporaryDirectory(prefix="opsuite-bench-") as folder:
        rows += await _stored(Path(folder))
    return rows


def _rules(rounds: int) -> list[Row]:
    taken = {size: group_seconds(size, rounds) for size in SIZES}
    found = [Row(f"{size:,} alerts routed and grouped (50 routes)", f"{taken[size]:.3g} s") for size in SIZES]
    found.append(_growth("grouping one alert of 100,000", taken[ALERTS] / ALERTS, taken[SIZES[0]] / SIZES[0]))
    looks = {size: look_seconds(size, rounds) for size in SIZES}
    found.append(Row("a look at one group of 100,000", f"{looks[ALERTS] * 1000:.0f} ms"))
    found.append(_growth("looking at one member of 100,000", looks[ALERTS] / ALERTS, looks[SIZES[0]] / SIZES[0]))
    return found


async def _stored(folder: Path) -> list[Row]:
    world = _Database(folder)
    try:
        await migrate(world.database, MIGRATIONS)
        await world.alerting.set_routing(a_routing(), "", Call("bench"))
        first = await world.push(0, 10_000)
        middle = await world.push(10_000, ALERTS - 10_000)
        last = await world.push(ALERTS - 10_000, ALERTS)
        again = await world.push(0, 10_000)
        looks, told = await world.look()
        await world.silence(100)
        quiet = await world.quiet(10_000)
    finally:
        await world.database.close()
    total = first + middle + last
    return [
        Row("100,000 alerts pushed, kept and grouped (SQLite)", f"{total:.1f} s", f"{ALERTS / total:,.0f}/s"),
        _growth("pushing one more of 100,000", last / 10_000, first / 10_000),
        Row("pushing 10,000 again that go on", f"{again:.1f} s", f"{10_000 / again:,.0f}/s"),
        Row(
            f"a look at all {told:,} groups of 100,000 alerts", f"{looks:.1f} s", f"{world.nobody.messages:,} messages"
        ),
        Row("10,000 alerts judged by 100 silences and a rule", f"{quiet:.2f} s"),
    ]


def _growth(figure: str, many: float, few: float) -> Row:
    return Row(figure, f"{many * 1e6:.1f} us", f"of the first: {few * 1e6:.1f} us", many / few, GOAL_RATIO)


if __name__ == "__main__":
    import asyncio

    from bench.table import render

    sys.stdout.write(render(asyncio.run(main(2))) + "\n")
