"""Manifests from real files and a real `kubectl kustomize`."""

from __future__ import annotations

from pathlib import Path

import pytest
from components import program
from kube import HOW_TO_GET_IT

from opsuite_kernel.errors import InvalidInput, Unavailable
from opsuite_platforms.kubernetes_documents import load

CONFIG = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: NAME}\n"


def write(directory: Path, **files: str) -> None:
    directory.mkdir(parents=True, exist_ok=True)
    for name, text in files.items():
        (directory / name.replace("_", ".")).write_text(text)


def config(name: str) -> str:
    return CONFIG.replace("NAME", name)


async def names(path: Path) -> list[str]:
    return [document["metadata"]["name"] for document in await load(path)]


async def test_a_file_holds_any_number_of_documents_and_lists(tmp_path: Path) -> None:
    many = "\n---\n".join(["# a remark", config("one"), "", config("two")])
    listed = '{"apiVersion": "v1", "kind": "List", "items": [%s]}'
    item = '{"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "three"}}'
    write(tmp_path, many_yaml=many, list_json=listed % item)

    assert await names(tmp_path / "many.yaml") == ["one", "two"]
    assert await names(tmp_path / "list.json") == ["three"]


async def test_of_a_directory_all_manifests_count_by_name(tmp_path: Path) -> None:
    write(tmp_path, b_yml=config("b"), a_yaml=config("a"), c_json='{"apiVersion": "v1", "kind": "List", "items": []}')
    write(tmp_path, notes_txt="not a manifest")

    assert await names(tmp_path) == ["a", "b"]


async def test_every_document_that_is_not_a_manifest_is_told(tmp_path: Path) -> None:
    write(tmp_path, bad_yaml="\n---\n".join([config("good"), "kind: ConfigMap", "[1]", CONFIG + "data: !!set {a}\n"]))

    with pytest.raises(InvalidInput) as refusal:
        await load(tmp_path / "bad.yaml")

    assert [violation.description for violation in refusal.value.violations] == [
        "bad.yaml: document 2: no apiVersion, metadata.name",
        "bad.yaml: document 3: not a mapping",
        "bad.yaml: document 4: holds what JSON cannot: Object of type set is not JSON serializable",
    ]


@pytest.mark.parametrize("text", ["a: b: c", "!!python/object:os.system {}", "\x00"])
async def test_what_is_not_yaml_is_told_with_its_file(tmp_path: Path, text: str) -> None:
    write(tmp_path, bad_yaml=text)

    with pytest.raises(InvalidInput, match=r"bad\.yaml"):
        await load(tmp_path / "bad.yaml")


async def test_a_path_that_leads_nowhere_is_told(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match="no such file"):
        await load(tmp_path / "missing")


@pytest.fixture
def kubectl(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", f"{program('kubectl', HOW_TO_GET_IT).parent}:/usr/bin:/bin")


@pytest.mark.usefixtures("kubectl")
async def test_a_kustomization_is_built(tmp_path: Path) -> None:
    write(tmp_path / "base", config_yaml=config("settings"), kustomization_yaml="resources: [config.yaml]\n")
    write(tmp_path / "production", kustomization_yaml="resources: [../base]\nnamePrefix: production-\n")

    assert await names(tmp_path / "production") == ["production-settings"]


@pytest.mark.usefixtures("kubectl")
async def test_what_kustomize_refuses_is_told_in_its_words(tmp_path: Path) -> None:
    write(tmp_path, kustomization_yaml="resources: [missing.yaml]\n")

    with pytest.raises(InvalidInput, match=r"missing\.yaml"):
        await load(tmp_path)


async def test_a_kustomization_without_kubectl_says_what_is_missing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    write(tmp_path, kustomization_yaml="resources: []\n")

    with pytest.raises(Unavailable, match="kubectl"):
        await load(tmp_path)
