"""Templates: `${name}` stands for the value of a declared name, `$${` for a plain `${`; any other `$` is itself.

Values are put in once and never read again, so a value that holds `${other}` stays as it is. Substitution happens
inside one text: whatever a value holds, one argument stays one argument.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping
from typing import Final

from opsuite_kernel.errors import InvalidInput, Violation

LONGEST: Final = 131_071
"""Most bytes that a filled text may have: what Linux takes for one argument. Keeps a few references to a long value
from filling the memory."""

_TOKEN: Final = re.compile(r"\$\$\{|\$\{(?P<name>[^{}]*)(?P<end>\}?)")
_NAME: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,127}").fullmatch


def names_in(text: str) -> tuple[str, ...]:
    """Names that a text refers to, each once, in order. Raises InvalidInput (malformed reference)."""
    _raise_if(_malformed(text))
    return tuple(dict.fromkeys(name for name in _references(text) if name is not None))


def check_template(text: str, declared: Collection[str]) -> list[Violation]:
    """All that is wrong with the references in a text, in order; the field is left for the caller to add (`below`)."""
    if "${" not in text:
        return []
    undeclared = [_undeclared(name, declared) for name in _references(text) if name and name not in declared]
    return [*_malformed(text), *undeclared]


def substitute(text: str, values: Mapping[str, str]) -> str:
    """Return `text` with every reference replaced by its value. Raises InvalidInput (undeclared, malformed, long)."""
    if "${" not in text:
        return text
    _raise_if(check_template(text, values))
    filled = _TOKEN.sub(lambda token: "${" if token["name"] is None else values[token["name"]], text)
    if len(filled.encode(errors="surrogatepass")) > LONGEST:
        raise InvalidInput([Violation("", f"has more than {LONGEST} bytes once its templates are filled", "TOO_LONG")])
    return filled


def opaque(text: str, declared: Collection[str]) -> str:
    """Return `text` with a harmless word for every reference to a declared name, to be judged before values are known.

    Other references stay as they are, for whoever judges the result to refuse.
    """
    if "${" not in text:
        return text
    return _TOKEN.sub(lambda token: "${" if token["name"] is None else _word(token, declared), text)


def _word(token: re.Match[str], declared: Collection[str]) -> str:
    return "value" if token["end"] and token["name"] in declared else token[0]


def _references(text: str) -> Iterator[str | None]:
    """The name of each reference; None for a malformed one."""
    for token in _TOKEN.finditer(text):
        if token["name"] is not None:
            yield token["name"] if token["end"] and _NAME(token["name"]) else None


def _malformed(text: str) -> list[Violation]:
    return [
        Violation(
            "", "has a template ${ without a name of letters, digits and _ and a } behind it", "TEMPLATE_MALFORMED"
        )
        for name in _references(text)
        if name is None
    ]


def _undeclared(name: str, declared: Collection[str]) -> Violation:
    known = ", ".join(sorted(declared)) or "none"
    return Violation("", f"refers to ${{{name}}}, which is not declared; declared are: {known}", "TEMPLATE_UNDECLARED")


def _raise_if(violations: list[Violation]) -> None:
    if violations:
        raise InvalidInput(violations)
