"""Receivers and escalation policies as people change them, and what would come of them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Final

from opsuite_healer.application.incidents.errors import (
    EscalationPolicyExists,
    EscalationPolicyNotFound,
    EtagMismatch,
    ReceiverExists,
    ReceiverInUse,
    ReceiverNotFound,
)
from opsuite_healer.application.incidents.ports import PolicyRecord, Receiver, Tx
from opsuite_healer.application.names import ESCALATION_POLICIES
from opsuite_healer.application.unit import Store, begin, finish
from opsuite_healer.domain.incidents.escalation import Policy
from opsuite_kernel.clock import Clock
from opsuite_kernel.errors import InvalidInput, Violation
from opsuite_kernel.ids import new_id
from opsuite_notify.port import Channel, Message, Sender, SendResult
from opsuite_runs.port import Call

TEST_TEXT: Final = "This is a test. Nothing is wrong."


class Receivers:
    """The use cases of receivers."""

    def __init__(self, store: Store[Tx], sender: Sender, clock: Clock) -> None:
        self._store = store
        self._sender = sender
        self._clock = clock

    async def create(self, receiver: str, channel: Channel, description: str, call: Call) -> Receiver:
        """Record a receiver. Raises ReceiverExists."""

        def body(tx: Tx) -> Receiver:
            if begin(tx, call) is not None:
                return _receiver(tx.receiver(receiver), receiver)
            now = tx.now()
            record = Receiver(receiver, channel, description, created_at=now, updated_at=now)
            if not tx.put_receiver(record):
                raise ReceiverExists(receiver)
            finish(tx, call, receiver)
            return record

        return await self._store.write(body)

    async def get(self, receiver: str) -> Receiver:
        """A receiver. Raises ReceiverNotFound."""
        return await self._store.read(lambda tx: _receiver(tx.receiver(receiver), receiver))

    async def update(self, receiver: str, etag: str, change: Callable[[Receiver], Receiver], call: Call) -> Receiver:
        """Change a receiver. Raises ReceiverNotFound, EtagMismatch."""

        def body(tx: Tx) -> Receiver:
            if begin(tx, call) is not None:
                return _receiver(tx.receiver(receiver), receiver)
            present = _receiver(tx.lock_receiver(receiver), receiver, etag)
            record = replace(change(present), number=present.number + 1, updated_at=tx.now())
            tx.put_receiver(record)
            finish(tx, call, receiver)
            return record

        return await self._store.write(body)

    async def delete(self, receiver: str, etag: str, call: Call) -> None:
        """Forget a receiver. Raises ReceiverNotFound, EtagMismatch, ReceiverInUse."""

        def body(tx: Tx) -> None:
            if begin(tx, call) is not None:
                return
            _receiver(tx.lock_receiver(receiver), receiver, etag)
            if policy := tx.policy_naming(receiver):
                raise ReceiverInUse(receiver, policy)
            tx.delete_receiver(receiver)
            finish(tx, call, receiver)

        await self._store.write(body)

    async def test(self, receiver: str, text: str, actor: str) -> SendResult:
        """Send a message now, once, and say what came of it. Raises ReceiverNotFound."""
        found, now = await self.get(receiver), self._clock.now()
        message = Message(
            event="TEST",
            title=f"Test of receivers/{receiver}",
            text=text or TEST_TEXT,
            time=now,
            key=f"test-{receiver}",
            fields={"receiver": f"receivers/{receiver}", "by": actor},
        )
        return await self._sender.send(new_id(now), found.channel, message)


class EscalationPolicies:
    """The use cases of escalation policies."""

    def __init__(self, store: Store[Tx]) -> None:
        self._store = store

    async def create(self, policy: Policy, description: str, call: Call) -> PolicyRecord:
        """Record a policy. Raises InvalidInput (receivers that do not exist), EscalationPolicyExists."""

        def body(tx: Tx) -> PolicyRecord:
            if begin(tx, call) is not None:
                return _policy(tx.policy(policy.id), policy.id)
            _check_receivers(tx, policy)
            now = tx.now()
            record = PolicyRecord(policy, description, created_at=now, updated_at=now)
            if not tx.put_policy(record):
                raise EscalationPolicyExists(policy.id)
            finish(tx, call, policy.id)
            return record

        return await self._store.write(body)

    async def get(self, policy: str) -> PolicyRecord:
        """A policy. Raises EscalationPolicyNotFound."""
        return await self._store.read(lambda tx: _policy(tx.policy(policy), policy))

    async def update(
        self, policy: str, etag: str, change: Callable[[PolicyRecord], tuple[Policy, str]], call: Call
    ) -> PolicyRecord:
        """Change a policy; open incidents keep theirs. Raises EscalationPolicyNotFound, EtagMismatch, InvalidInput."""

        def body(tx: Tx) -> PolicyRecord:
            if begin(tx, call) is not None:
                return _policy(tx.policy(policy), policy)
            present = _policy(tx.lock_policy(policy), policy, etag)
            wanted, description = change(present)
            _check_receivers(tx, wanted)
            record = present.changed(wanted, description, tx.now())
            tx.put_policy(record)
            finish(tx, call, policy)
            return record

        return await self._store.write(body)

    async def delete(self, policy: str, etag: str, call: Call) -> None:
        """Forget a policy; open incidents keep it. Raises EscalationPolicyNotFound, EtagMismatch."""

        def body(tx: Tx) -> None:
            if begin(tx, call) is not None:
                return
            _policy(tx.lock_policy(policy), policy, etag)
            tx.delete_policy(policy)
            finish(tx, call, policy)

        await self._store.write(body)


def _receiver(found: Receiver | None, receiver: str, etag: str = "") -> Receiver:
    if found is None:
        raise ReceiverNotFound(receiver)
    if etag and etag != found.etag:
        raise EtagMismatch(f"receivers/{receiver}", etag, found.etag)
    return found


def _policy(found: PolicyRecord | None, policy: str, etag: str = "") -> PolicyRecord:
    if found is None:
        raise EscalationPolicyNotFound(policy)
    if etag and etag != found.etag:
        raise EtagMismatch(f"{ESCALATION_POLICIES}{policy}", etag, found.etag)
    return found


def _check_receivers(tx: Tx, policy: Policy) -> None:
    named = sorted({receiver for level in policy.levels for receiver in level.receivers})
    unknown = set(tx.unknown_receivers(named))
    if found := list(_missing(policy, unknown)):
        raise InvalidInput(found)


def _missing(policy: Policy, unknown: set[str]) -> Sequence[Violation]:
    return [
        Violation(
            f"policy.levels[{index}].receivers[{place}]", f"receivers/{receiver} does not exist", "UNKNOWN_RECEIVER"
        )
        for index, level in enumerate(policy.levels)
        for place, receiver in enumerate(level.receivers)
        if receiver in unknown
    ]
