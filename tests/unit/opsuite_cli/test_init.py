"""The pipeline that `opsuite init` writes."""

from __future__ import annotations

import pytest

from opsuite_cli.documents import parse
from opsuite_cli.init import TOOLCHAINS, UNKNOWN, Toolchain, document, label, toolchain_of


@pytest.mark.parametrize(
    ("names", "kind"),
    [
        (["pyproject.toml", "src"], "Python"),
        (["requirements.txt"], "Python"),
        (["package.json"], "Node"),
        (["go.mod", "main.go"], "Go"),
        (["Makefile"], "Make"),
        (["Makefile", "go.mod"], "Go"),
        (["README.md"], "no known tools"),
        ([], "no known tools"),
    ],
)
def test_a_repository_is_told_by_its_files(names: list[str], kind: str) -> None:
    assert toolchain_of(names).name == kind


@pytest.mark.parametrize(
    ("text", "expected"),
    [("hello-web", "hello-web"), ("My App", "my-app"), ("_x_", "x"), ("ÄÖ", "app"), ("a" * 99, "a" * 63)],
)
def test_the_name_of_a_directory_becomes_a_dns_label(text: str, expected: str) -> None:
    assert label(text) == expected


@pytest.mark.parametrize("toolchain", [*TOOLCHAINS, UNKNOWN], ids=lambda one: one.name)
def test_what_is_written_is_a_pipeline_that_can_be_registered(toolchain: Toolchain) -> None:
    pipeline = parse(document("web", toolchain, "https://git.example/web.git", toolchain.test))

    assert pipeline.name == "pipelines/web"
    assert pipeline.variables["repository"] == "https://git.example/web.git"
    assert [stage.name for stage in pipeline.stages] == ["checkout", "test", "run"]
    assert pipeline.stages[1].steps[0].command.command == toolchain.test[0]


def test_a_repository_with_a_strange_address_stays_one_value() -> None:
    pipeline = parse(document("web", UNKNOWN, 'https://x/"a": b #c', ("make",)))

    assert pipeline.variables["repository"] == 'https://x/"a": b #c'
