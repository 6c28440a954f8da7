"""Sizes, times, paths and nodes in the words that are printed, and what is read from the command line. Pure."""

from __future__ import annotations

import os
import re
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, Final

import typer

if TYPE_CHECKING:
    from opsuite_repository.choosing import Saved
    from opsuite_repository.format.snapshots import Snapshot
    from opsuite_repository.format.times import Instant
    from opsuite_repository.format.trees import Node
    from opsuite_repository.pipeline.progress import Progress
    from opsuite_repository.snapshot_walk import Visited

_UNITS: Final = ((1 << 40, "TiB"), (1 << 30, "GiB"), (1 << 20, "MiB"), (1 << 10, "KiB"))
_SIZE: Final = re.compile(r"(\d+)([kmgt]?)(?:i?b)?", re.IGNORECASE | re.ASCII)
_POWERS: Final = {"": 0, "k": 10, "m": 20, "g": 30, "t": 40}
_CONTROL: Final = re.compile(r"[\x00-\x1f\x7f-\x9f]")
_TIMES: Final = ("%Y-%m-%d %H:%M:%S", "%Y-%m-%d %H:%M", "%Y-%m-%d")


def size(count: int) -> str:
    """`512 B`, `3.250 MiB`."""
    for unit, name in _UNITS:
        if count >= unit:
            return f"{count / unit:.3f} {name}"
    return f"{count} B"


def parse_size(text: str) -> int:
    """Bytes of `4096`, `512K`, `100MiB`, `2g`."""
    found = _SIZE.fullmatch(text.strip())
    if found is None:
        raise typer.BadParameter(f"{text} is not a size such as 512K or 100M")
    return int(found[1]) << _POWERS[found[2].lower()]


def parse_time(text: str) -> datetime:
    """A local time such as `2026-11-24 23:00`, or one of RFC 3339."""
    for form in _TIMES:
        try:
            return datetime.strptime(text, form).astimezone()
        except ValueError:
            continue
    try:
        return datetime.fromisoformat(text).astimezone()
    except ValueError as error:
        raise typer.BadParameter(f"{text} is not a time such as '2026-11-24 23:00'") from error


def shown(path: bytes) -> str:
    """A path for programs; bytes that are not UTF-8 are written as escapes."""
    return path.decode("utf-8", "backslashreplace")


def on_one_line(path: bytes) -> str:
    """The same on one line whatever the name holds."""
    return _CONTROL.sub(lambda found: f"\\x{ord(found[0]):02x}", shown(path))


def local(instant: Instant) -> str:
    """Local date and time; the year 1 and such are told in UTC."""
    from opsuite_repository.format.times import format_instant

    try:
        return instant.to_datetime().astimezone().strftime("%Y-%m-%d %H:%M:%S")
    except (ValueError, OverflowError):
        return format_instant(instant)


def seconds(duration: timedelta) -> str:
    """`1:05`, `2:03:20`."""
    minutes, rest = divmod(int(duration.total_seconds()), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


def progress_line(progress: Progress) -> str:
    """`[0:12] 34.2 %  1234 files  1.200 GiB of 3.500 GiB  100.000 MiB/s  0:20 left`."""
    parts = [f"[{seconds(progress.elapsed)}]"]
    done = size(progress.bytes_done)
    if progress.bytes_total:
        parts[0] += f" {min(100.0, 100 * progress.bytes_done / progress.bytes_total):.1f} %"
        done += f" of {size(progress.bytes_total)}"
    parts += [f"{progress.files_done} files", done, f"{size(round(progress.bytes_per_second))}/s"]
    if progress.remaining is not None and progress.bytes_done < (progress.bytes_total or 0):
        parts.append(f"{seconds(progress.remaining)} left")
    return "  ".join(parts)


def progress_document(progress: Progress) -> dict[str, Any]:
    """The same for programs, named as restic names it."""
    total = progress.bytes_total or 0
    return {
        "message_type": "status",
        "seconds_elapsed": int(progress.elapsed.total_seconds()),
        "seconds_remaining": int(progress.remaining.total_seconds()) if progress.remaining else 0,
        "percent_done": min(1.0, progress.bytes_done / total) if total else 0,
        "total_files": progress.files_total or 0,
        "files_done": progress.files_done,
        "total_bytes": total,
        "bytes_done": progress.bytes_done,
        "current_files": [shown(progress.current)] if progress.current else [],
    }


def snapshot_document(saved: Saved) -> dict[str, Any]:
    """A snapshot as its file has it, with its id."""
    import orjson

    return {**orjson.loads(saved.snapshot.encode()), "id": saved.id, "short_id": saved.short_id}


def snapshot_row(saved: Saved) -> list[str]:
    """Id, time, host, tags, paths, size."""
    snapshot = saved.snapshot
    held = size(snapshot.summary.total_bytes_processed) if snapshot.summary else ""
    return [
        saved.short_id, local(snapshot.time), snapshot.hostname, ",".join(snapshot.tags), paths_of(snapshot), held,
    ]  # fmt: skip


def paths_of(snapshot: Snapshot) -> str:
    """What it is a snapshot of."""
    return shown(", ".join(snapshot.paths).encode("utf-8", "surrogateescape"))


def entry_line(visited: Visited, *, long: bool, human: bool) -> str:
    """A line of a listing."""
    path, node = on_one_line(visited.path), visited.node
    if not long:
        return path
    from opsuite_repository.format.modes import written

    length = size(node.size) if human else f"{node.size:6}"
    target = f" -> {on_one_line(node.link_target)}" if node.link_target else ""
    return f"{written(node.mode)} {node.uid:5} {node.gid:5} {length} {local(node.mtime)} {path}{target}"


def entry_document(visited: Visited) -> dict[str, Any]:
    """The same for programs, named as restic names it."""
    return {"message_type": "node", "struct_type": "node", **node_document(visited.node), "path": shown(visited.path)}


def node_document(node: Node) -> dict[str, Any]:
    """What is known of an entry, without its content."""
    from opsuite_repository.format.modes import written
    from opsuite_repository.format.times import format_instant
    from opsuite_repository.format.trees import NodeType

    told: dict[str, Any] = {"name": shown(node.name), "type": node.type.value, "uid": node.uid, "gid": node.gid}
    if node.type is NodeType.FILE:
        told["size"] = node.size
    if node.link_target:
        told["linktarget"] = shown(node.link_target)
    return told | {
        "mode": node.mode,
        "permissions": written(node.mode),
        "mtime": format_instant(node.mtime),
        "atime": format_instant(node.atime),
        "ctime": format_instant(node.ctime),
        "inode": node.inode,
    }


def patterns_in(text: str) -> list[str]:
    """The patterns of a file of them: one a line, `#` at the beginning says nothing, variables are replaced."""
    lines = (os.path.expandvars(line.strip()) for line in text.splitlines())
    return [line for line in lines if line and not line.startswith("#")]
