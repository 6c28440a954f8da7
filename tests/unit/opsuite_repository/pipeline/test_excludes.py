from __future__ import annotations

import pytest

from opsuite_kernel.errors import InvalidInput
from opsuite_repository.pipeline.excludes import Leading, Patterns


@pytest.mark.parametrize(
    ("pattern", "path"),
    [
        ("*.log", b"/srv/app/x.log"),
        ("app", b"/srv/app/x.log"),
        ("srv/app", b"/srv/app"),
        ("/srv", b"/srv/app/x.log"),
        ("/srv/*/x.log", b"/srv/app/x.log"),
        ("/srv/**/x.log", b"/srv/x.log"),
        ("/srv/**/x.log", b"/srv/a/b/x.log"),
        ("/srv/**", b"/srv/a"),
        ("a?c", b"/abc"),
        ("[a-c]x", b"/bx"),
        ("[^a-c]x", b"/dx"),
        ("[\\]]", b"/]"),
        ("\\*", b"/*"),
        ("app/", b"/srv/app"),
        ("\udcff*", b"/\xff\xfe"),
    ],
)
def test_a_pattern_means_the_path_or_something_above_it(pattern: str, path: bytes) -> None:
    assert Patterns([pattern]).match(path)


@pytest.mark.parametrize(
    ("pattern", "path"),
    [
        ("*.log", b"/srv/x.log.gz"),
        ("*.log", b"/srv/x\nlog"),
        ("app", b"/srv/apple"),
        ("/app", b"/srv/app"),
        ("/srv/*", b"/srv"),
        ("/*/x", b"/a/b/x"),
        ("a?c", b"/a/c"),
        ("[^a]x", b"/ax"),
        ("\\*", b"/a"),
        ("APP", b"/app"),
        ("/srv/**/x.log", b"/other/x.log"),
    ],
)
def test_a_pattern_means_nothing_else(pattern: str, path: bytes) -> None:
    assert not Patterns([pattern]).match(path)


def test_letters_differ_only_where_that_was_asked_for() -> None:
    assert Patterns([], ["READ*"]).match(b"/readme")
    assert not Patterns(["READ*"]).match(b"/readme")


def test_a_later_pattern_takes_back_what_an_earlier_one_matched() -> None:
    patterns = Patterns(["*.log", "!keep.log", "old/keep.log"])

    matched = [path for path in (b"/a.log", b"/keep.log", b"/old/keep.log", b"/x") if patterns.match(path)]

    assert matched == [b"/a.log", b"/old/keep.log"]


def test_no_patterns_match_nothing() -> None:
    assert not Patterns([])
    assert not Patterns([]).match(b"/x")
    assert Patterns(["x"])


@pytest.mark.parametrize("pattern", ["/", ".", "//"])
def test_what_could_only_mean_everything_is_refused(pattern: str) -> None:
    with pytest.raises(InvalidInput):
        Patterns([pattern])


@pytest.mark.parametrize(
    ("pattern", "folder", "may"),
    [
        ("/a/b/c", b"", True),
        ("/a/b/c", b"/a", True),
        ("/a/b/c", b"/a/b", True),
        ("/a/*/c", b"/a/x", True),
        ("/a/b/c", b"/x", False),
        ("/a/b/c", b"/a/x", False),
        ("/a/b/c", b"/a/b/c", False),
        ("/a/**/c", b"/a/x/y", True),
        ("c", b"/anywhere", True),
        ("!c", b"/anywhere", False),
    ],
)
def test_the_way_to_what_is_included_is_walked_and_no_other(pattern: str, folder: bytes, may: bool) -> None:
    assert Leading([pattern]).match(folder) is may
