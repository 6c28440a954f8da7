"""What a deployer needs to apply manifests to a cluster. Imports only the standard library and its sibling port.

A manifest is a document as a cluster takes it: a mapping with `apiVersion`, `kind` and `metadata.name`. What one owner
applied last is remembered in the cluster, so that what a later set drops can be removed.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Protocol

from opsuite_platforms.port import OnOutput

Document = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class ManifestSet:
    """Everything that one owner wants to be there."""

    owner: str
    """Who applies it, the same on every deployment: `<pipeline>/<environment>/<step>`."""
    namespace: str
    """Of documents that name none; the record of what was applied is kept there."""
    documents: tuple[Document, ...]
    progress_deadline: timedelta = timedelta(minutes=10)
    """How long nothing may get further before it counts as failed."""
    keep_dropped: bool = False
    """Whether what an earlier set held and this one does not stays."""


@dataclass(frozen=True, slots=True)
class ManifestResult:
    """How it ended."""

    succeeded: bool
    message: str = ""
    """What is not ready, and why, for people; empty on success."""


class ManifestApplier(Protocol):
    """Applies manifests. Every verb is safe to repeat. Raises: Unavailable (cluster not reachable)."""

    async def load(self, path: str) -> Sequence[Document]:
        """The documents of a file (YAML or JSON, any number of documents), or of a directory.

        A directory with a kustomization is built by `kubectl kustomize`; of another one, all its files count.
        Raises: InvalidInput (not readable, not a manifest, refused by kustomize).
        """

    async def run(self, manifests: ManifestSet, *, epoch: int, on_output: OnOutput) -> ManifestResult:
        """Apply all, wait until all is ready, remove what was dropped; tells every step of it.

        What the cluster would refuse is found out before anything is changed. What is dropped goes only after all else
        is ready. `epoch` fences out an earlier owner: a smaller one than was last seen is refused. Cancelling the call
        leaves things as they are.
        Raises: InvalidInput (every refused document at once), Conflict (FENCED_OUT; FIELDS_OWNED by another field
        manager; OWNED_BY_ANOTHER set), Denied (which verb on what).
        """

    async def check(self) -> None:
        """Return if the cluster answers. Raises: Unavailable, saying what to do."""
