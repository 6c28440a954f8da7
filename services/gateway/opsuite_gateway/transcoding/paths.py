"""Path templates of `google.api.http`, and the paths that they fit.

    Template = "/" Segments [ ":" Verb ]      Segments = Segment { "/" Segment }
    Segment  = "*" | "**" | literal | "{" FieldPath [ "=" Segments ] "}"

Source: google/api/http.proto. "*" fits one segment and "**", which comes last, fits any number. What a variable fits is
decoded from percent-encoding as a whole, so that an encoded slash never makes two segments out of one.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final
from urllib.parse import unquote

_PART: Final = re.compile(
    r"\{(?P<field>[a-z][a-z0-9_.]*)(?:=(?P<inner>[^{}]+))?\}|(?P<wild>\*\*|\*)|(?P<literal>[^{}*:]+)|:(?P<verb>[a-zA-Z]+)$"
)
VARIABLE: Final = re.compile(r"\{(?P<field>[a-z][a-z0-9_.]*)(?:=(?P<inner>[^{}]+))?\}")
_ONE: Final = r"[^/:]+"
"""One segment; a colon begins the verb, and stands encoded everywhere else."""
_REST: Final = r".*"


@dataclass(frozen=True, slots=True)
class Template:
    """A path template that can be matched."""

    text: str
    pattern: re.Pattern[str]
    fields: tuple[str, ...]
    """Paths of the fields that it fills, in the order of the pattern's groups."""
    verb: str = ""
    """What follows the colon; empty if nothing does."""

    def match(self, path: str) -> Mapping[str, str] | None:
        """The fields that a path, as it was sent, fills; None if it does not fit."""
        found = self.pattern.fullmatch(path)
        if found is None:
            return None
        return {name: unquote(value) for name, value in zip(self.fields, found.groups(), strict=True)}

    @property
    def openapi(self) -> str:
        """The template in OpenAPI's words, with a parameter for each wildcard: "/v1/workloads/{workload}:restart"."""
        return _PART.sub(lambda part: _openapi_part(part), self.text)


def template(text: str) -> Template:
    """The template of a text. Raises ValueError."""
    pattern, fields, position, verb = "", [], 0, ""
    while position < len(text):
        part = _PART.match(text, position)
        if part is None:
            raise ValueError(f"{text!r} is no path template, at {text[position:]!r}")
        position = part.end()
        if field := part["field"]:
            fields.append(field)
            pattern += f"({_inner(part['inner'] or '*')})"
        elif part["verb"]:
            verb = part["verb"]
            pattern += f":{verb}"
        else:
            pattern += _inner(part["wild"] or part["literal"])
    return Template(text, re.compile(pattern), tuple(fields), verb)


def parameters(inner: str) -> list[str]:
    """Names for the wildcards of a variable's segments: ["pipeline", "environment"] of "pipelines/*/environments/*"."""
    segments = inner.split("/")
    named = [before for before, here in zip(["", *segments], segments, strict=False) if here in {"*", "**"}]
    return [_singular(collection) or "name" for collection in named]


def _inner(segments: str) -> str:
    return "".join(
        {"**": _REST, "*": _ONE}.get(part, re.escape(part)) for part in re.split(r"(\*\*|\*)", segments) if part
    )


def _openapi_part(part: re.Match[str]) -> str:
    if not part["field"]:
        return part[0]
    inner = part["inner"]
    if not inner:
        return f"{{{part['field']}}}"
    names = iter(parameters(inner))
    return re.sub(r"\*\*|\*", lambda _: f"{{{next(names)}}}", inner)


def _singular(collection: str) -> str:
    """The one of a collection: "pipeline" of "pipelines", "scalingPolicy" of "scalingPolicies"."""
    if collection.endswith("ies"):
        return collection[:-3] + "y"
    return collection.removesuffix("s")
