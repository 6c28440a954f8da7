"""What must always hold of the deployments of one deployer, whatever people, the world and time do."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Final

from opsuite.deployer.v1 import deployment_pb2
from opsuite_deployer.domain.deployment import TERMINAL, TRANSITIONS, Status

Rows = Mapping[str, Mapping[str, Any]]
"""Rows of deployments by id."""

KINDS: Final = deployment_pb2.DeploymentEventKind
WAITING: Final = {"QUEUED"}
AT_WORK: Final = {"STARTING", "RUNNING", "VERIFYING", "PAUSED"}


class Oracle:
    """Compares what is with what was, each time that nothing is under way."""

    def __init__(self, max_concurrent: int) -> None:
        self._max_concurrent = max_concurrent
        self._ended: dict[str, Mapping[str, Any]] = {}
        self._statuses: dict[str, Status] = {}
        self._waiting: dict[tuple[str, str], list[str]] = {}
        self.seen_events = 0

    def check(
        self,
        rows: Rows,
        events: Iterable[tuple[int, deployment_pb2.DeploymentEvent]],
        executing: Iterable[Mapping[str, Any]],
        running: set[str],
    ) -> None:
        """`events` are those not seen before, with their positions; `running` are deployments that have a program."""
        self._check_events(rows, events)
        self._check_terminal(rows)
        self._check_slots(rows)
        self._check_rollbacks(rows)
        self._check_work(rows, executing, running)

    def _check_events(self, rows: Rows, events: Iterable[tuple[int, deployment_pb2.DeploymentEvent]]) -> None:
        """Dense, along the transitions, nothing after the end, first in first out."""
        for position, event in events:
            self.seen_events += 1
            assert position == self.seen_events, "the feed has a gap"
            row = rows[event.deployment.rpartition("/")[2]]
            status = Status(deployment_pb2.DeploymentStatus.Name(event.status).removeprefix("DEPLOYMENT_STATUS_"))
            before = self._statuses.get(row["id"])
            assert (before is None) == (event.kind == KINDS.Value("DEPLOYMENT_EVENT_KIND_CREATED"))
            if before is not None:
                assert before not in TERMINAL, f"{row['id']} goes on after its end"
                assert status is before or status in TRANSITIONS[before], f"{before} → {status}"
            assert (status in TERMINAL) == (event.kind == KINDS.Value("DEPLOYMENT_EVENT_KIND_ENDED"))
            self._statuses[row["id"]] = status
            self._check_order(row, before, status)
        for uid, row in rows.items():
            assert self._statuses[uid].value == row["status"], f"{uid} is not where its events say"

    def _check_order(self, row: Mapping[str, Any], before: Status | None, status: Status) -> None:
        queue = self._waiting.setdefault((row["pipeline"], row["environment"]), [])
        if before is None and not row["rollback_of"]:
            queue.append(row["id"])
        elif before is Status.QUEUED and status is not Status.QUEUED and row["id"] in queue:
            assert status is not Status.STARTING or queue[0] == row["id"], f"{row['id']} passed {queue}"
            queue.remove(row["id"])

    def _check_terminal(self, rows: Rows) -> None:
        for uid, row in rows.items():
            kept = {key: value for key, value in row.items() if key not in {"rolled_back_by", "holds_slot"}}
            if row["status"] in names(TERMINAL):
                assert self._ended.setdefault(uid, kept) == kept, f"{uid} changed after its end"
                assert row["ended_at"] is not None

    def _check_slots(self, rows: Rows) -> None:
        holders = [(row["pipeline"], row["environment"]) for row in rows.values() if row["holds_slot"]]
        assert len(holders) == len(set(holders))
        active = [row for row in rows.values() if row["status"] in AT_WORK]
        assert len(active) <= self._max_concurrent
        assert all(row["holds_slot"] for row in active)
        for row in rows.values():
            if row["status"] == "QUEUED" and len(active) < self._max_concurrent:
                assert (row["pipeline"], row["environment"]) in holders, f"{row['id']} waits for nothing"
            if row["holds_slot"]:
                assert row["status"] in AT_WORK | {"ROLLBACK_FAILED"}

    def _check_rollbacks(self, rows: Rows) -> None:
        for row in rows.values():
            if row["status"] == "ROLLING_BACK":
                assert rows[row["rolled_back_by"]]["status"] in AT_WORK, f"{row['id']} is rolled back by nobody"
                assert not row["rollback_of"], "a rollback was rolled back"
            if row["rollback_of"]:
                target = rows[row["rollback_of"]]
                assert (row["pipeline"], row["environment"]) == (target["pipeline"], target["environment"])

    def _check_work(self, rows: Rows, parts: Iterable[Mapping[str, Any]], running: set[str]) -> None:
        """Whoever is at work has something to do, and only they."""
        executing: dict[str, list[Any]] = {}
        for part in parts:
            executing.setdefault(part["deployment"], []).append(part)
        for uid, row in rows.items():
            if row["status"] in {"RUNNING", "VERIFYING"}:
                assert executing.get(uid), f"{uid} is {row['status']} and nothing runs"
            if row["status"] in names(TERMINAL) | WAITING:
                assert uid not in executing
        assert running <= executing.keys(), "a program runs that nobody knows of"


def names(statuses: frozenset[Status]) -> set[str]:
    """Statuses as the database has them."""
    return {status.value for status in statuses}
