"""Templates in the parameters of actions: `${params.path}`, `${steps.look.facts.code}`. Nothing is computed in them."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

_REFERENCE: Final = re.compile(r"\$\{([^{}]*)\}")
ROOTS: Final = ("params", "target", "incident", "execution", "steps", "answers")
LONGEST_FILLED: Final = 16_384


class TemplateFailed(Exception):
    """A reference that leads nowhere."""


def references(text: str) -> Sequence[str]:
    """What a text refers to: "params.path"."""
    return _REFERENCE.findall(text)


def filled(params: Mapping[str, str], scope: Mapping[str, Any]) -> dict[str, str]:
    """Parameters with what they refer to. Raises TemplateFailed."""
    return {name: fill(value, scope) for name, value in params.items()}


def fill(text: str, scope: Mapping[str, Any]) -> str:
    """A text with what it refers to. What is filled in is not looked at again. Raises TemplateFailed."""
    whole = _REFERENCE.sub(lambda match: lookup(match[1], scope), text)
    if len(whole) > LONGEST_FILLED:
        raise TemplateFailed(f"it gets longer than {LONGEST_FILLED} characters")
    return whole


def lookup(reference: str, scope: Mapping[str, Any]) -> str:
    """The text that a reference stands for. Raises TemplateFailed."""
    found: Any = scope
    words = reference.split(".")
    while words and isinstance(found, Mapping):
        # Names of facts may hold points: the longest name that there is counts.
        name = next((name for name in _beginnings(words) if name in found), None)
        if name is None:
            raise TemplateFailed(f"${{{reference}}}: there is no {words[0]!r}")
        found, words = found[name], words[name.count(".") + 1 :]
    if words or not isinstance(found, str):
        raise TemplateFailed(f"${{{reference}}} is no text")
    return found


def _beginnings(words: Sequence[str]) -> Iterator[str]:
    return (".".join(words[:count]) for count in range(len(words), 0, -1))
