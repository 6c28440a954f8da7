"""Locks: who works on the repository now, and the rules of when that keeps others out.

Source: restic's design document, "Locks", and internal/restic/lock.go. Any number of shared locks may stand beside one
another; an exclusive one stands alone. A lock is refreshed by writing a new file and deleting the old. All of this is
decided here and done elsewhere.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from opsuite_repository.errors import Malformed
from opsuite_repository.format.gojson import go_json
from opsuite_repository.format.sealing import Buffer
from opsuite_repository.format.times import Instant, format_instant, from_datetime, parse_instant
from opsuite_repository.format.unpacked import parse_object

STALE_AFTER: Final = timedelta(minutes=30)
REFRESH_EVERY: Final = timedelta(minutes=5)
GIVE_UP_AFTER: Final = timedelta(minutes=22, seconds=30)
"""A holder whose last refresh is this old must stop changing the repository: soon others may call its lock stale."""
SETTLE: Final = timedelta(milliseconds=200)
"""The pause between writing a lock and looking again at those of others."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Lock:
    """One lock file."""

    time: Instant
    exclusive: bool
    hostname: str
    username: str
    pid: int
    uid: int = 0
    gid: int = 0
    process: str = ""
    """What tells the process from all others (see `holders`). Ours alone have it; restic passes over such fields."""
    since: Instant | None = None
    """When the work began; `time` moves on with every refresh. Ours alone have it."""
    role: str = ""
    """Holders of one role keep each other out, although their locks are shared. Ours alone have it."""

    def encode(self) -> bytes:
        """The JSON document."""
        document: dict[str, object] = {
            "time": format_instant(self.time),
            "exclusive": self.exclusive,
            "hostname": self.hostname,
            "username": self.username,
            "pid": self.pid,
        }
        document.update({key: value for key, value in (("uid", self.uid), ("gid", self.gid)) if value})
        if self.process:
            since = format_instant(self.since or self.time)
            document["opsuite"] = {"process": self.process, "since": since, "role": self.role}
        return go_json(document).encode()

    def __str__(self) -> str:
        kind = "exclusively " if self.exclusive else ""
        return f"{kind}process {self.pid} of {self.username} on {self.hostname} since {format_instant(self.time)}"


def parse(document: Buffer) -> Lock:
    """The lock in a JSON document. Raises Malformed."""
    raw = parse_object(document)
    try:
        ours = raw.get("opsuite") or {}
        return Lock(
            time=parse_instant(raw["time"]),
            exclusive=bool(raw.get("exclusive", False)),
            hostname=str(raw.get("hostname", "")),
            username=str(raw.get("username", "")),
            pid=int(raw.get("pid", 0)),
            uid=int(raw.get("uid", 0)),
            gid=int(raw.get("gid", 0)),
            process=str(ours.get("process", "")),
            since=parse_instant(ours["since"]) if "since" in ours else None,
            role=str(ours.get("role", "")),
        )
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise Malformed(f"the lock cannot be read: {type(error).__name__} {error}") from error


def conflicts(other: Lock, *, exclusive: bool, role: str = "") -> bool:
    """Whether the lock of another forbids one of that kind and role."""
    return exclusive or other.exclusive or bool(role and other.role == role)


def conflicting(others: Iterable[Lock], *, exclusive: bool, role: str = "") -> Lock | None:
    """The first of the others' locks that forbids one of that kind, or None."""
    return next((other for other in others if conflicts(other, exclusive=exclusive, role=role)), None)


def is_stale(lock: Lock, *, now: datetime, hostname: str, is_alive: bool) -> bool:
    """Whether nobody can be behind `lock` any more: too old, or of a process of this host that is gone.

    `now` is aware, by the clock of the storage where it has one. `is_alive` tells whether a process with the lock's
    pid runs here; it counts only when the lock was made on `hostname`.
    """
    if from_datetime(now).ns - lock.time.ns > STALE_AFTER // timedelta(microseconds=1) * 1000:
        return True
    return lock.hostname == hostname and not is_alive
