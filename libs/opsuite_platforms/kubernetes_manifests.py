"""Applies manifests to a cluster; fits `manifests_port.ManifestApplier`.

In order: **rehearse** every document on the server, so that what would be refused is known before anything is changed;
**remember** in the inventory what is about to be there; **apply** server-side as field manager `opsuite`, without force
(a field that someone else owns is told by its name and the other's, and left alone), namespaces and definitions before
what needs them; **wait** until all is ready; only then **prune** what was dropped, so that a version that does not
become ready costs nothing of the one before. Each part may be repeated, so a crash anywhere is mended by another run.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from opsuite_kernel.clock import Clock, SystemClock
from opsuite_kernel.errors import Conflict, InvalidInput, NotFound, OpsuiteError, Stale, Violation
from opsuite_platforms import kubernetes_documents
from opsuite_platforms.kubernetes_api import KubernetesApi, Resource
from opsuite_platforms.kubernetes_inventory import OWNER, Inventory, Reference, mark_of
from opsuite_platforms.kubernetes_status import annotation
from opsuite_platforms.kubernetes_transport import Object
from opsuite_platforms.kubernetes_waiting import Waiting
from opsuite_platforms.manifests_port import Document, ManifestResult, ManifestSet
from opsuite_platforms.port import OnOutput, OutputLine, Stream

NAMESPACE: Final = "Namespace"
DEFINITION: Final = "CustomResourceDefinition"
# What others need to be there before them, first; everything else follows in the order of the documents.
FIRST: Final = (
    NAMESPACE,
    DEFINITION,
    "PriorityClass",
    "StorageClass",
    "ResourceQuota",
    "LimitRange",
    "ServiceAccount",
    "ClusterRole",
    "ClusterRoleBinding",
    "Role",
    "RoleBinding",
    "Secret",
    "ConfigMap",
    "PersistentVolume",
    "PersistentVolumeClaim",
    "Service",
)
# Removing one of these removes what people cannot make again: that is left to people.
PRECIOUS: Final = frozenset({NAMESPACE, DEFINITION, "PersistentVolume", "PersistentVolumeClaim"})

Say = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Wanted:
    """One document, ready to be applied."""

    reference: Reference
    resource: Resource
    body: Object


class KubernetesManifests:
    """Manifests for one cluster. The API may be shared with others; who made it closes it."""

    def __init__(self, api: KubernetesApi, *, clock: Clock | None = None) -> None:
        self._api = api
        self._clock = clock or SystemClock()

    async def load(self, path: str) -> Sequence[Document]:
        """The documents of a file, a directory, or a kustomization. Raises: InvalidInput, Unavailable (no kubectl)."""
        return await kubernetes_documents.load(Path(path))

    async def run(self, manifests: ManifestSet, *, epoch: int, on_output: OnOutput) -> ManifestResult:
        """Apply all, wait until all is ready, remove what was dropped; the port tells the rest."""

        def say(text: str) -> None:
            on_output([OutputLine(self._clock.now(), Stream.STDOUT, text)])

        wanted = await self._resolved(manifests)
        await self._rehearse(wanted, manifests.owner)
        references = frozenset(each.reference for each in wanted)
        inventory = Inventory(self._api, manifests.namespace, manifests.owner)
        await self._make_room_for_inventory(wanted, manifests.namespace, say)
        dropped = await inventory.add(references, epoch) - references
        waiting = Waiting(self._api, self._clock, manifests.progress_deadline, say)
        for group in groups_of(wanted):
            applied = [await self._apply(each, say) for each in group]
            result = await waiting.until_ready(applied)
            if not result.succeeded:
                return result
        kept = dropped if manifests.keep_dropped else await self._prune(dropped, manifests.owner, say)
        await inventory.keep(references | kept, epoch)
        return result

    async def check(self) -> None:
        """Return if the cluster answers. Raises: Unavailable, saying what to do."""
        await self._api.version()

    async def _resolved(self, manifests: ManifestSet) -> Sequence[Wanted]:
        """Every document with its address and its owner. Raises: InvalidInput."""
        if not manifests.documents:
            raise InvalidInput([Violation("manifest_path", "holds no manifest")], reason="NOT_A_MANIFEST")
        defined = dict(definitions(manifests.documents))
        wanted, wrong = list[Wanted](), list[Violation]()
        for document in manifests.documents:
            api_version, kind = document["apiVersion"], document["kind"]
            try:
                resource = defined.get((api_version, kind)) or await self._api.kind(api_version, kind)
            except NotFound as fault:
                wrong.append(Violation("manifest_path", fault.message, fault.reason))
                continue
            wanted.append(wanted_of(document, resource, manifests))
        if wrong:
            raise InvalidInput(wrong, reason="KIND_UNKNOWN")
        return wanted

    async def _rehearse(self, wanted: Sequence[Wanted], owner: str) -> None:
        """Raises: InvalidInput (all that is wrong at once), Conflict, Denied, Unavailable."""
        made_here = {each.reference.name for each in wanted if each.reference.kind == NAMESPACE}
        faults = await asyncio.gather(*(self._fault_of(each, owner, made_here) for each in wanted))
        told = [fault for fault in faults if fault is not None]
        wrong = [violation for fault in told if isinstance(fault, InvalidInput) for violation in fault.violations]
        for fault in told:
            if not isinstance(fault, InvalidInput):
                raise fault
        if wrong:
            raise InvalidInput(wrong, reason="REFUSED_BY_KUBERNETES")

    async def _fault_of(self, each: Wanted, owner: str, made_here: set[str]) -> OpsuiteError | None:
        """What the server would say against it."""
        try:
            found = await self._api.find(each.resource, each.reference.namespace, each.reference.name)
            if found is not None and (other := annotation(found, OWNER)) not in {"", owner}:
                return Conflict(f"{each.reference} belongs to {other}", reason="OWNED_BY_ANOTHER")
            await self._api.apply(each.resource, each.reference.namespace, each.body, dry_run=True)
        except InvalidInput as fault:
            below = [Violation(f"{each.reference}: {v.field}", v.description, v.reason) for v in fault.violations]
            return InvalidInput(below, reason=fault.reason)
        except NotFound as fault:
            if fault.kind != "namespace":
                return None  # of a kind that a definition among these is about to bring
            if fault.name not in made_here:
                return InvalidInput([Violation(f"{each.reference}: metadata.namespace", fault.message)])
        except Conflict as fault:
            return Conflict(f"{each.reference}: {fault.message}", reason=fault.reason, metadata=fault.metadata)
        except OpsuiteError as fault:
            return fault
        return None

    async def _make_room_for_inventory(self, wanted: Sequence[Wanted], namespace: str, say: Say) -> None:
        """Make the namespace that the inventory is kept in, if it is among what is wanted and not there."""
        for each in wanted:
            is_it = (each.reference.kind, each.reference.name) == (NAMESPACE, namespace)
            if is_it and await self._api.find(each.resource, "", namespace) is None:
                await self._apply(each, say)

    async def _apply(self, each: Wanted, say: Say) -> tuple[Reference, Resource]:
        namespace, name = each.reference.namespace, each.reference.name
        before = await self._api.find(each.resource, namespace, name)
        after = await self._api.apply(each.resource, namespace, each.body)
        is_equal = before is not None and version_of(before) == version_of(after)
        say(f"{each.reference} {'created' if before is None else 'unchanged' if is_equal else 'changed'}")
        return each.reference, each.resource

    async def _prune(self, dropped: Iterable[Reference], owner: str, say: Say) -> frozenset[Reference]:
        """Remove them, what needs others before those; returns what stays ours."""
        kept = set[Reference]()
        for reference in sorted(dropped, key=lambda each: (rank_of(each), each), reverse=True):
            if reference.kind in PRECIOUS:
                say(f"{reference} stays although it was dropped: it may hold data; remove it by hand")
                kept.add(reference)
            elif await self._remove(reference, owner):
                say(f"{reference} removed")
        return frozenset(kept)

    async def _remove(self, reference: Reference, owner: str) -> bool:
        """Whether it was there, and ours."""
        try:
            resource = await self._api.kind(reference.api_version, reference.kind)
        except NotFound:
            return False  # with its definition all of its kind went
        found = await self._api.find(resource, reference.namespace, reference.name)
        if found is None or annotation(found, OWNER) != owner:
            return False
        try:
            uid = found["metadata"]["uid"]
            return await self._api.delete(resource, reference.namespace, reference.name, uid=uid)
        except Stale:
            return False  # somebody else's, made in between


def wanted_of(document: Document, resource: Resource, manifests: ManifestSet) -> Wanted:
    """The document with its namespace and its owner."""
    metadata = dict(document["metadata"])
    namespace = str(metadata.get("namespace") or manifests.namespace) if resource.is_namespaced else ""
    metadata |= {
        "labels": (metadata.get("labels") or {}) | {OWNER: mark_of(manifests.owner)},
        "annotations": (metadata.get("annotations") or {}) | {OWNER: manifests.owner},
    }
    if namespace:
        metadata["namespace"] = namespace
    reference = Reference(resource.group_version, resource.kind, namespace, str(metadata["name"]))
    return Wanted(reference, resource, {**document, "metadata": metadata})


def definitions(documents: Iterable[Document]) -> Iterable[tuple[tuple[str, str], Resource]]:
    """The kinds that these documents define, by version and kind; the server does not know them yet."""
    for document in documents:
        if document["kind"] == DEFINITION:
            spec = document.get("spec") or {}
            names = spec.get("names") or {}
            for version in spec.get("versions") or []:
                group_version, kind = f"{spec.get('group')}/{version.get('name')}", str(names.get("kind"))
                is_namespaced = spec.get("scope") == "Namespaced"
                yield (group_version, kind), Resource(group_version, str(names.get("plural")), kind, is_namespaced)


def groups_of(wanted: Sequence[Wanted]) -> Sequence[Sequence[Wanted]]:
    """What is applied and waited for together, in order: namespaces, definitions, all the rest."""
    ordered = sorted(wanted, key=lambda each: rank_of(each.reference))
    kinds = [{NAMESPACE}, {DEFINITION}]
    first = [[each for each in ordered if each.reference.kind in group] for group in kinds]
    rest = [each for each in ordered if each.reference.kind not in {NAMESPACE, DEFINITION}]
    return [group for group in [*first, rest] if group]


def rank_of(reference: Reference) -> int:
    """Its place in the order in which kinds are applied."""
    return FIRST.index(reference.kind) if reference.kind in FIRST else len(FIRST)


def version_of(thing: Object) -> str:
    """Changes with every change of the object."""
    return str(thing["metadata"]["resourceVersion"])
