"""Runbooks as people keep them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

from opsuite_healer.application.runbooks.errors import EtagMismatch, RunbookNotFound
from opsuite_healer.application.runbooks.ports import Tx
from opsuite_healer.application.runbooks.records import RunbookRecord
from opsuite_healer.application.unit import Store, begin, finish
from opsuite_healer.domain.runbooks.runbook import Runbook
from opsuite_kernel.errors import InvalidInput, Violation
from opsuite_runs.port import Call

Judge = Callable[[Runbook], Sequence[Violation]]
"""All that is wrong with a runbook."""


class Catalogue:
    """The use cases that keep runbooks."""

    def __init__(self, store: Store[Tx], judge: Judge) -> None:
        self._store = store
        self._judge = judge

    def violations(self, runbook: Runbook) -> Sequence[Violation]:
        """All that is wrong with a runbook."""
        return self._judge(runbook)

    async def create(self, runbook: Runbook, path: str, call: Call) -> RunbookRecord:
        """Record a runbook; `path` is where it stands in the request. Raises InvalidInput, RunbookExists."""
        self._refuse(runbook, path)

        def body(tx: Tx) -> RunbookRecord:
            if begin(tx, call) is not None:
                return _require(tx, runbook.id)
            record = RunbookRecord(runbook, 1, tx.now(), tx.now(), call.actor)
            tx.add_runbook(record)
            finish(tx, call, runbook.id)
            return record

        return await self._store.write(body)

    async def get(self, runbook: str) -> RunbookRecord:
        """A runbook. Raises RunbookNotFound."""
        return await self._store.read(lambda tx: _require(tx, runbook))

    async def update(self, runbook: Runbook, etag: str, path: str, call: Call) -> RunbookRecord:
        """Replace a runbook. Raises InvalidInput, RunbookNotFound, EtagMismatch."""
        self._refuse(runbook, path)

        def body(tx: Tx) -> RunbookRecord:
            if begin(tx, call) is not None:
                return _require(tx, runbook.id)
            present = _locked(tx, runbook.id, etag)
            record = replace(present, runbook=runbook, number=present.number + 1, updated_at=tx.now())
            tx.put_runbook(record)
            finish(tx, call, runbook.id)
            return record

        return await self._store.write(body)

    async def delete(self, runbook: str, etag: str, call: Call) -> None:
        """Forget a runbook. Raises RunbookNotFound, EtagMismatch."""

        def body(tx: Tx) -> None:
            if begin(tx, call) is not None:
                return
            _locked(tx, runbook, etag)
            tx.delete_runbook(runbook)
            finish(tx, call, runbook)

        await self._store.write(body)

    def _refuse(self, runbook: Runbook, path: str) -> None:
        if wrong := self._judge(runbook):
            raise InvalidInput([violation.below(path) for violation in wrong] if path else list(wrong))


def _require(tx: Tx, runbook: str) -> RunbookRecord:
    if (record := tx.runbook(runbook)) is None:
        raise RunbookNotFound(runbook)
    return record


def _locked(tx: Tx, runbook: str, etag: str) -> RunbookRecord:
    if (record := tx.lock_runbook(runbook)) is None:
        raise RunbookNotFound(runbook)
    if etag and etag != record.etag:
        raise EtagMismatch(record.runbook.name, etag, record.etag)
    return record
