from __future__ import annotations

import json
import stat
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from opsuite_repository.errors import Malformed
from opsuite_repository.format.modes import permissions, to_go
from opsuite_repository.format.times import Instant
from opsuite_repository.format.trees import ExtendedAttribute, Node, NodeType, decode_tree, encode_node, encode_tree

TIME = Instant(1_500_000_000_000_000_000)
MINIMAL = '"mtime":"2017-07-14T02:40:00Z","atime":"2017-07-14T02:40:00Z","ctime":"2017-07-14T02:40:00Z","uid":0,"gid":0'


def a_node(name: bytes = b"n", kind: NodeType = NodeType.FIFO, **other: Any) -> Node:
    return Node(name=name, type=kind, mtime=TIME, atime=TIME, ctime=TIME, **other)


def test_what_is_empty_is_left_out_but_for_owner_and_content() -> None:
    assert encode_node(a_node()) == f'{{"name":"n","type":"fifo",{MINIMAL},"content":null}}'


def test_an_empty_file_has_content_that_is_empty() -> None:
    assert encode_node(a_node(kind=NodeType.FILE, content=())).endswith('"content":[]}')


def test_every_key_stands_where_restic_puts_it() -> None:
    node = a_node(
        kind=NodeType.IRREGULAR, mode=1, uid=2, gid=3, user="u<", group="g", inode=4, device_id=5, size=6, links=7,
        link_target=b"t\xff", extended_attributes=(ExtendedAttribute("user.x", b"\0"), ExtendedAttribute("y", None)),
        generic_attributes={"windows.b": "&", "windows.a": 1}, device=8, content=(b"c" * 32, b"d" * 32),
        subtree=b"s" * 32, error="e",
    )  # fmt: skip
    times = MINIMAL.removesuffix(',"uid":0,"gid":0')
    assert encode_node(node) == (
        f'{{"name":"n","type":"irregular","mode":1,{times},"uid":2,"gid":3,"user":"u\\u003c","group":"g","inode":4,'
        '"device_id":5,"size":6,"links":7,"linktarget":"t\\ufffd","linktarget_raw":"dP8=","extended_attributes":'
        '[{"name":"user.x","value":"AA=="},{"name":"y","value":null}],"generic_attributes":{"windows.a":1,'
        f'"windows.b":"\\u0026"}},"device":8,"content":["{"63" * 32}","{"64" * 32}"],"subtree":"{"73" * 32}",'
        '"error":"e"}'
    )
    assert decode_tree(encode_tree([node])) == [node]


def test_a_tree_is_one_line() -> None:
    assert encode_tree([]) == b'{"nodes":[]}\n'
    assert encode_tree([a_node(b"a"), a_node(b"b")]).count(b"\n") == 1


@pytest.mark.parametrize("names", [[b"b", b"a"], [b"a", b"a"], [b"\xff", "é".encode()], [b""]])
def test_names_have_to_ascend_as_bytes(names: list[bytes]) -> None:
    with pytest.raises(ValueError, match="may not follow"):
        encode_tree([a_node(name) for name in names])


NAMES = st.binary(min_size=1).filter(lambda name: name not in {b".", b".."} and not set(name) & {0, ord("/")})
IDS = st.binary(min_size=32, max_size=32)
INSTANTS = st.builds(Instant, st.integers(-(10**18), 10**19), st.integers(-720, 720))
TEXT = st.text(st.characters(codec="utf-8"))
COUNTS = st.integers(0, 2**64 - 1)
NODES = st.builds(
    Node, name=NAMES, type=st.sampled_from(NodeType), mode=st.integers(0, 2**32 - 1), mtime=INSTANTS, atime=INSTANTS,
    ctime=INSTANTS, uid=COUNTS, gid=COUNTS, user=TEXT, group=TEXT, inode=COUNTS, device_id=COUNTS, size=COUNTS,
    links=COUNTS, link_target=st.binary(), device=COUNTS, content=st.none() | st.lists(IDS, max_size=3).map(tuple),
    extended_attributes=st.lists(st.builds(ExtendedAttribute, TEXT, st.none() | st.binary()), max_size=2).map(tuple),
    subtree=st.none() | IDS, error=TEXT,
)  # fmt: skip


@given(st.lists(NODES, max_size=4, unique_by=lambda node: node.name))
def test_every_tree_comes_back(nodes: list[Node]) -> None:
    nodes.sort(key=lambda node: node.name)
    encoded = encode_tree(nodes)
    assert decode_tree(encoded) == nodes
    assert encode_tree(decode_tree(encoded)) == encoded


def a_tree(**changed: Any) -> bytes:
    node = {**json.loads(encode_node(a_node())), **changed}
    return json.dumps({"nodes": [{key: value for key, value in node.items() if value is not ...}]}).encode()


@pytest.mark.parametrize("name", ["", ".", "..", "a/b", "/", r"\x00", r"\057", r"\x2e."])
def test_names_that_lead_elsewhere_are_refused(name: str) -> None:
    with pytest.raises(Malformed):
        decode_tree(a_tree(name=name))


@pytest.mark.parametrize(
    "changed",
    [
        {"name": ...}, {"name": 5}, {"type": "door"}, {"type": ...}, {"mode": "7"}, {"size": 1.5}, {"mtime": "now"},
        {"mtime": 5}, {"content": ["ab"]}, {"content": 5}, {"content": ["z" * 64]}, {"subtree": "ab"},
        {"linktarget": "x", "linktarget_raw": "§"}, {"extended_attributes": [{}]},
        {"extended_attributes": [{"name": "a", "value": "b"}]},
    ],
    ids=str,
)  # fmt: skip
def test_a_node_that_says_nonsense_is_refused(changed: dict[str, Any]) -> None:
    with pytest.raises(Malformed):
        decode_tree(a_tree(**changed))


@pytest.mark.parametrize("tree", [b"", b"{}", b'{"nodes":null}', b'{"nodes":[1]}', b"[]"])
def test_what_is_no_tree_is_refused(tree: bytes) -> None:
    with pytest.raises(Malformed):
        decode_tree(tree)


def test_keys_that_are_not_known_do_no_harm() -> None:
    assert decode_tree(a_tree(colour="red")) == [a_node()]


@pytest.mark.parametrize(
    ("unix", "go"),
    [
        (stat.S_IFREG | 0o644, 0o644),
        (stat.S_IFDIR | 0o755, 1 << 31 | 0o755),
        (stat.S_IFDIR | stat.S_ISVTX | 0o777, 2148532735),
        (stat.S_IFREG | stat.S_ISUID | stat.S_ISGID | 0o755, 1 << 23 | 1 << 22 | 0o755),
        (stat.S_IFLNK | 0o777, 134218239),
        (stat.S_IFIFO | 0o600, 1 << 25 | 0o600),
        (stat.S_IFSOCK | 0o700, 1 << 24 | 0o700),
        (stat.S_IFBLK | 0o660, 1 << 26 | 0o660),
        (stat.S_IFCHR | 0o666, 1 << 26 | 1 << 21 | 0o666),
    ],
)
def test_modes_are_those_of_go_and_back(unix: int, go: int) -> None:
    assert to_go(unix) == go
    assert permissions(go) == stat.S_IMODE(unix)
