"""Text as Go writes it: string literals (for names of files), and strings inside JSON.

Sources: Go's strconv.Quote and Unquote, and encoding/json with its default escaping of HTML. Bytes that are not UTF-8
travel through Python as surrogates (`surrogateescape`), one per byte, which is also how Go counts them.
"""

from __future__ import annotations

import json
import re
from typing import Any, Final

from opsuite_repository.errors import Malformed
from opsuite_repository.format.printable import is_printable

_PLAIN_NAME: Final = re.compile(rb"[ !#-\[\]-~]*")  # printable ASCII without the quote and the backslash
_SHORT_ESCAPES: Final = {
    '"': '\\"', "\\": "\\\\", "\a": "\\a", "\b": "\\b", "\f": "\\f", "\n": "\\n", "\r": "\\r", "\t": "\\t", "\v": "\\v",
}  # fmt: skip
_ESCAPE: Final = re.compile(
    r'\\(?:([abfnrtv"\\])|x([0-9a-fA-F]{2})|u([0-9a-fA-F]{4})|U([0-9a-fA-F]{8})|([0-7]{3}))'
    r'|[^\\"\n]+|(?P<wrong>.)',
    re.DOTALL,
)
_UNESCAPED: Final = {escape[1]: character.encode() for character, escape in _SHORT_ESCAPES.items()}
_JSON_EXTRA: Final = re.compile("[<>&\u2028\u2029\udc80-\udcff]")
_STRINGS: Final = json.JSONEncoder(ensure_ascii=False)  # json.dumps would make one for every call
_REPLACED: Final = "\\ufffd"


def quote(name: bytes) -> str:
    """`name` between the quotes of a Go string literal, without them."""
    if _PLAIN_NAME.fullmatch(name):
        return name.decode("ascii")
    return "".join(map(_quoted, name.decode("utf-8", "surrogateescape")))


def _quoted(character: str) -> str:
    if character in _SHORT_ESCAPES:
        return _SHORT_ESCAPES[character]
    code = ord(character)
    if 0xDC80 <= code <= 0xDCFF:
        return f"\\x{code - 0xDC00:02x}"
    if is_printable(character):
        return character
    if code < 0x20 or code == 0x7F:
        return f"\\x{code:02x}"
    return f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"


def unquote(literal: str) -> bytes:
    """The name of which `literal` is the quoted form, as Go reads it. Raises Malformed."""
    if "\\" not in literal and '"' not in literal and "\n" not in literal:
        return _utf8(literal)
    return b"".join(_unquoted(found) for found in _ESCAPE.finditer(literal))


def _unquoted(found: re.Match[str]) -> bytes:
    short, byte, rune, long_rune, octal = found.group(1, 2, 3, 4, 5)
    if found["wrong"]:
        raise Malformed(f"{found.string!r} is not a quoted name")
    if short:
        return _UNESCAPED[short]
    if byte or octal:
        return _byte(int(byte, 16) if byte else int(octal, 8), found.string)
    if rune or long_rune:
        return _rune(int(rune or long_rune, 16), found.string)
    return _utf8(found[0])


def _byte(value: int, literal: str) -> bytes:
    if value > 0xFF:
        raise Malformed(f"{literal!r} is not a quoted name")
    return bytes((value,))


def _rune(code: int, literal: str) -> bytes:
    if code > 0x10FFFF or 0xD800 <= code <= 0xDFFF:
        raise Malformed(f"{literal!r} is not a quoted name")
    return chr(code).encode()


def _utf8(text: str) -> bytes:
    try:
        return text.encode()
    except UnicodeEncodeError as error:
        raise Malformed(f"{text!r} holds half a surrogate pair") from error


def json_string(text: str) -> str:
    """`text` as a JSON string, quotes included, with the escapes of Go. Bytes that were not UTF-8 become U+FFFD."""
    return escape_json(_STRINGS.encode(text))


def go_json(value: Any) -> str:
    """`value` as Go writes it: no spaces, its escapes, the keys of objects in the order given."""
    return escape_json(json.dumps(value, ensure_ascii=False, separators=(",", ":")))


def escape_json(document: str) -> str:
    """JSON with the further escapes of Go: what could end a script in HTML, and what is not UTF-8."""
    return _JSON_EXTRA.sub(_json_escape, document)


def is_utf8(data: bytes) -> bool:
    """Whether `data` is valid UTF-8, as Go and Python agree on it (no surrogates, no overlong forms)."""
    try:
        data.decode()
    except UnicodeDecodeError:
        return False
    return True


def _json_escape(found: re.Match[str]) -> str:
    code = ord(found[0])
    return _REPLACED if code >= 0xDC80 else f"\\u{code:04x}"
