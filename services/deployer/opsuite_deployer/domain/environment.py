"""Environments: who keeps one shut, and in which order a version gets through them."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from opsuite_deployer.domain.deployment import Deployment
from opsuite_deployer.domain.errors import EnvironmentLocked, LockNotYours, NotLocked, NotPromotedYet
from opsuite_deployer.domain.pipeline import Pipeline


@dataclass(frozen=True, slots=True)
class EnvironmentLock:
    """Somebody's lock of an environment. With a `ttl` it ends when its holder is silent for as long."""

    pipeline: str
    environment: str
    holder: str
    message: str
    created_at: datetime
    ttl: timedelta | None = None
    expires_at: datetime | None = None

    def keeps_out(self, deployment: Deployment) -> bool:
        """Whether a deployment has to stay away: not the holder's own, and no rollback."""
        return not deployment.rollback_of and deployment.requested_by != self.holder

    @property
    def words(self) -> str:
        """What those say who wait for its end; it stays true when the lock is renewed."""
        since = f"{self.created_at:%Y-%m-%d %H:%M:%S} UTC"
        return f"{self.environment} is locked by {self.holder} since {since}: {self.message}"

    def refusal(self) -> EnvironmentLocked:
        """What those are told whom it keeps out."""
        return EnvironmentLocked(self.environment, self.holder, self.message, self.created_at, self.expires_at)


def take(present: EnvironmentLock | None, wanted: EnvironmentLock) -> EnvironmentLock:
    """Return the lock that holds once `wanted.holder` has asked for it. Raises EnvironmentLocked (somebody else's)."""
    if present is None:
        return renewed(wanted, wanted.created_at)
    if present.holder != wanted.holder:
        raise present.refusal()
    return renewed(replace(wanted, created_at=present.created_at), wanted.created_at)


def renewed(lock: EnvironmentLock, now: datetime) -> EnvironmentLock:
    """Return the lock with its whole time before it."""
    return replace(lock, expires_at=now + lock.ttl if lock.ttl else None)


def owned_by(lock: EnvironmentLock | None, actor: str, environment: str) -> EnvironmentLock:
    """Return the lock if it is the actor's. Raises NotLocked, LockNotYours."""
    if lock is None:
        raise NotLocked(environment)
    if lock.holder != actor:
        raise LockNotYours(environment, lock.holder)
    return lock


def comes_after(pipeline: Pipeline, environment: str) -> str | None:
    """Return the environment in which a version has to be stable first; None if there is none."""
    if not pipeline.promote_in_order or environment not in pipeline.environments:
        return None
    index = pipeline.environments.index(environment)
    return pipeline.environments[index - 1] if index else None


def check_promoted(deployment: Deployment, after: str, stable: Deployment | None) -> None:
    """Return if what is `stable` in the environment `after` is what is to be deployed. Raises NotPromotedYet."""
    wanted = (deployment.version, deployment.pipeline_revision)
    if stable is None or (stable.version, stable.pipeline_revision) != wanted:
        present = (stable.version, stable.pipeline_revision) if stable else None
        raise NotPromotedYet(deployment.environment, after, wanted, present)
