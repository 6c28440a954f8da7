"""Snapshots: what was backed up when, and the tree it became.

Source: restic's design document, "Snapshots", and internal/data/snapshot.go. A snapshot is never changed: one with
other tags is a new file that names the first as its `original`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any, Final

from opsuite_repository.errors import Malformed
from opsuite_repository.format.blobs import ID_BYTES, BlobId
from opsuite_repository.format.gojson import go_json
from opsuite_repository.format.sealing import Buffer
from opsuite_repository.format.times import Instant, format_instant, parse_instant
from opsuite_repository.format.unpacked import parse_object


@dataclass(frozen=True, slots=True, kw_only=True)
class Summary:
    """What the backup counted; sizes in bytes."""

    backup_start: Instant
    backup_end: Instant
    files_new: int = 0
    files_changed: int = 0
    files_unmodified: int = 0
    dirs_new: int = 0
    dirs_changed: int = 0
    dirs_unmodified: int = 0
    data_blobs: int = 0
    tree_blobs: int = 0
    data_added: int = 0
    """Before compression."""
    data_added_packed: int = 0
    """As stored."""
    total_files_processed: int = 0
    total_bytes_processed: int = 0


_COUNTS: Final = tuple(each.name for each in fields(Summary) if not each.name.startswith("backup_"))


@dataclass(frozen=True, slots=True, kw_only=True)
class Snapshot:
    """One snapshot. Its id is the name of its file, and not part of it."""

    time: Instant
    tree: BlobId
    paths: tuple[str, ...]
    parent: str | None = None
    """The id of the snapshot against which changes were looked for."""
    hostname: str = ""
    username: str = ""
    uid: int = 0
    gid: int = 0
    excludes: tuple[str, ...] = ()
    tags: tuple[str, ...] = ()
    original: str | None = None
    """The id of the first of the snapshots that this one replaces."""
    program_version: str = ""
    summary: Summary | None = None
    unknown: Mapping[str, Any] = field(default_factory=dict)
    """Fields of other writers; kept when the snapshot is written again."""

    def encode(self) -> bytes:
        """The JSON document, the keys in the order of restic's struct."""
        document = {
            "time": format_instant(self.time),
            "parent": self.parent,
            "tree": self.tree.hex(),
            "paths": list(self.paths),
            "hostname": self.hostname,
            "username": self.username,
            "uid": self.uid,
            "gid": self.gid,
            "excludes": list(self.excludes),
            "tags": list(self.tags),
            "original": self.original,
            "program_version": self.program_version,
            "summary": _encode_summary(self.summary) if self.summary else None,
        }
        written = {key: value for key, value in document.items() if value or key == "paths"}
        return go_json({**written, **self.unknown}).encode()


def _encode_summary(summary: Summary) -> dict[str, Any]:
    return {
        "backup_start": format_instant(summary.backup_start),
        "backup_end": format_instant(summary.backup_end),
        **{name: getattr(summary, name) for name in _COUNTS},
    }


_KNOWN: Final = frozenset(each.name for each in fields(Snapshot)) - {"unknown"}


def parse(document: Buffer) -> Snapshot:
    """The snapshot in a JSON document. Raises Malformed."""
    raw = parse_object(document)
    try:
        return Snapshot(
            time=parse_instant(raw["time"]),
            tree=bytes.fromhex(_id(raw["tree"])),
            paths=_texts(raw, "paths"),
            parent=_optional_id(raw, "parent"),
            hostname=str(raw.get("hostname", "")),
            username=str(raw.get("username", "")),
            uid=int(raw.get("uid", 0)),
            gid=int(raw.get("gid", 0)),
            excludes=_texts(raw, "excludes"),
            tags=_texts(raw, "tags"),
            original=_optional_id(raw, "original"),
            program_version=str(raw.get("program_version", "")),
            summary=_parse_summary(raw["summary"]) if raw.get("summary") is not None else None,
            unknown={key: value for key, value in raw.items() if key not in _KNOWN},
        )
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise Malformed(f"the snapshot cannot be read: {type(error).__name__} {error}") from error


def _parse_summary(raw: Mapping[str, Any]) -> Summary:
    counts = {name: int(raw.get(name, 0)) for name in _COUNTS}
    return Summary(
        backup_start=parse_instant(raw["backup_start"]), backup_end=parse_instant(raw["backup_end"]), **counts
    )


def _texts(raw: Mapping[str, Any], key: str) -> tuple[str, ...]:
    return tuple(str(text) for text in raw.get(key) or ())


def _optional_id(raw: Mapping[str, Any], key: str) -> str | None:
    value = raw.get(key)
    return None if value is None else _id(value)


def _id(text: str) -> str:
    if len(bytes.fromhex(text)) != ID_BYTES:
        raise Malformed(f"{text!r} is not the name of anything")
    return text
