from __future__ import annotations

import json
from pathlib import Path

import pytest
import typer
from fakes.foreign_documents import ALL, ARGO_CANARY, FLAGGER_CANARY, KAMAL
from typer.testing import CliRunner

from opsuite_cli import options
from opsuite_cli.documents import parse
from opsuite_cli.importing import import_, imported_from, rendered
from opsuite_cli.options import Options, Output
from opsuite_kernel.errors import InvalidInput

RUNNER = CliRunner()


@pytest.fixture
def app() -> typer.Typer:
    app = typer.Typer()
    app.command("import")(import_)
    options.choose(Options(None, None, Output.TABLE))
    return app


@pytest.fixture
def source(tmp_path: Path) -> Path:
    path = tmp_path / "rollout.yaml"
    path.write_text(ARGO_CANARY)
    return path


@pytest.mark.parametrize(
    "text", ["", "a: 1", "kind: Deployment", f"{ARGO_CANARY}\n---\n{FLAGGER_CANARY}", "a: [", "[]"]
)
def test_a_file_has_to_hold_exactly_one_thing_that_is_imported(text: str) -> None:
    with pytest.raises(InvalidInput):
        imported_from(text, environment="production")


@pytest.mark.parametrize("source", ALL)
def test_what_is_written_is_read_back_with_what_it_does_not_do_above_it(source: str) -> None:
    imported = imported_from(ALL[source], environment="staging")

    text = rendered(imported, "file.yaml")

    assert list(parse(text).environments) == ["staging"]
    assert all(f"#   {one.path}: {one.reason}" in text for one in imported.refused)


def test_the_version_at_which_it_stood_is_what_to_deploy_next() -> None:
    assert "opsuite deploy shop 1.4.2 --env production" in rendered(imported_from(KAMAL, environment="production"), "x")


def test_the_pipeline_goes_to_a_file_that_is_not_replaced_unasked(app: typer.Typer, source: Path) -> None:
    target = source.with_name("pipeline.yaml")

    first = RUNNER.invoke(app, [str(source), "--file", str(target)])
    again = RUNNER.invoke(app, [str(source), "--file", str(target)])
    forced = RUNNER.invoke(app, [str(source), "--file", str(target), "--force"])

    assert (first.exit_code, again.exit_code, forced.exit_code) == (0, 1, 0)
    assert parse(target.read_text()).name == "pipelines/guestbook"
    assert "refused spec.template.spec.volumes" in first.stderr


def test_strict_writes_nothing_when_a_field_is_refused(app: typer.Typer, source: Path) -> None:
    target = source.with_name("pipeline.yaml")

    ended = RUNNER.invoke(app, [str(source), "--file", str(target), "--strict"])

    assert (ended.exit_code, target.exists()) == (1, False)


def test_programs_get_every_field_with_what_became_of_it(app: typer.Typer, source: Path) -> None:
    options.choose(Options(None, None, Output.JSON))

    told = json.loads(RUNNER.invoke(app, [str(source)]).stdout)

    assert told["pipeline"]["metadata"] == {"name": "guestbook"}
    assert "spec.replicas" in told["mapped"]
    assert {"path", "reason"} == set(told["refused"][0])


def test_a_file_that_does_not_exist_is_told(app: typer.Typer, tmp_path: Path) -> None:
    ended = RUNNER.invoke(app, [str(tmp_path / "nothing.yaml")])

    assert (ended.exit_code, "nothing.yaml" in ended.stderr) == (1, True)
