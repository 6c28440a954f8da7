"""What has to hold before a deployment is recorded: what exactly is deployed, and whether it may go there now.

Each function here is a part of a transaction. It never awaits.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from opsuite_deployer.application.ports import Revision, Tx
from opsuite_deployer.domain.deployment import Deployment
from opsuite_deployer.domain.environment import check_promoted, comes_after
from opsuite_deployer.domain.errors import (
    EnvironmentNotListed,
    NotPromotedYet,
    NotStableThere,
    PipelineNotFound,
    UnknownVariable,
)
from opsuite_deployer.domain.pipeline import Pipeline


@dataclass(frozen=True, slots=True)
class DeployWish:
    """A deployment that somebody wants."""

    pipeline: str
    version: str
    """Empty: whatever is stable in `from_environment`."""
    environment: str
    variables: Mapping[str, str] = field(default_factory=dict)
    reason: str = ""
    from_environment: str = ""
    """Environment whose stable version and pipeline revision are carried on; empty: the latest revision is run."""
    priority: int = 0
    skip_order: bool = False


@dataclass(frozen=True, slots=True)
class Chosen:
    """What exactly is to be deployed."""

    wish: DeployWish
    """With its version."""
    revision: Revision
    """What is to run."""
    latest: Pipeline
    """The pipeline as it is now: the order of its environments holds for all of its revisions."""


def choose(tx: Tx, wish: DeployWish) -> Chosen:
    """Return what a wish means.

    Raises PipelineNotFound, EnvironmentNotListed, UnknownVariable, NotStableThere.
    """
    latest = tx.revision_of(wish.pipeline)
    if latest is None or latest.deleted:
        raise PipelineNotFound(wish.pipeline)
    _require_listed(latest, wish.environment)
    revision = latest
    if wish.from_environment:
        _require_listed(latest, wish.from_environment, "from_environment")
        revision, wish = _carried_on(tx, wish)
    if unknown := set(wish.variables) - set(revision.pipeline.variables):
        raise UnknownVariable(unknown, revision.pipeline.variables)
    return Chosen(wish, revision, latest.pipeline)


def admit_to(tx: Tx, deployment: Deployment, latest: Pipeline, *, skip_order: bool) -> Deployment:
    """Return the deployment if it may be recorded, marked if it is let past the order of environments.

    Raises EnvironmentLocked, NotPromotedYet.
    """
    lock = tx.lock_of(deployment.pipeline, deployment.environment)
    if lock is not None and lock.keeps_out(deployment):
        raise lock.refusal()
    if deployment.rollback_of:
        return deployment
    after = comes_after(latest, deployment.environment)
    if after is None:
        return deployment
    try:
        check_promoted(deployment, after, tx.stable_now(deployment.pipeline, after))
    except NotPromotedYet:
        if not skip_order:
            raise
        return replace(deployment, order_skipped=True)
    return deployment


def _carried_on(tx: Tx, wish: DeployWish) -> tuple[Revision, DeployWish]:
    stable = tx.stable_now(wish.pipeline, wish.from_environment)
    if stable is None or (wish.version and wish.version != stable.version):
        raise NotStableThere(wish.from_environment, wish.version, stable.version if stable else "")
    revision = tx.revision_of(wish.pipeline, stable.pipeline_revision)
    if revision is None:
        raise PipelineNotFound(wish.pipeline)
    _require_listed(revision, wish.environment)
    return revision, replace(wish, version=stable.version)


def _require_listed(revision: Revision, environment: str, field_name: str = "environment") -> None:
    if environment not in revision.pipeline.environments:
        raise EnvironmentNotListed(environment, revision.pipeline.environments, field_name)
