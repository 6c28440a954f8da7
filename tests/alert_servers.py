"""Alertmanager, its client, and a Prometheus that sends alerts: the real ones, on loopback."""

from __future__ import annotations

import asyncio
import json
import shutil
import tempfile
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from components import program
from metric_servers import prometheus_is_ready, running
from server_processes import ServerProcess, free_port

PACKAGE = "apt-get install prometheus-alertmanager"


@dataclass(frozen=True)
class Amtool:
    """Alertmanager's command line, pointed at a server."""

    url: str
    settings: Path

    async def run(self, *arguments: str) -> tuple[int, str]:
        """Exit status and what it printed."""
        process = await asyncio.create_subprocess_exec(
            str(program("amtool", PACKAGE)),
            f"--alertmanager.url={self.url}",
            f"--http.config.file={self.settings}",
            "--no-version-check",
            *arguments,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        out, err = await process.communicate()
        return process.returncode or 0, (out + err).decode()

    async def ask(self, *arguments: str) -> str:
        """What it prints when it succeeds."""
        status, text = await self.run(*arguments)
        assert status == 0, text
        return text.strip()

    async def json(self, *arguments: str) -> Any:
        """The same as JSON."""
        return json.loads(await self.ask(*arguments, "--output=json"))


def amtool(url: str, token: str, folder: Path) -> Amtool:
    """With a token."""
    settings = folder / "amtool.yml"
    settings.write_text(f"authorization:\n  credentials: {token}\n")
    return Amtool(url, settings)


@contextmanager
def an_alertmanager(configuration: str) -> Iterator[str]:
    """The URL of a real Alertmanager."""
    folder = Path(tempfile.mkdtemp(prefix="opsuite-alertmanager-"))
    port = free_port()
    (folder / "alertmanager.yml").write_text(configuration)
    command = [
        str(program("prometheus-alertmanager", PACKAGE)),
        f"--config.file={folder / 'alertmanager.yml'}",
        f"--storage.path={folder / 'data'}",
        f"--web.listen-address=127.0.0.1:{port}",
        "--cluster.listen-address=",
    ]
    server = ServerProcess(command, port, folder / "log", is_ready=prometheus_is_ready)
    with running(server):
        yield f"http://127.0.0.1:{port}"
    shutil.rmtree(folder)


def post(url: str, body: object) -> Any:
    """What it answers to JSON."""
    request = urllib.request.Request(
        url, json.dumps(body).encode(), {"Content-Type": "application/json"}, method="POST"
    )
    with urllib.request.urlopen(request, timeout=30) as answer:
        return json.loads(answer.read() or b"null")


def get(url: str) -> Any:
    """What it answers."""
    with urllib.request.urlopen(url, timeout=30) as answer:
        return json.loads(answer.read())


@contextmanager
def an_alerting_prometheus(receiver: str, token: str, rules: Mapping[str, str]) -> Iterator[ServerProcess]:
    """A Prometheus that looks at itself ten times a second, and sends alerts by these rules (name: expression)."""
    folder = Path(tempfile.mkdtemp(prefix="opsuite-prometheus-"))
    port = free_port()
    (folder / "token").write_text(token)
    found = [
        {"alert": name, "expr": expression, "labels": {"severity": "critical"}, "annotations": {"summary": "by rule"}}
        for name, expression in rules.items()
    ]
    (folder / "rules.yml").write_text(
        yaml.safe_dump({"groups": [{"name": "test", "interval": "200ms", "rules": found}]})
    )
    settings = {
        "global": {"scrape_interval": "200ms", "scrape_timeout": "200ms", "evaluation_interval": "200ms"},
        "rule_files": [str(folder / "rules.yml")],
        "scrape_configs": [{"job_name": "self", "static_configs": [{"targets": [f"127.0.0.1:{port}"]}]}],
        "alerting": {
            "alertmanagers": [
                {
                    "authorization": {"credentials_file": str(folder / "token")},
                    "static_configs": [{"targets": [receiver]}],
                }
            ]
        },
    }
    (folder / "prometheus.yml").write_text(yaml.safe_dump(settings))
    command = [
        str(program("prometheus", "apt-get install prometheus")),
        f"--config.file={folder / 'prometheus.yml'}",
        f"--storage.tsdb.path={folder / 'data'}",
        f"--web.listen-address=127.0.0.1:{port}",
        "--rules.alert.resend-delay=200ms",
    ]
    server = ServerProcess(command, port, folder / "log", is_ready=prometheus_is_ready)
    with running(server):
        yield server
    shutil.rmtree(folder)
