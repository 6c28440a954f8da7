"""A foreign document of which every field has to be accounted for: mapped, refused, or without a meaning here. Pure.

An importer walks the document with `Node`s and says of each field what becomes of it. What it says nothing about is
refused in the end, so nothing is dropped in silence, not even a field that did not exist when the importer was written.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any, Final

Path = tuple[str | int, ...]
LONGEST: Final = "604800s"
UNKNOWN: Final = "is not known to this importer"
PLAIN_KEY: Final = re.compile(r"[A-Za-z0-9_-]+").fullmatch
UNITS: Final = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0}
DURATION: Final = re.compile(r"(?:\d+(?:\.\d+)?(?:ms|s|m|h))+").fullmatch
PART: Final = re.compile(r"(\d+(?:\.\d+)?)(ms|s|m|h)").findall


@dataclass(frozen=True, slots=True)
class Finding:
    """What becomes of a field that is not mapped."""

    path: str
    """As it stands in the document: `spec.strategy.canary.steps[2].analysis`; it stands for all that is below it."""
    reason: str


@dataclass(frozen=True, slots=True)
class Imported:
    """A pipeline made from a foreign document."""

    pipeline: Mapping[str, Any]
    """A document as `opsuite apply` reads it."""
    version: str
    """The version at which the foreign document stood, from the tag of its image; empty if it names none."""
    mapped: Sequence[str] = ()
    refused: Sequence[Finding] = ()
    """What the pipeline does not do though the document asks for it."""
    meaningless: Sequence[Finding] = ()
    """What the document says that the pipeline need not say."""


@dataclass(slots=True)
class Reading:
    """What has become of the fields of one document so far."""

    document: Any
    mapped: set[Path] = field(default_factory=set)
    refused: dict[Path, str] = field(default_factory=dict)
    meaningless: dict[Path, str] = field(default_factory=dict)

    @property
    def root(self) -> Node:
        """The document as a whole."""
        return Node(self, (), self.document)

    def covers(self, path: Path) -> bool:
        """Whether something was said of a field, or of one that it is in."""
        parts = [path[:length] for length in range(len(path) + 1)]
        return any(part in said for part in parts for said in (self.mapped, self.refused, self.meaningless))

    def imported(self, pipeline: Mapping[str, Any], version: str = "") -> Imported:
        """The result; fields of which nothing was said are refused."""
        for path in leaves(self.document):
            if not self.covers(path):
                self.refused[path] = UNKNOWN
        return Imported(
            pipeline=pipeline,
            version=version,
            mapped=sorted(written(path) for path in self.mapped),
            refused=findings(self.refused),
            meaningless=findings(self.meaningless),
        )


@dataclass(frozen=True, slots=True)
class Node:
    """One field of a document, which may be absent: its value is None then, and nothing is noted of it.

    A field that was refused is absent to whoever comes later.
    """

    reading: Reading
    path: Path
    value: Any

    def __getitem__(self, key: str | int) -> Node:
        """A field in it."""
        inside = self.value
        if isinstance(inside, Mapping):
            found = inside.get(key)
        elif isinstance(inside, list) and isinstance(key, int) and key < len(inside):
            found = inside[key]
        else:
            found = None
        path = (*self.path, key)
        return Node(self.reading, path, None if path in self.reading.refused else found)

    def __iter__(self) -> Iterator[Node]:
        """The entries of a list."""
        entries = self.value if isinstance(self.value, list) else []
        return (self[index] for index in range(len(entries)))

    def __bool__(self) -> bool:
        """Whether it is there, be it 0 or empty."""
        return self.value is not None

    def names(self) -> list[str]:
        """Names of the fields in it, without those that were refused."""
        return [name for name in self.value if self[name]] if isinstance(self.value, Mapping) else []

    def take(self, default: Any = None) -> Any:
        """Its value, which is mapped with all that is in it."""
        if self:
            self.reading.mapped.add(self.path)
            return self.value
        return default

    def text(self, default: str = "") -> str:
        """Its value as text; anything but text or a number is refused."""
        if self and (isinstance(self.value, (bool, Mapping, list))):
            self.refuse("is not text")
            return default
        return str(self.take(default))

    def number(self, default: int, at_least: int = 0, at_most: int = 1_000_000_000) -> int:
        """Its value as a whole number; anything else, and what is out of range, is refused."""
        value = self.value
        if self and (isinstance(value, bool) or not isinstance(value, int) or not at_least <= value <= at_most):
            self.refuse(f"is not a whole number from {at_least} to {at_most}")
            return default
        return int(self.take(default))

    def flag(self, *, default: bool) -> bool:
        """Its value as true or false; anything else is refused."""
        if self and not isinstance(self.value, bool):
            self.refuse("is not true or false")
            return default
        return bool(self.take(default))

    def duration(self, default: str | None = None) -> str | None:
        """Its value as the contract writes durations; a bare number is seconds, text is `1h30m`; else it is refused."""
        if not self:
            return default
        if (parsed := parsed_duration(self.value)) is None:
            self.refuse("is not a duration")
            return default
        self.take()
        return seconds(parsed)

    def refuse(self, reason: str) -> None:
        """The pipeline does not do it."""
        if self:
            self.reading.refused[self.path] = reason
            self.reading.mapped.discard(self.path)

    def ignore(self, reason: str) -> None:
        """The pipeline need not say it."""
        if self:
            self.reading.meaningless[self.path] = reason

    def refuse_all(self, reasons: Mapping[str, str]) -> None:
        """Refuse the fields in it that have these names."""
        for key, reason in reasons.items():
            self[key].refuse(reason)

    def ignore_all(self, reasons: Mapping[str, str]) -> None:
        """The fields in it that have these names need not be said."""
        for key, reason in reasons.items():
            self[key].ignore(reason)

    def unless(self, allowed: Collection[Any], why_not: str, why_so: str) -> None:
        """Without a meaning here if its value is one of those `allowed`, because `why_so`; else refused: `why_not`."""
        self.ignore(why_so) if self.value in allowed else self.refuse(why_not)


def leaves(value: Any, path: Path = ()) -> Iterator[Path]:
    """Paths of all that holds nothing further: plain values, lists and mappings of nothing. Null counts as absent."""
    if value is None:
        return
    inside = value.items() if isinstance(value, Mapping) else enumerate(value) if isinstance(value, list) else ()
    found = [leaf for key, one in inside for leaf in leaves(one, (*path, key))]
    yield from found or [path]


def written(path: Path) -> str:
    """A path as people write it: `spec.steps[0].env["A.B"]`."""
    text = ""
    for part in path:
        if isinstance(part, int):
            text += f"[{part}]"
        elif PLAIN_KEY(str(part)):
            text += f".{part}" if text else str(part)
        else:
            text += f'["{part}"]'
    return text


def findings(said: Mapping[Path, str]) -> list[Finding]:
    """By their place in the document."""
    return sorted((Finding(written(path), reason) for path, reason in said.items()), key=lambda found: found.path)


def parsed_duration(value: Any) -> timedelta | None:
    """Seconds as a number or in digits, or text such as `30s`, `1h30m`; None for anything else."""
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        return timedelta(seconds=value) if value >= 0 else None
    if isinstance(value, str) and value.isdecimal():
        return timedelta(seconds=int(value))
    if isinstance(value, str) and DURATION(value):
        return timedelta(seconds=sum(float(number) * UNITS[unit] for number, unit in PART(value)))
    return None


def seconds(duration: timedelta) -> str:
    """A duration as the contract writes it: "30s"."""
    return f"{duration.total_seconds():g}s" if duration < timedelta(days=9) else f"{int(duration.total_seconds())}s"


def plain(text: str) -> str:
    """Text in which nothing is a template."""
    return text.replace("${", "$${")


def filled(fields: Mapping[str, Any]) -> dict[str, Any]:
    """The fields that say something."""
    return {key: value for key, value in fields.items() if value not in (None, "", [], {})}


def document(
    name: str,
    environment: str,
    rollouts: Mapping[str, Mapping[str, Any]],
    origin: str,
    hooks: Sequence[Mapping[str, Any]] = (),
) -> dict[str, Any]:
    """A pipeline as `opsuite apply` reads it: one rollout after the other, by the name of its stage.

    Where it comes from nothing limits the time of a rollout as a whole, so it may take as long as it can here.
    """
    stages = [
        {"name": stage, "steps": [{"name": stage, "timeout": LONGEST, "rollout": rollout}]}
        for stage, rollout in rollouts.items()
    ]
    spec = {
        "description": f"Imported from {origin}.",
        "environments": [environment],
        "timeout": LONGEST,
        "stages": stages,
        **filled({"hooks": list(hooks)}),
    }
    return {"apiVersion": "opsuite.dev/v1", "kind": "Pipeline", "metadata": {"name": name}, "spec": spec}


def versioned(image: str) -> tuple[str, str]:
    """An image with ${version} in place of its tag, and that tag; one that is named by its digest stays as it is."""
    if "@" in image:
        return plain(image), ""
    name, colon, tag = image.rpartition(":")
    if not colon or "/" in tag:  # a colon before a slash belongs to the registry's port
        name, tag = image, ""
    return f"{plain(name)}:${{version}}", tag
