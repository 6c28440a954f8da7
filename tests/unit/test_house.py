"""The house rules that no other tool checks."""

import re
import tomllib
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
WHEEL = PROJECT["tool"]["hatch"]["build"]["targets"]["wheel"]["packages"]


def import_packages() -> set[Path]:
    """Every import package of the tree: a folder with an __init__ whose parent has none."""
    parents = [ROOT / "libs", ROOT / "cli", *(path for path in (ROOT / "services").iterdir() if path.is_dir())]
    return {folder for parent in parents for folder in parent.iterdir() if (folder / "__init__.py").is_file()}


def test_the_wheel_holds_every_package_and_nothing_that_is_not_there() -> None:
    assert {ROOT / path for path in WHEEL} == import_packages()


def test_import_contracts_cover_every_package() -> None:
    assert set(PROJECT["tool"]["importlinter"]["root_packages"]) == {path.name for path in import_packages()}


def test_the_import_sorter_knows_every_package_as_ours() -> None:
    assert set(PROJECT["tool"]["ruff"]["lint"]["isort"]["known-first-party"]) == {
        path.name for path in import_packages()
    }


@pytest.mark.parametrize("package", sorted(path.name for path in import_packages() if path.parent.name == "libs"))
def test_packages_of_libs_begin_with_nothing(package: Any) -> None:
    # Importing `package.port` runs it, and no import contract would see what it drags in.
    assert (ROOT / "libs" / package / "__init__.py").read_text() == ""


def test_every_package_says_that_it_is_typed() -> None:
    assert [path.name for path in import_packages() if not (path / "py.typed").is_file()] == []


def test_every_dependency_has_its_reason() -> None:
    reasons = (ROOT / "docs" / "dependencies.md").read_text()
    extras = PROJECT["project"]["optional-dependencies"]
    wanted = [*PROJECT["project"]["dependencies"], *extras["server"], *extras["dev"]]
    names = {re.split(r"[\[<>=!~; ]", requirement)[0] for requirement in wanted}
    missing = [name for name in names if not name.startswith("types-") and name not in reasons]
    short = [
        name for name in missing if not (name.startswith("opentelemetry-") and "opentelemetry-api, -sdk" in reasons)
    ]
    assert short == []


def test_no_tests_folder_is_a_package() -> None:
    assert list((ROOT / "tests").rglob("__init__.py")) == []


def test_every_decision_has_context_decision_and_consequences() -> None:
    for page in (ROOT / "docs" / "adr").glob("*.md"):
        headings = re.findall(r"^## (\w+)", page.read_text(), re.MULTILINE)
        assert headings[:3] == ["Context", "Decision", "Consequences"], page.name
