"""The file of metric sources: what it may hold, and that nothing wrong in it is ever repeated."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from opsuite_kernel.errors import InvalidInput
from opsuite_notify.secrets import SecretMissing, SecretNotAllowed, SecretSource
from opsuite_scaler.adapters.sources.settings import SecretSetting, read_sources

PAGE = Path(__file__).parents[3] / "docs/metric-sources.md"


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "sources.yaml"


@pytest.fixture
def written(path: Path) -> Path:
    """The file that the page on sources shows."""
    (example,) = re.findall(r"^```yaml\n(sources:.*?)^```$", PAGE.read_text(), flags=re.MULTILINE | re.DOTALL)
    path.write_text(example)
    return path


async def test_every_kind_is_built_with_its_limit(written: Path) -> None:

    sources = read_sources(written).build(SecretSource(env={}))

    assert {name: (each.source.kind, each.timeout.total_seconds()) for name, each in sources.items()} == {
        "prometheus": ("prometheus", 5.0),
        "jobs": ("redis", 2.0),
        "work": ("rabbitmq", 5.0),
        "orders": ("postgresql", 5.0),
    }
    for each in sources.values():
        await each.source.close()


@pytest.mark.parametrize(
    ("text", "where", "words"),
    [
        ("sources: {a: {kind: carrier-pigeon, url: x}}", "sources.a", "carrier-pigeon"),
        ("sources: {a: {kind: redis}}", "sources.a.redis.url", "required"),
        ("sources: {a: {kind: redis, url: x, colour: red}}", "sources.a.redis.colour", "not permitted"),
        ("sources: {a: {kind: redis, url: x, timeout: 0}}", "sources.a.redis.timeout", "greater"),
        ("sources: {A b: {kind: redis, url: x}}", "sources.A b", "pattern"),
        ("sources: {push: {kind: redis, url: x}}", "sources.push", "is there by itself"),
        ("sources: {a: {kind: redis, url: x, password: {}}}", "sources.a.redis.password", "env or file"),
        ("sources: {a: {kind: redis, url: x, password: s3cr3t}}", "sources.a.redis.password", "SecretSetting"),
        ("sources: {a: {kind: redis, url: 'redis://:s3cr3t@h'}}", "sources.a.redis.url", "holds no password"),
        ("- s3cr3t", "", "valid dictionary"),
        ("sources: [", "", "is not YAML"),
    ],
)
def test_what_is_wrong_is_told_by_its_path_and_never_with_its_value(
    path: Path, text: str, where: str, words: str
) -> None:
    path.write_text(text)

    with pytest.raises(InvalidInput) as refusal:
        read_sources(path)

    (violation,) = refusal.value.violations
    assert violation.field == (f"{path}.{where}" if where else str(path))
    assert words in violation.description
    assert "s3cr3t" not in refusal.value.message
    assert refusal.value.__cause__ is None


def test_everything_that_is_wrong_is_told_at_once(path: Path) -> None:
    path.write_text("sources: {a: {kind: redis}, b: {kind: prometheus, url: ''}}")

    with pytest.raises(InvalidInput) as refusal:
        read_sources(path)

    assert len(refusal.value.violations) == 2


def test_a_file_that_is_not_there_is_told(path: Path) -> None:
    with pytest.raises(InvalidInput, match="cannot be read"):
        read_sources(path)


def test_credentials_are_found_when_they_are_needed_where_the_settings_allow_it(tmp_path: Path) -> None:
    (tmp_path / "token").write_text("first\n")
    secrets = SecretSource(env={"ALLOWED": "yes", "OTHER": "no"}, allowed_env=["ALLOWED"], directory=tmp_path)

    token = SecretSetting(file="token").within(secrets)
    told = [token().reveal()]
    (tmp_path / "token").write_text("second\n")
    told.append(token().reveal())

    assert told == ["first", "second"]
    assert SecretSetting(env="ALLOWED").within(secrets)().reveal() == "yes"
    with pytest.raises(SecretNotAllowed):
        SecretSetting(env="OTHER").within(secrets)()
    with pytest.raises(SecretMissing):
        SecretSetting(file="nothing").within(secrets)()
