"""What one owner has applied, remembered in the cluster: a ConfigMap in the owner's namespace.

It names everything that the owner may have made, so it is written before anything is applied (old and new together) and
again after what was dropped is gone (only new). Whoever dies in between leaves a record that names too much, never too
little. It carries the epoch of its last owner, and is changed only in the version that was read.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import astuple, dataclass
from typing import Final

from opsuite_kernel.errors import Conflict, Stale
from opsuite_platforms.kubernetes_api import CONFIG_MAPS, KubernetesApi
from opsuite_platforms.kubernetes_status import annotation
from opsuite_platforms.kubernetes_transport import Object
from opsuite_platforms.kubernetes_workloads import EPOCH

OWNER: Final = "opsuite.owner"
"""Annotation of everything that was applied for an owner; as a label, its `mark`."""


@dataclass(frozen=True, slots=True, order=True)
class Reference:
    """Where an object is found."""

    api_version: str
    kind: str
    namespace: str
    """Empty for what is in none."""
    name: str

    def __str__(self) -> str:
        return f"{self.kind.lower()} {f'{self.namespace}/' if self.namespace else ''}{self.name}"


class Inventory:
    """The record of one owner."""

    def __init__(self, api: KubernetesApi, namespace: str, owner: str) -> None:
        self._api = api
        self._namespace = namespace
        self._owner = owner
        self._name = f"opsuite-{mark_of(owner)}"

    async def add(self, references: frozenset[Reference], epoch: int) -> frozenset[Reference]:
        """Remember these too; returns what was remembered before. Raises: Conflict (FENCED_OUT)."""
        while True:
            record = await self._api.find(CONFIG_MAPS, self._namespace, self._name)
            before = references_of(record)
            if record is not None and epoch < int(annotation(record, EPOCH) or 0):
                message = f"{self._owner}: epoch {epoch} is over, {annotation(record, EPOCH)} has taken over"
                raise Conflict(message, reason="FENCED_OUT")
            if await self._write(record, before | references, epoch):
                return before

    async def keep(self, references: frozenset[Reference], epoch: int) -> None:
        """Remember these alone. Raises: Conflict (FENCED_OUT)."""
        record = await self._api.find(CONFIG_MAPS, self._namespace, self._name)
        if record is not None and annotation(record, EPOCH) == str(epoch) and references_of(record) == references:
            return
        if (
            record is None
            or annotation(record, EPOCH) != str(epoch)
            or not await self._write(record, references, epoch)
        ):
            raise Conflict(f"{self._owner}: epoch {epoch} is over, another has taken over", reason="FENCED_OUT")

    async def _write(self, record: Object | None, references: frozenset[Reference], epoch: int) -> bool:
        """Whether it was as it had been read."""
        metadata: Object = {
            "name": self._name,
            "labels": {OWNER: mark_of(self._owner)},
            "annotations": {OWNER: self._owner, EPOCH: str(epoch)},
        }
        data = {"objects": json.dumps([astuple(each) for each in sorted(references)])}
        try:
            if record is None:
                await self._api.create(CONFIG_MAPS, self._namespace, {"metadata": metadata, "data": data})
            else:
                metadata["resourceVersion"] = record["metadata"]["resourceVersion"]
                await self._api.merge(CONFIG_MAPS, self._namespace, self._name, {"metadata": metadata, "data": data})
        except Stale:
            return False
        except Conflict as conflict:
            if conflict.reason != "ALREADY_EXISTS":
                raise
            return False
        return True


def references_of(record: Object | None) -> frozenset[Reference]:
    """What a record names."""
    text = ((record or {}).get("data") or {}).get("objects", "[]")
    return frozenset(Reference(*each) for each in json.loads(text))


def mark_of(owner: str) -> str:
    """The owner as a label and as part of a name can say it."""
    return hashlib.sha256(owner.encode()).hexdigest()[:16]
