"""Policies as people change them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

from opsuite_healer.application.actions import Actions
from opsuite_healer.application.remediation.errors import EtagMismatch, PolicyNotFound
from opsuite_healer.application.remediation.records import PART, PolicyRecord
from opsuite_healer.application.remediation.store import Store, Tx
from opsuite_healer.application.unit import begin, finish
from opsuite_healer.domain.remediation.policy import HealingPolicy
from opsuite_healer.domain.remediation.rules import violations
from opsuite_kernel.errors import InvalidInput
from opsuite_runs.port import Call


@dataclass(frozen=True, slots=True)
class NewPolicy:
    """A policy as it was given."""

    policy: HealingPolicy
    document: bytes


Merge = Callable[[bytes], NewPolicy]
"""The policy that becomes of a document. Raises InvalidInput."""


class Policies:
    """The use cases that change policies."""

    def __init__(self, store: Store, actions: Actions) -> None:
        self._store = store
        self._actions = actions

    async def create(self, new: NewPolicy, call: Call) -> PolicyRecord:
        """Record a policy. Raises PolicyExists, InvalidInput (POLICY_INVALID)."""
        self._judge(new.policy)

        def body(tx: Tx) -> PolicyRecord:
            if begin(tx, call) is not None:
                return require(tx, new.policy.id)
            now = tx.now()
            record = PolicyRecord(new.policy.id, new.policy, new.document, 1, now, now, call.actor)
            tx.add_policy(record)
            finish(tx, call, record.id)
            tx.nudge(PART)
            return record

        return await self._store.write(body)

    async def get(self, policy: str) -> PolicyRecord:
        """A policy. Raises PolicyNotFound."""
        return await self._store.read(lambda tx: require(tx, policy))

    async def update(self, policy: str, etag: str, merge: Merge, call: Call) -> PolicyRecord:
        """Change a policy. Raises PolicyNotFound, EtagMismatch, InvalidInput (POLICY_INVALID)."""

        def body(tx: Tx) -> PolicyRecord:
            if begin(tx, call) is not None:
                return require(tx, policy)
            tx.lock_policy(policy)
            present = require(tx, policy, etag)
            new = merge(present.document)
            self._judge(new.policy)
            record = replace(
                present, policy=new.policy, document=new.document, number=present.number + 1, updated_at=tx.now()
            )
            tx.put_policy(record)
            finish(tx, call, policy)
            tx.nudge(PART)
            return record

        return await self._store.write(body)

    async def delete(self, policy: str, etag: str, call: Call) -> None:
        """Forget a policy. Raises PolicyNotFound, EtagMismatch."""

        def body(tx: Tx) -> None:
            if begin(tx, call) is not None:
                return
            tx.lock_policy(policy)
            require(tx, policy, etag)
            tx.delete_policy(policy)
            finish(tx, call, policy)

        await self._store.write(body)

    def _judge(self, policy: HealingPolicy) -> None:
        if found := violations(policy, self._actions.violations):
            raise InvalidInput([one.below("policy") for one in found], reason="POLICY_INVALID")


def require(tx: Tx, policy: str, etag: str = "") -> PolicyRecord:
    """A policy. Raises PolicyNotFound, EtagMismatch."""
    record = tx.policy(policy)
    if record is None:
        raise PolicyNotFound(policy)
    if etag and etag != record.etag:
        raise EtagMismatch(record.name, etag, record.etag)
    return record
