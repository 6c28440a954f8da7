"""Trees: the content of one directory, as JSON that is byte for byte what restic would write.

Sources: restic's design document, "Trees and Data"; internal/data/node.go and tree.go (order of keys, which of them are
left out when empty, names as Go literals inside JSON strings, targets of links that are not UTF-8 repeated in base64).
Equal bytes matter: a tree is named by its hash, so that only then an unchanged directory is not stored again when
restic and we take turns.
"""

from __future__ import annotations

from base64 import b64decode, b64encode
from binascii import Error as Base64Error
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from functools import lru_cache
from typing import Any, Final, NamedTuple

from opsuite_repository.errors import Malformed
from opsuite_repository.format.blobs import ID_BYTES, BlobId
from opsuite_repository.format.gojson import go_json, is_utf8, json_string, quote, unquote
from opsuite_repository.format.sealing import Buffer
from opsuite_repository.format.times import Instant, format_instant, parse_instant
from opsuite_repository.format.unpacked import parse_object


class NodeType(StrEnum):
    """What an entry of a directory is."""

    FILE = "file"
    DIR = "dir"
    SYMLINK = "symlink"
    BLOCK_DEVICE = "dev"
    CHAR_DEVICE = "chardev"
    FIFO = "fifo"
    SOCKET = "socket"
    IRREGULAR = "irregular"


class ExtendedAttribute(NamedTuple):
    """One extended attribute; ACLs are among them."""

    name: str
    value: bytes | None


_ZERO: Final = Instant(-62_135_596_800 * 1_000_000_000)  # Go's zero time: the year 1


@dataclass(slots=True, kw_only=True)  # not frozen: that makes building one, done a million times, three times as slow
class Node:
    """One entry of a directory. Zero and empty stand for what is not known, except where None is allowed."""

    name: bytes
    type: NodeType
    mode: int = 0
    """Go's form; see `modes`."""
    mtime: Instant = _ZERO
    atime: Instant = _ZERO
    ctime: Instant = _ZERO
    uid: int = 0
    gid: int = 0
    user: str = ""
    group: str = ""
    inode: int = 0
    device_id: int = 0
    """`st_dev`: with `inode` it tells hard links of one file."""
    size: int = 0
    links: int = 0
    """0 for directories."""
    link_target: bytes = b""
    extended_attributes: tuple[ExtendedAttribute, ...] = ()
    generic_attributes: Mapping[str, Any] | None = None
    """`windows.*` and what else restic may add; carried along."""
    device: int = 0
    """`st_rdev` of a device."""
    content: tuple[BlobId, ...] | None = None
    """The blobs of a file, in order; () for an empty one, None for everything that is not a file."""
    subtree: BlobId | None = None
    error: str = ""


def encode_tree(nodes: Iterable[Node]) -> bytes:
    """The tree blob. Raises ValueError unless names ascend strictly, compared as bytes."""
    parts: list[str] = []
    last = b""
    for node in nodes:
        if node.name <= last:
            raise ValueError(f"{node.name!r} may not follow {last!r} in a tree")
        last = node.name
        parts.append(encode_node(node))
    return f'{{"nodes":[{",".join(parts)}]}}\n'.encode()


def encode_node(node: Node) -> str:
    """The JSON of one node, the keys in the order of restic's struct."""
    parts = [
        f'{{"name":{_name(node.name)},"type":"{node.type}"{_number("mode", node.mode)}',
        f',"mtime":"{format_instant(node.mtime)}","atime":"{format_instant(node.atime)}"',
        f',"ctime":"{format_instant(node.ctime)}","uid":{node.uid},"gid":{node.gid}',
        f"{_text('user', node.user)}{_text('group', node.group)}",
        f"{_number('inode', node.inode)}{_number('device_id', node.device_id)}",
        f"{_number('size', node.size)}{_number('links', node.links)}",
    ]
    if node.link_target:
        parts.append(_link_target(node.link_target))
    if node.extended_attributes:
        parts.append(f',"extended_attributes":[{",".join(map(_extended_attribute, node.extended_attributes))}]')
    if node.generic_attributes:
        ordered = dict(sorted(node.generic_attributes.items()))  # Go sorts the keys of a map
        parts.append(f',"generic_attributes":{go_json(ordered)}')
    parts.append(f'{_number("device", node.device)},"content":{_content(node.content)}')
    if node.subtree is not None:
        parts.append(f',"subtree":"{node.subtree.hex()}"')
    parts.append(_text("error", node.error) + "}")
    return "".join(parts)


def _content(blobs: tuple[BlobId, ...] | None) -> str:
    if blobs is None:
        return "null"
    return "[" + ",".join([f'"{blob.hex()}"' for blob in blobs]) + "]"


def _name(name: bytes) -> str:
    return json_string(quote(name))


def _number(key: str, value: int) -> str:
    return f',"{key}":{value}' if value else ""


@lru_cache(maxsize=256)  # few users own all the files
def _text(key: str, value: str) -> str:
    return f',"{key}":{json_string(value)}' if value else ""


def _link_target(target: bytes) -> str:
    written = f',"linktarget":{json_string(target.decode("utf-8", "surrogateescape"))}'
    return written if is_utf8(target) else f'{written},"linktarget_raw":"{b64encode(target).decode()}"'


def _extended_attribute(attribute: ExtendedAttribute) -> str:
    value = "null" if attribute.value is None else f'"{b64encode(attribute.value).decode()}"'
    return f'{{"name":{json_string(attribute.name)},"value":{value}}}'


def decode_tree(plain: Buffer) -> list[Node]:
    """The nodes of a tree blob, in its order. Raises Malformed, also for names that could lead out of the directory."""
    nodes = parse_object(plain).get("nodes")
    if not isinstance(nodes, list):
        raise Malformed("the tree has no nodes")
    return [_decode_node(node) for node in nodes]


_NUMBERS: Final = frozenset({"mode", "uid", "gid", "inode", "device_id", "size", "links", "device"})
_INTEGER: Final = frozenset({int})


def _decode_node(raw: dict[str, Any]) -> Node:
    try:
        numbers = {key: raw[key] for key in _NUMBERS & raw.keys()}
        if not _INTEGER.issuperset(map(type, numbers.values())):
            raise Malformed("a number of the node is something else")
        subtree, content = raw.get("subtree"), raw.get("content")
        return Node(
            name=_safe_name(unquote(raw["name"])),
            type=_TYPES[raw["type"]],
            **numbers,
            mtime=parse_instant(raw["mtime"]) if "mtime" in raw else _ZERO,
            atime=parse_instant(raw["atime"]) if "atime" in raw else _ZERO,
            ctime=parse_instant(raw["ctime"]) if "ctime" in raw else _ZERO,
            user=raw.get("user", ""),
            group=raw.get("group", ""),
            link_target=_decode_link_target(raw) if "linktarget" in raw else b"",
            extended_attributes=tuple(map(_decode_attribute, raw.get("extended_attributes") or ())),
            generic_attributes=raw.get("generic_attributes"),
            content=None if content is None else tuple(map(_blob_id, content)),
            subtree=None if subtree is None else _blob_id(subtree),
            error=raw.get("error", ""),
        )
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise Malformed(f"a node of the tree cannot be read: {type(error).__name__} {error}") from error


_TYPES: Final = {kind.value: kind for kind in NodeType}


def _safe_name(name: bytes) -> bytes:
    if name in {b"", b".", b".."} or b"/" in name or b"\0" in name:
        raise Malformed(f"{name!r} is no name of a file")
    return name


def _blob_id(text: str) -> BlobId:
    id_ = bytes.fromhex(text)
    if len(id_) != ID_BYTES:
        raise Malformed(f"{text!r} is not the name of a blob")
    return id_


def _decode_link_target(raw: Mapping[str, Any]) -> bytes:
    target = raw.get("linktarget_raw")
    return b64decode(target, validate=True) if target is not None else str(raw["linktarget"]).encode()


def _decode_attribute(raw: Mapping[str, Any]) -> ExtendedAttribute:
    value = raw.get("value")
    try:
        return ExtendedAttribute(raw["name"], None if value is None else b64decode(value, validate=True))
    except Base64Error as error:
        raise Malformed("the value of an extended attribute is not base64") from error
