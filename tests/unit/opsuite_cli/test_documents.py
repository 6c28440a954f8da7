"""Pipelines as documents: what is accepted, and every mistake by its path."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from opsuite.deployer.v1 import pipeline_pb2 as pb
from opsuite_cli.documents import in_document, parse, read, written
from opsuite_kernel.errors import InvalidInput, NotFound, Violation


def a_document(**changes: Any) -> dict[str, Any]:
    spec = {
        "environments": ["staging"],
        "stages": [{"name": "test", "steps": [{"name": "unit", "command": {"command": "make", "args": ["test"]}}]}],
    }
    document = {"apiVersion": "opsuite.dev/v1", "kind": "Pipeline", "metadata": {"name": "web"}, "spec": spec}
    return document | changes


def with_step(**fields: Any) -> dict[str, Any]:
    document = a_document()
    document["spec"]["stages"][0]["steps"][0] |= fields
    return document


def with_spec(**fields: Any) -> dict[str, Any]:
    document = a_document()
    document["spec"] |= fields
    return document


def mistakes(document: Any) -> dict[str, str]:
    with pytest.raises(InvalidInput) as caught:
        parse(document if isinstance(document, str) else yaml.safe_dump(document))
    return {violation.field: violation.description for violation in caught.value.violations}


def test_a_document_becomes_the_message_of_the_contract() -> None:
    pipeline = parse(yaml.safe_dump(with_step(timeout="30s", idempotent=True)))

    step = pipeline.stages[0].steps[0]
    assert pipeline.name == "pipelines/web"
    assert (step.command.command, list(step.command.args)) == ("make", ["test"])
    assert step.timeout.ToSeconds() == 30
    assert step.idempotent


def test_names_of_fields_may_be_written_in_the_way_of_json() -> None:
    pipeline = parse(yaml.safe_dump(with_spec(rollbackEnabled=False)))

    assert pipeline.HasField("rollback_enabled")
    assert not pipeline.rollback_enabled


@pytest.mark.parametrize("word", ["skip", "SKIP", "ON_ROLLBACK_SKIP"])
def test_values_of_enums_may_be_written_short(word: str) -> None:
    assert parse(yaml.safe_dump(with_step(on_rollback=word))).stages[0].steps[0].on_rollback == pb.ON_ROLLBACK_SKIP


def test_an_unknown_field_is_told_by_its_path_with_what_was_meant() -> None:
    found = mistakes(with_step(idempotnt=True))

    assert found == {"spec.stages[0].steps[0].idempotnt": "is no field here; did you mean idempotent?"}


@pytest.mark.parametrize(
    ("document", "field", "words"),
    [
        (a_document(apiVersion="v1"), "apiVersion", "opsuite.dev/v1"),
        (a_document(kind="Pipe"), "kind", "Pipeline"),
        (a_document(metadata={}), "metadata.name", "must be given"),
        (a_document(metadata={"name": "web", "lables": {}}), "metadata.lables", "is no field"),
        (a_document(specs={}), "specs", "did you mean spec?"),
        (a_document(spec=None), "spec", "must be given"),
        (with_spec(name="pipelines/other"), "spec.name", "is no field"),
        (with_spec(revision=3), "spec.revision", "is no field"),
        (with_spec(environments="staging"), "spec.environments", "must be a list"),
        (with_spec(variables=["a"]), "spec.variables", "must have fields"),
        (with_spec(variables={"level": 3}), 'spec.variables["level"]', "must be text: write '3'"),
        (with_spec(concurrency="parallel"), "spec.concurrency", "queue, replace, cancel_running, reject"),
        (with_spec(rollback_enabled="yes"), "spec.rollback_enabled", "true or false"),
        (with_step(timeout=30), "spec.stages[0].steps[0].timeout", '"30s"'),
        (with_step(timeout="5m"), "spec.stages[0].steps[0].timeout", '"30s"'),
        (with_step(retry={"attempts": "three"}), "spec.stages[0].steps[0].retry.attempts", "a number"),
        ("- a\n- b\n", "", "is not a document"),
        ("a: [", "", "is not YAML"),
    ],
)
def test_a_mistake_is_told_by_its_path(document: Any, field: str, words: str) -> None:
    found = mistakes(document)

    assert words in found[field]


def test_all_mistakes_are_told_at_once() -> None:
    found = mistakes(a_document(kind="Pipe") | {"spec": {"environments": [1], "stagess": []}})

    assert set(found) == {"kind", "spec.environments[0]", "spec.stagess"}


def test_the_rules_of_the_contract_are_checked_before_anything_is_sent() -> None:
    found = mistakes(with_step(name="Unit Tests"))

    assert list(found) == ["spec.stages[0].steps[0].name"]


def test_the_name_of_the_pipeline_is_checked_where_it_stands() -> None:
    assert list(mistakes(a_document(metadata={"name": "My App"}))) == ["metadata.name"]


def test_a_pipeline_that_is_written_reads_back_equal() -> None:
    pipeline = parse(yaml.safe_dump(with_step(timeout="0.5s", on_rollback="skip")))

    assert parse(yaml.safe_dump(written(pipeline))) == pipeline


@pytest.mark.parametrize(
    ("field", "place"),
    [
        ("pipeline.stages[0].name", "spec.stages[0].name"),
        ("pipeline.name", "metadata.name"),
        ("", "spec"),
    ],
)
def test_what_the_server_finds_is_told_by_its_place_in_the_document(field: str, place: str) -> None:
    assert in_document(Violation(field, "is wrong")).field == place


def test_a_file_that_does_not_exist_is_not_found() -> None:
    with pytest.raises(NotFound):
        read(Path("/nowhere/pipeline.yaml"))
