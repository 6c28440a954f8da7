"""Nothing of a foreign document is dropped in silence: every field is mapped, refused, or has no meaning here."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from typing import Any

import pytest
import yaml
from fakes.foreign_documents import ALL
from hypothesis import given, settings
from hypothesis import strategies as st

from opsuite_cli.documents import parse
from opsuite_cli.importing import imported_of, refuse_malformed
from opsuite_cli.imports.reading import UNKNOWN, Imported, written
from opsuite_deployer.adapters.pipeline_messages import pipeline_of
from opsuite_deployer.domain.rules import violations

Path = tuple[str | int, ...]
scalars = (
    st.none() | st.booleans() | st.integers(-5, 2000) | st.sampled_from(["", "x", "5m", "50%", "$(A)", "<%= x %>"])
)
values = st.recursive(
    scalars, lambda inside: st.lists(inside, max_size=3) | st.dictionaries(st.sampled_from("abc"), inside), max_leaves=5
)
PARSED = {source: list(yaml.safe_load_all(text)) for source, text in ALL.items()}
IDENTITY = (("apiVersion",), ("kind",), ("service",), ("metadata",), ("metadata", "name"))
sources = st.sampled_from(sorted(ALL))


class AllowAll:
    """A policy that has nothing against anything."""

    def command(self, *_: Any) -> list[Any]:
        return []

    workload = environment = command


def documents(source: str) -> list[Any]:
    return copy.deepcopy(PARSED[source])


def imported(documents: list[Any]) -> Imported:
    return imported_of(documents, environment="production")


def paths(value: Any, path: Path = ()) -> Iterator[Path]:
    """All places in a document, without the document itself; null counts as absent."""
    inside = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, one in inside:
        if one is not None:
            yield (*path, key)
            yield from paths(one, (*path, key))


def leaves(value: Any) -> list[Path]:
    places = list(paths(value))
    return [place for place in places if not any(other[:-1] == place for other in places)]


def at(document: Any, path: Path) -> Any:
    for part in path:
        document = document[part]
    return document


def said(result: Imported, prefix: str = "") -> set[str]:
    told = [*result.mapped, *(one.path for one in [*result.refused, *result.meaningless])]
    return {path.removeprefix(prefix) for path in told if path.startswith(prefix)}


def is_told(path: Path, told: set[str]) -> bool:
    return any(written(path[:length]) in told for length in range(len(path) + 1))


def unaccounted(documents: list[Any]) -> list[str]:
    """Leaves of which nothing is said; those of further documents are told behind the kind and name of each."""
    result = imported(documents)
    first, *others = documents
    lost = [written(leaf) for leaf in leaves(first) if not is_told(leaf, said(result))]
    for other in others:
        place = f"{other.get('kind')}/{(other.get('metadata') or {}).get('name')}"
        if place not in said(result):
            told = said(result, f"{place}: ")
            lost += [f"{place}: {written(leaf)}" for leaf in leaves(other) if not is_told(leaf, told)]
    return lost


@pytest.mark.parametrize("source", ALL)
def test_every_field_is_accounted_for_and_known(source: str) -> None:
    result = imported(documents(source))

    assert unaccounted(documents(source)) == []
    assert [one.path for one in result.refused if one.reason == UNKNOWN] == []


@pytest.mark.parametrize("source", ALL)
def test_what_is_imported_can_be_registered(source: str) -> None:
    result = imported(documents(source))

    refuse_malformed(result)
    message = parse(yaml.safe_dump(dict(result.pipeline)))
    assert violations(pipeline_of(message), AllowAll()) == []


@pytest.mark.parametrize("source", ALL)
def test_a_field_counts_as_mapped_only_if_it_makes_a_difference(source: str) -> None:
    before = documents(source)
    result = imported(before)
    told = set(result.mapped)
    without_effect = []
    for leaf in leaves(before[0]):
        if leaf[0] in ("apiVersion", "kind") or leaf[-1] in ("apiVersion", "kind") or not is_told(leaf, told):
            continue
        after = copy.deepcopy(before)
        at(after[0], leaf[:-1])[leaf[-1]] = other_than(at(before[0], leaf))
        changed = imported(after)
        if (changed.pipeline, changed.version, changed.refused) == (result.pipeline, result.version, result.refused):
            without_effect.append(written(leaf))
    assert without_effect == []


def other_than(value: Any) -> Any:
    """Another value of the same type, which is as right."""
    if isinstance(value, bool):
        return not value
    if isinstance(value, (int, float)):
        return value + 20 if value <= 80 else value - 20
    return {"duration": "5s"} if value == {} else "100%" if "%" in value else f"{value}x"


@settings(deadline=None)  # the machine may be busy
@given(source=sources, data=st.data())
def test_fields_that_nobody_knows_are_refused(source: str, data: st.DataObject) -> None:
    changed = documents(source)
    document = data.draw(st.sampled_from(changed))
    places = [(), *(place for place in paths(document) if isinstance(at(document, place), dict))]
    place = data.draw(st.sampled_from(places))
    at(document, place)["newly-invented"] = data.draw(values.filter(lambda value: value is not None))

    assert unaccounted(changed) == []


@settings(deadline=None)  # the machine may be busy
@given(source=sources, value=values, data=st.data())
def test_whatever_stands_in_a_field_the_import_ends_and_accounts_for_it(
    source: str, value: Any, data: st.DataObject
) -> None:
    changed = documents(source)
    document = data.draw(st.sampled_from(changed))
    places = [place for place in paths(document) if place not in IDENTITY]
    place = data.draw(st.sampled_from(places))
    at(document, place[:-1])[place[-1]] = value

    assert unaccounted(changed) == []
