"""`opsuite scaling` as people run it, against a real scaler."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml
from scaler import ScalerProcess, a_policy
from typer.testing import CliRunner

from opsuite_cli.main import app
from opsuite_cli.scaling_documents.document import written

HPA = {
    "apiVersion": "autoscaling/v2",
    "kind": "HorizontalPodAutoscaler",
    "metadata": {"name": "shop", "annotations": {"team": "shop"}},
    "spec": {
        "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "shop"},
        "minReplicas": 2,
        "maxReplicas": 9,
        "metrics": [
            {
                "type": "Resource",
                "resource": {"name": "cpu", "target": {"type": "Utilization", "averageUtilization": 60}},
            }
        ],
    },
}


class Command:
    """The command, told where the scaler is."""

    def __init__(self, environment: Mapping[str, str]) -> None:
        self._environment = environment

    def __call__(self, *words: str, status: int = 0) -> str:
        """What it printed; it has to end with this status."""
        done = CliRunner().invoke(app, ["scaling", *words], env=dict(self._environment), catch_exceptions=False)
        assert done.exit_code == status, done.output
        return done.stdout if status == 0 else done.output

    def json(self, *words: str) -> Any:
        return json.loads(self(*words, "--json"))


@pytest.fixture
def opsuite(scaler: ScalerProcess) -> Command:
    return Command({"OPSUITE_SCALER_ADDRESS": scaler.address, "OPSUITE_TOKEN": scaler.token})


def a_document(place: Path, name: str, **fields: Any) -> str:
    """A file with a policy of the workload of its name."""
    file = place / f"{name}.yaml"
    file.write_text(yaml.safe_dump(written(a_policy(name, **fields))))
    return str(file)


def test_a_policy_is_applied_read_changed_and_deleted(opsuite: Command, tmp_path: Path) -> None:
    assert "applied: created" in opsuite("apply", "-f", a_document(tmp_path, "applied"))
    assert "applied: unchanged" in opsuite("apply", "-f", a_document(tmp_path, "applied"))
    assert "applied: updated" in opsuite("apply", "-f", a_document(tmp_path, "applied", maxReplicas=7))
    assert yaml.safe_load(opsuite("get", "applied"))["spec"]["max_replicas"] == 7
    assert "1..7" in opsuite("list")

    opsuite("delete", "applied")

    assert "does not exist" in opsuite("get", "applied", status=1)


def test_what_is_wrong_with_a_document_is_told_by_its_place(opsuite: Command, tmp_path: Path) -> None:
    file = a_document(tmp_path, "wrong", minReplicas=9)

    assert "spec.min_replicas" in opsuite("apply", "-f", file, status=1)
    assert "spec.min_replicas" in opsuite("apply", "-f", file, "--check", status=1)
    assert "wrong" not in opsuite("list")


def test_modes_are_set_for_a_time_and_told_with_their_author(opsuite: Command, tmp_path: Path) -> None:
    opsuite("apply", "-f", a_document(tmp_path, "modes"))

    assert "PAUSED until" in opsuite("pause", "modes", "--for", "30m", "--reason", "a sale")
    assert opsuite.json("get", "modes")["spec"]["mode"]["reason"] == "a sale"
    assert "ACTIVE" in opsuite("resume", "modes")
    assert "SCALE_UP_ONLY" in opsuite("mode", "modes", "scale-up-only")
    assert "must be one of" in opsuite("mode", "modes", "sideways", status=1)


def test_a_decision_is_told_with_its_steps(opsuite: Command, tmp_path: Path) -> None:
    question = tmp_path / "question.yaml"
    policy = written(a_policy("asked"))["spec"]
    snapshot = {
        "spec_replicas": 2,
        "readings": {"queue": {"kind": "SAMPLE_KIND_VALUE", "total": 45.0}},
        "time": "2026-03-02T12:00:00Z",
    }
    question.write_text(yaml.safe_dump({"policy": policy, "snapshot": snapshot}))

    told = opsuite("what-if", str(question))

    assert told.startswith(("2 → 4", "2 → 5"))
    assert "metric_proposal" in told
    assert opsuite.json("what-if", str(question))["decision"]["verdict"] == "VERDICT_SCALE"


def test_how_a_target_stands_and_what_was_decided_can_be_asked(opsuite: Command, tmp_path: Path) -> None:
    opsuite("apply", "-f", a_document(tmp_path, "standing"))

    assert "standing: process standing" in opsuite("status", "standing")
    assert isinstance(opsuite.json("activities", "standing"), list)


def test_manifests_become_policies_and_come_back(opsuite: Command, tmp_path: Path) -> None:
    manifest, policy = tmp_path / "hpa.yaml", tmp_path / "policy.yaml"
    manifest.write_text(yaml.safe_dump(HPA))

    opsuite("import", str(manifest), "--file", str(policy))
    back = yaml.safe_load_all(opsuite("export", str(policy), "--as", "hpa"))

    assert next(back)["spec"] == HPA["spec"]
    assert "exists" in opsuite("import", str(manifest), "--file", str(policy), status=1)


def test_a_backtest_compares_policies_and_draws_them(opsuite: Command, tmp_path: Path) -> None:
    policy, plot = a_document(tmp_path, "played", timing={"tick": "15s"}), tmp_path / "plot.svg"
    play = ["backtest", policy, "hpa", "optimum", "--trace", "step", "--duration", "1h", "--capacity", "10"]

    told = opsuite(*play, "--plot", str(plot))
    first, again = (opsuite.json(*play)["reports"] for _ in range(2))

    assert [line.split()[0] for line in told.splitlines()[1:4]] == ["played", "hpa", "optimum"]
    assert plot.read_bytes().startswith(b"<?xml")
    assert first == again
    assert [one["contender"] for one in first] == ["played", "hpa", "optimum"]


def test_a_backtest_plays_the_load_of_a_file(opsuite: Command, tmp_path: Path) -> None:
    trace = tmp_path / "load.csv"
    trace.write_text("seconds,load\n" + "".join(f"{15 * index},{20 + index}\n" for index in range(100)))

    found = opsuite.json("backtest", a_document(tmp_path, "filed", timing={"tick": "15s"}), "--trace", str(trace))

    assert found["ticks"] == "100"


def test_a_trace_is_kept_taken_out_and_played(opsuite: Command, tmp_path: Path) -> None:
    text = "offset_seconds,value\n" + "".join(f"{15 * index},{20 + index}\n" for index in range(50))
    (tmp_path / "load.csv").write_text(text)

    assert "traces/friday: 50 points" in opsuite("trace", "import", "friday", str(tmp_path / "load.csv"))
    assert opsuite("trace", "export", "traces/friday") == text
    assert "exists" in opsuite("trace", "import", "friday", str(tmp_path / "load.csv"), status=1)
    policy = a_document(tmp_path, "kept", timing={"tick": "15s"})
    assert opsuite.json("backtest", policy, "--trace", "traces/friday")["ticks"] == "50"


def test_a_trace_of_times_that_are_not_even_is_refused(opsuite: Command, tmp_path: Path) -> None:
    (tmp_path / "load.csv").write_text("2026-01-01T00:00:00,1\n2026-01-01T00:01:00,1\n2026-01-01T00:05:00,1\n")
    play = ["backtest", a_document(tmp_path, "uneven"), "--trace", str(tmp_path / "load.csv")]

    assert "load.csv[3]: times must follow" in opsuite(*play, status=1)
    assert "--query" in opsuite("backtest", play[1], "--trace", "prometheus:main", status=1)


def test_a_backtest_without_a_policy_is_refused(opsuite: Command) -> None:
    assert "must hold a policy" in opsuite("backtest", "hpa", "--trace", "step", status=1)


def test_a_forecast_that_is_off_is_told_as_such(opsuite: Command, tmp_path: Path) -> None:
    opsuite("apply", "-f", a_document(tmp_path, "unforeseen"))

    assert "forecast" in opsuite("forecast", "unforeseen", status=1)
