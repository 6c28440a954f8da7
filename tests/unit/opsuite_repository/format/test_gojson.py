from __future__ import annotations

import json
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from opsuite_repository.errors import Malformed
from opsuite_repository.format.gojson import go_json, is_utf8, json_string, quote, unquote
from opsuite_repository.format.printable import is_printable

NAMES = st.binary() | st.text().map(lambda text: text.encode("utf-8", "replace"))


@pytest.mark.parametrize(
    ("name", "quoted"),
    [
        (b"", ""),
        (b"plain name.txt", "plain name.txt"),
        (b'quote " and \\ backslash', r"quote \" and \\ backslash"),
        (b"it's", "it's"),
        (b"\a\b\f\n\r\t\v", r"\a\b\f\n\r\t\v"),
        (b"\x00\x1b\x7f", r"\x00\x1b\x7f"),
        (b"\xff", r"\xff"),
        ("grün 漢 😀".encode(), "grün 漢 😀"),
        (b"\xe2\x82", r"\xe2\x82"),  # the beginning of a euro sign
        (b"\xed\xa0\x80", r"\xed\xa0\x80"),  # half a surrogate pair, which is not UTF-8
        (b"\xc0\xaf", r"\xc0\xaf"),  # a slash in too many bytes
        ("\ufffd".encode(), "\ufffd"),  # the character itself, not the sign of an error
        ("\U0001fae8".encode(), "\U0001fae8"),  # new in Unicode 15.0
        ("\u00a0".encode(), r"\u00a0"),  # the only space that prints is the one of ASCII
        ("\u0085\u00ad\u200b\u2028\ufeff\ue000".encode(), r"\u0085\u00ad\u200b\u2028\ufeff\ue000"),
        ("\U0001ffff\U000e0001".encode(), r"\U0001ffff\U000e0001"),
    ],
)
def test_names_are_quoted_as_go_does(name: bytes, quoted: str) -> None:
    assert quote(name) == quoted
    assert unquote(quoted) == name


@given(NAMES)
def test_every_name_comes_back(name: bytes) -> None:
    assert unquote(json.loads(json_string(quote(name)))) == name


@pytest.mark.parametrize(("literal", "name"), [(r"\101\377", b"A\xff"), (r"\u00e9", "é".encode()), (r"\xC3", b"\xc3")])
def test_other_ways_to_write_the_same_are_read(literal: str, name: bytes) -> None:
    assert unquote(literal) == name


@pytest.mark.parametrize(
    "literal", ['"', "\\", r"\q", r"\'", r"\x1", r"\u12", r"\ud800", r"\U00110000", r"\400", r"\8", "a\nb", "\ud800"]
)
def test_what_go_would_not_read_is_refused(literal: str) -> None:
    with pytest.raises(Malformed):
        unquote(literal)


@pytest.mark.parametrize(
    ("text", "written"),
    [
        ("<a href='x'>&", r'''"\u003ca href='x'\u003e\u0026"'''),
        ("\u2028\u2029", r'"\u2028\u2029"'),
        ("\x00\x1f\b\f\n\r\t", r'"\u0000\u001f\b\f\n\r\t"'),
        ("\x7f ü 😀", '"\x7f ü 😀"'),
        ('"\\/', r'"\"\\/"'),
        (b"a\xffb".decode("utf-8", "surrogateescape"), r'"a\ufffdb"'),
    ],
)
def test_strings_are_written_as_go_does(text: str, written: str) -> None:
    assert json_string(text) == written


def test_documents_keep_their_order_and_have_no_spaces() -> None:
    assert go_json({"b": ["<", 1], "a": None}) == r'{"b":["\u003c",1],"a":null}'


@pytest.mark.parametrize(
    ("data", "valid"), [(b"a", True), ("ü".encode(), True), (b"\xff", False), (b"\xed\xa0\x80", False)]
)
def test_utf8_is_what_go_and_python_agree_on(data: bytes, valid: bool) -> None:
    assert is_utf8(data) is valid


def test_pythons_own_tables_differ_only_where_one_of_them_is_older() -> None:
    unicode_of_go, unicode_of_python = (15, 0), tuple(map(int, unicodedata.unidata_version.split(".")[:2]))
    for code in range(0x110000):
        character = chr(code)
        category = unicodedata.category(character)
        printable = character == " " or category[0] in "LMNPS"
        if printable == is_printable(character):
            continue
        assert category == "Cn" if unicode_of_python < unicode_of_go else unicode_of_python > unicode_of_go, hex(code)
