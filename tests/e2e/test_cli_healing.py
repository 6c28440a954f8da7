"""`opsuite check`, `incident`, `alert`, `silence`, `heal`, `runbook` … as people run them, against a real healer."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
import yaml
from healer import HealerProcess, healer
from ports import free_port
from typer.testing import CliRunner

from opsuite_cli.main import app

__all__ = ["healer"]


class Command:
    """The command, told where the healer is."""

    def __init__(self, healer: HealerProcess) -> None:
        self._environment = healer.environment

    def __call__(self, *words: str, status: int = 0) -> str:
        """What it printed; it has to end with this status."""
        done = CliRunner().invoke(app, list(words), env=self._environment, catch_exceptions=False)
        assert done.exit_code == status, done.output
        return done.stdout if status == 0 else done.output

    def json(self, *words: str) -> Any:
        return json.loads(self(*words, "--json"))


@pytest.fixture
def opsuite(healer: HealerProcess) -> Command:
    return Command(healer)


def written(place: Path, *documents: dict[str, Any]) -> str:
    """A file with documents."""
    file = place / "healing.yaml"
    file.write_text(yaml.safe_dump_all(documents))
    return str(file)


def a_document(kind: str, name: str, **spec: Any) -> dict[str, Any]:
    return {"apiVersion": "opsuite.dev/v1", "kind": kind, "metadata": {"name": name}, "spec": spec}


def a_check(name: str, url: str, **spec: Any) -> dict[str, Any]:
    fields = {"target": {"workload": f"{name}.example"}, "http": {"url": url}, "interval": "0.5s", "timeout": "0.5s"}
    return a_document("HealthCheck", name, **fields, failure_threshold=1, success_threshold=1, **spec)


@contextmanager
def web_server(status: HTTPStatus) -> Iterator[str]:
    """The URL of a server that answers with one status."""

    class Pages(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(status)
            self.end_headers()

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002  # the name is http.server's
            """Nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Pages)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/"
    finally:
        server.shutdown()


def test_documents_are_applied_once_updated_and_printed_back(opsuite: Command, tmp_path: Path) -> None:
    receiver = a_document("Receiver", "chat", webhook={"url": "http://127.0.0.1:9/"})
    escalation = a_document("EscalationPolicy", "people", levels=[{"receivers": ["receivers/chat"]}])
    runbook = a_document(
        "Runbook", "look", steps=[{"name": "ask", "inquiry": {"question": "Is it well?", "expires_in": "600s"}}]
    )
    policy = a_document("HealingPolicy", "restart", mode="observe", steps=[{"action": "RESTART_SERVICE"}])
    file = written(tmp_path, policy, escalation, receiver, runbook)

    first = opsuite("heal", "apply", "-f", file).splitlines()
    again = opsuite("heal", "apply", "-f", file).splitlines()
    policy["spec"]["mode"] = "suggest"
    changed = opsuite("heal", "apply", "-f", written(tmp_path, policy))

    assert [line.rpartition(": ")[2] for line in first] == ["created"] * 4
    assert [line.rpartition(": ")[2] for line in again] == ["unchanged"] * 4
    assert changed == "healing policy restart: updated\n"
    assert yaml.safe_load(opsuite("heal", "policy", "get", "restart"))["spec"]["mode"] == "HEALING_MODE_SUGGEST"
    assert "receivers/chat" in opsuite("escalation", "get", "people")
    assert "restart" in opsuite("heal", "policy", "list")
    assert opsuite("escalation", "delete", "people") == "escalation policy people: deleted\n"
    assert opsuite("receiver", "delete", "chat") == "receiver chat: deleted\n"


def test_every_mistake_in_a_file_is_told_by_its_place(opsuite: Command, tmp_path: Path) -> None:
    bad = a_document("HealingPolicy", "x", steps=[{"action": "restart"}], mode="never")
    file = written(tmp_path, a_document("HealthCheck", "Not A Name", http={}), bad, {"kind": "Deployment"})

    told = opsuite("heal", "apply", "-f", file, status=1)

    assert "[0].metadata.name" in told
    assert "[1].spec.mode" in told
    assert "[2].kind" in told


def test_a_check_that_fails_opens_an_incident_that_people_look_after(opsuite: Command, tmp_path: Path) -> None:
    with web_server(HTTPStatus.SERVICE_UNAVAILABLE) as url:
        opsuite("heal", "apply", "-f", written(tmp_path, a_check("sick", url)))
        incident = open_incident(opsuite, "healthChecks/sick")
        name = incident["name"].rpartition("/")[2]

        assert "UNHEALTHY" in opsuite("check", "list")
        assert "HTTP 503" in opsuite("check", "run", "other/sick.example", status=3)
        assert name in opsuite("incident", "list")
        assert opsuite("incident", "acknowledge", name, "-m", "I look") == f"incident {name}: acknowledged\n"
        assert opsuite("incident", "note", name, "the plug is out") == f"incident {name}: noted\n"
        opsuite("incident", "snooze", name, "--for", "10m")
        shown = opsuite("incident", "show", name)
        assert "the plug is out" in shown
        assert "I look" in shown
        assert opsuite("incident", "resolve", name) == f"incident {name}: resolved\n"
        assert name not in opsuite("incident", "list")
        assert name in opsuite("incident", "list", "--all")
    assert "all" in opsuite("incident", "stats")
    assert "flaps from 30 %" in opsuite("check", "flapping", "sick")
    assert opsuite("check", "delete", "sick") == "check sick: deleted\n"


def open_incident(opsuite: Command, source: str) -> dict[str, Any]:
    """The open incident that a resource has found, once there is one."""
    while True:
        for one in opsuite.json("incident", "list"):
            if one.get("source") == source or source.rpartition("/")[2] in one.get("labels", {}).values():
                found: dict[str, Any] = one
                return found


def test_people_tell_of_trouble_too(opsuite: Command) -> None:
    told = opsuite("incident", "open", "The cellar is wet", "--severity", "warning", "--key", "cellar")
    again = opsuite("incident", "open", "The cellar is wet", "--severity", "warning", "--key", "cellar")

    assert told.endswith(": opened\n")
    assert again.endswith(": was open already\n")
    opsuite("incident", "open", "Loud", "--severity", "deafening", status=2)


def test_alerts_are_pushed_silenced_and_routed(opsuite: Command, tmp_path: Path) -> None:
    assert opsuite("alert", "push", "alertname=Hot", "room=cellar", "--annotation", "summary=too hot").endswith(
        "fires\n"
    )
    quiet = opsuite("silence", "add", "alertname=Hot", "room=~c.*", "--for", "1h", "-m", "we know")
    silence = quiet.split()[1].rstrip(":")

    listed = opsuite.json("alert", "list", "alertname=Hot")
    tested = opsuite("alert", "routing", "test", "alertname=Hot", "room=cellar")
    assert listed[0]["state"] == "ALERT_STATE_SUPPRESSED"
    assert silence in tested
    assert "we know" in opsuite("silence", "list")
    assert "EXPIRED" in opsuite("silence", "expire", silence)
    assert opsuite("alert", "push", "alertname=Hot", "room=cellar", "--resolved").endswith("over\n")
    routing = yaml.safe_load(opsuite("alert", "routing", "get"))
    file = tmp_path / "routing.yaml"
    file.write_text(yaml.safe_dump(routing))
    assert opsuite("alert", "routing", "apply", "-f", str(file)) == "routing: in use\n"
    opsuite("silence", "add", "nonsense", "--for", "1h", "-m", "x", status=2)


def test_a_runbook_asks_and_goes_on_when_it_is_answered(opsuite: Command, tmp_path: Path) -> None:
    steps = [{"name": "ask", "inquiry": {"question": "Is it well?", "expires_in": "600s"}}]
    opsuite("heal", "apply", "-f", written(tmp_path, a_document("Runbook", "question", steps=steps)))
    execution = opsuite.json("runbook", "run", "question")["name"]

    while "ASKING" not in opsuite("runbook", "show", execution):
        pass
    assert "Is it well?" in opsuite("runbook", "show", execution)
    opsuite("runbook", "answer", execution, "ask", "--yes", "-m", "it is")
    opsuite("runbook", "watch", execution)
    assert "SUCCEEDED" in opsuite("runbook", "executions", "question")


def test_a_runbook_that_is_refused_fails_the_command(opsuite: Command, tmp_path: Path) -> None:
    steps = [{"name": "ask", "inquiry": {"question": "Is it well?", "expires_in": "600s"}}]
    opsuite("heal", "apply", "-f", written(tmp_path, a_document("Runbook", "refused", steps=steps)))
    execution = opsuite.json("runbook", "run", "refused")["name"]
    while "ASKING" not in opsuite("runbook", "show", execution):
        pass
    opsuite("runbook", "answer", execution, "ask", "--no")

    opsuite("runbook", "watch", execution, status=4)


def test_the_healer_is_paused_and_resumed(opsuite: Command) -> None:
    assert opsuite("heal", "status").startswith("the healer acts\n")
    assert "is paused until" in opsuite("heal", "pause", "--for", "10m", "-m", "maintenance")
    assert "maintenance" in opsuite("heal", "status")
    assert opsuite("heal", "resume").startswith("the healer acts\n")


def test_what_can_be_done_is_listed(opsuite: Command) -> None:
    actions = {one["kind"]: one for one in opsuite.json("heal", "actions")}

    assert actions["RESTART_SERVICE"]["is_available"]
    assert not actions["ROLL_BACK_DEPLOYMENT"].get("is_available")
    assert "RESTART_SERVICE" in opsuite("heal", "actions")


def test_a_healer_that_is_not_there_is_told_with_a_hint(healer: HealerProcess) -> None:
    command = [sys.executable, "-m", "opsuite_cli", "incident", "list"]
    environment = healer.environment | {"OPSUITE_HEALER_ADDRESS": f"127.0.0.1:{free_port()}"}

    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)

    assert done.returncode == 1
    assert "nothing answers" in done.stderr
