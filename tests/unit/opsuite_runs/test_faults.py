from __future__ import annotations

import pytest

from opsuite_runs import faults


def test_a_declared_point_is_listed_with_what_it_means(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(faults, "_declared", {})
    faults.declare("store.committed", "committed, not told")

    assert faults.declared() == {"store.committed": "committed, not told"}


def test_a_name_is_declared_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(faults, "_declared", {})
    faults.declare("store.committed", "committed, not told")

    with pytest.raises(ValueError, match=r"store\.committed"):
        faults.declare("store.committed", "something else")


@pytest.mark.parametrize(
    ("setting", "meaning"), [("", None), ("a.b", ("a.b", 1)), ("a.b:3", ("a.b", 3)), ("a.b:", ("a.b", 1))]
)
def test_the_setting_names_a_point_and_a_hit(setting: str, meaning: tuple[str, int] | None) -> None:
    assert faults.parse(setting) == meaning


@pytest.mark.parametrize("setting", ["a.b:soon", "a.b:0", "a.b:-1"])
def test_a_setting_that_would_kill_nobody_is_refused(setting: str) -> None:
    with pytest.raises(ValueError, match=r"invalid literal|counted from 1"):
        faults.parse(setting)
