"""Alertmanager's own client, Alertmanager itself and Prometheus, with the healer in Alertmanager's place."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from aiohttp import ClientSession
from alert_servers import Amtool, amtool, an_alerting_prometheus, an_alertmanager, get, post
from fakes.healer_alert_stage import AlertStage, alert_stage, in_an_hour
from fakes.healer_incident_stage import short_directory

from opsuite.healer.v1 import alert_service_pb2 as pb
from opsuite_healer.adapters import tables
from opsuite_rpc.identity import token_hash
from opsuite_rpc.settings import CannotServe

PUSHER, READER = "pusher-token", "reader-token"
POLICY = {
    "roles": {"pusher": ["alerts.push"]},
    "principals": [
        {"name": "prometheus", "token_sha256": token_hash(PUSHER), "roles": {"pusher": ["*"]}},
        {"name": "reader", "token_sha256": token_hash(READER), "roles": {"viewer": ["*"]}},
    ],
}

ROUTES: list[dict[str, Any]] = [
    {
        "id": "db",
        "matchers": [{"label": "service", "operator": "MATCH_OPERATOR_MATCHES", "value": "db.*|cache"}],
        "groupBy": {"labels": ["alertname", "cluster"]},
        "continues": True,
    },
    {
        "id": "pages",
        "receivers": ["pages"],
        "matchers": [{"label": "severity", "value": "critical"}],
        "groupBy": {"labels": ["..."]},
        "routes": [{"id": "eu", "receivers": ["eu"], "matchers": [{"label": "region", "value": "eu"}]}],
    },
]
RULES: list[dict[str, Any]] = [
    {
        "name": "down",
        "sourceMatchers": [{"label": "alertname", "value": "ClusterDown"}],
        "targetMatchers": [{"label": "service", "operator": "MATCH_OPERATOR_MATCHES", "value": ".+"}],
        "equalLabels": ["cluster"],
    }
]
ALERTS: list[dict[str, str]] = [
    {"alertname": "Slow", "service": "db1", "cluster": "a"},
    {"alertname": "Slow", "service": "db2", "cluster": "a"},
    {"alertname": "Slow", "service": "cache", "cluster": "b", "severity": "critical"},
    {"alertname": "Full", "service": "db1", "cluster": "b", "severity": "critical", "region": "eu"},
    {"alertname": "Full", "severity": "critical", "region": "us"},
    {"alertname": "ClusterDown", "cluster": "a"},
    {"alertname": "Grüße", "note": "ünï\ncode"},
    {"job": "nameless"},
]


@pytest.fixture
def directory() -> Iterator[Path]:
    with short_directory() as path:
        yield path


@pytest.fixture
async def stage(directory: Path) -> AsyncIterator[AlertStage]:
    (directory / "policy.yml").write_text(json.dumps(POLICY))
    settings = {"policy_file": directory / "policy.yml"}
    async with asyncio.timeout(120), alert_stage(directory, settings=settings) as served:
        yield served


@pytest.fixture
def tool(stage: AlertStage, directory: Path) -> Amtool:
    return amtool(stage.url, stage.token, directory)


async def test_amtool_adds_and_queries_alerts(stage: AlertStage, tool: Amtool) -> None:
    await stage.client.route()

    await tool.ask("alert", "add", "alertname=Down", "job=api", "--annotation=summary=it is down")

    (alert,) = await tool.json("alert", "query", 'job=~"a.*"')
    assert alert["labels"] == {"alertname": "Down", "job": "api"}
    assert alert["annotations"] == {"summary": "it is down"}
    assert alert["status"] == {"inhibitedBy": [], "silencedBy": [], "state": "active"}
    assert alert["receivers"] == [{"name": "duty"}]
    assert await tool.json("alert", "query", "job!=api") == []
    (message,) = await stage.told(1)
    assert message["title"] == "[FIRING:1] alertname=Down"


async def test_amtool_makes_changes_and_ends_silences(stage: AlertStage, tool: Amtool) -> None:
    await stage.client.push({"alertname": "Down", "job": "api"})

    silence = await tool.ask("silence", "add", "alertname=Down", 'job=~"api|web"', "--author=ann", "--comment=we know")
    (found,) = await tool.json("silence", "query")
    assert (found["id"], found["createdBy"], found["comment"]) == (silence, "ann", "we know")
    assert (found["status"], [one["isRegex"] for one in found["matchers"]]) == ({"state": "active"}, [False, True])
    assert await tool.json("alert", "query") == []
    (hidden,) = await tool.json("alert", "query", "--silenced")
    assert hidden["status"] == {"inhibitedBy": [], "silencedBy": [silence], "state": "suppressed"}

    await tool.ask("silence", "update", silence, "--duration=3h", "--comment=longer")
    (found,) = await tool.json("silence", "query")
    assert (found["id"], found["comment"]) == (silence, "longer")  # it is the same one

    await tool.ask("silence", "expire", silence)
    assert await tool.json("silence", "query") == []
    (over,) = await tool.json("silence", "query", "--expired")
    assert over["status"] == {"state": "expired"}
    assert len(await tool.json("alert", "query")) == 1


async def test_amtool_imports_silences(stage: AlertStage, tool: Amtool, directory: Path) -> None:
    await tool.ask("silence", "add", "alertname=Down", "--author=ann", "--comment=one")
    exported = await tool.json("silence", "query")
    await tool.ask("silence", "expire", exported[0]["id"])
    (directory / "silences.json").write_text(json.dumps([{**one, "id": ""} for one in exported]))

    await tool.ask("silence", "import", "--force", str(directory / "silences.json"))

    (again,) = await tool.json("silence", "query")
    assert (again["comment"], again["id"] != exported[0]["id"]) == ("one", True)


async def test_amtool_routes_as_the_healer_does(stage: AlertStage, tool: Amtool) -> None:
    await stage.client.route(*ROUTES, rules=RULES)

    for labels in ALERTS:
        status, body = await stage.http("GET", "/api/v2/alerts")
        assert (status, body) == (200, [])
        said = await tool.ask(
            "config", "routes", "test", *(f"{name}={value}" for name, value in labels.items() if "\n" not in value)
        )
        assert set(said.split(",")) == await _receivers(stage, labels)
    assert "receiver: eu" in await tool.ask("config", "routes", "show")
    assert "disabled" in await tool.ask("cluster", "show")


async def _receivers(stage: AlertStage, labels: dict[str, str]) -> set[str]:
    tried = await stage.client.alerts.TestRoute(pb.TestRouteRequest(labels=labels))
    return {"+".join(one.receivers) for one in tried.matches}


async def test_groups_fingerprints_and_inhibition_are_those_of_alertmanager(stage: AlertStage) -> None:
    await stage.client.route(*ROUTES, rules=RULES, groupInterval="3600s")
    _, status = await stage.http("GET", "/api/v2/status")
    body = [{"labels": labels} for labels in ALERTS]
    assert (await stage.http("POST", "/api/v2/alerts", body))[0] == 200

    theirs, their_alerts = await asyncio.to_thread(_ask_alertmanager, status["config"]["original"], body)

    _, ours = await stage.http("GET", "/api/v2/alerts/groups")
    assert _grouped(ours) == _grouped(theirs)
    _, our_alerts = await stage.http("GET", "/api/v2/alerts")
    assert [_judged(one) for one in our_alerts] == [_judged(one) for one in their_alerts]
    assert any(one["status"]["inhibitedBy"] for one in our_alerts)


def _ask_alertmanager(configuration: str, body: object) -> tuple[Any, Any]:
    """Groups and alerts of a real one, once it has looked at all of them.

    What inhibits an alert is asked for each answer, of a part that hears of alerts in its own time: only when one
    answer tells of it does the next tell of all.
    """
    with an_alertmanager(configuration) as url:
        post(f"{url}/api/v2/alerts", body)
        while True:
            found = [one["status"] for one in get(f"{url}/api/v2/alerts")]
            is_done = len(found) == len(ALERTS) and all(status["state"] != "unprocessed" for status in found)
            if is_done and any(status["inhibitedBy"] for status in found):
                return get(f"{url}/api/v2/alerts/groups"), get(f"{url}/api/v2/alerts")


def _grouped(groups: list[Any]) -> list[Any]:
    return sorted(
        (
            group["receiver"]["name"],
            sorted(group["labels"].items()),
            sorted(one["fingerprint"] for one in group["alerts"]),
        )
        for group in groups
    )


def _judged(alert: Any) -> Any:
    names = sorted(one["name"] for one in alert["receivers"])
    return alert["fingerprint"], sorted(alert["labels"].items()), names, alert["status"]


async def test_prometheus_sends_its_alerts_here(stage: AlertStage) -> None:
    await stage.client.route()
    address = stage.part.face.address

    with an_alerting_prometheus(address, PUSHER, {"AlwaysOn": 'up{job="self"} == 1'}) as prometheus:
        (message,) = await stage.told(1)
        (alert,) = await stage.client.listed()
        (incident,) = await stage.client.all_incidents()

    assert "by rule" in message["text"]
    assert dict(alert.labels) == {
        "alertname": "AlwaysOn",
        "instance": f"127.0.0.1:{prometheus.port}",
        "job": "self",
        "severity": "critical",
    }
    assert alert.generator_url.startswith("http")
    assert (incident.issue, incident.source) == ("AlwaysOn", alert.name)


async def test_another_alertmanager_sends_its_webhooks_here(stage: AlertStage) -> None:
    await stage.client.route()
    labels = {"alertname": "Down", "job": "api"}
    configuration = f"""
route: {{receiver: healer, group_wait: 0s, group_interval: 1s}}
receivers:
  - name: healer
    webhook_configs:
      - url: {stage.url}/webhook
        http_config: {{authorization: {{credentials: "{PUSHER}"}}}}
"""

    with an_alertmanager(configuration) as url:
        await asyncio.to_thread(post, f"{url}/api/v2/alerts", [{"labels": labels}])
        await stage.told(1)
        over = {"labels": labels, "startsAt": "2025-01-01T00:00:00Z", "endsAt": "2026-01-01T00:00:00Z"}
        await asyncio.to_thread(post, f"{url}/api/v2/alerts", [over])

        firing, resolved = await stage.told(2)

    assert (firing["event"], resolved["event"]) == ("ALERTS_FIRING", "ALERTS_RESOLVED")


PERMISSIONS = [
    ("GET", "/api/v2/status", READER),
    ("GET", "/api/v2/receivers", READER),
    ("GET", "/api/v2/alerts", READER),
    ("GET", "/api/v2/alerts/groups", READER),
    ("GET", "/api/v2/silences", READER),
    ("GET", "/api/v2/silence/01", READER),
    ("POST", "/api/v2/alerts", PUSHER),
    ("POST", "/webhook", PUSHER),
    ("POST", "/api/v2/silences", None),
    ("DELETE", "/api/v2/silence/01", None),
]


async def test_the_http_face_asks_for_the_same_permissions_as_grpc(stage: AlertStage) -> None:
    async with ClientSession() as session:

        async def status(method: str, path: str, authorization: str) -> int:
            headers = {"Authorization": authorization} if authorization else {}
            async with session.request(method, stage.url + path, headers=headers) as answer:
                assert answer.content_type == "application/json"
                return answer.status

        for method, path, allowed in PERMISSIONS:
            for nobody in ("", "Bearer nobody", "Basic bm9ib2R5"):
                assert await status(method, path, nobody) == 401, (method, path, nobody)
            for token in (READER, PUSHER):
                found = await status(method, path, f"Bearer {token}")
                assert (found == 403) is (token != allowed), (method, path, token)
            assert await status(method, path, f"Bearer {stage.token}") not in {401, 403}


async def test_refusals_over_http_and_changes_of_silences_are_audited(stage: AlertStage) -> None:
    wanted = {
        "matchers": [{"name": "a", "value": "b"}],
        "createdBy": "ann",
        "comment": "x",
        "endsAt": in_an_hour(),
    }
    async with ClientSession() as session:
        refused = await session.post(f"{stage.url}/api/v2/silences", headers={"Authorization": f"Bearer {READER}"})
        assert refused.status == 403
    _, answer = await stage.http("POST", "/api/v2/silences", wanted)

    audit = tables.audit
    rows = await stage.stage.house.database.read(
        lambda connection: connection.execute(
            sa.select(audit.c.actor, audit.c.action, audit.c.resource, audit.c.outcome)
            .where(audit.c.action == "POST /api/v2/silences")
            .order_by(audit.c.sequence)
        ).all()
    )

    assert [tuple(row) for row in rows] == [
        ("reader", "POST /api/v2/silences", "", "PERMISSION_DENIED"),
        ("local", "POST /api/v2/silences", f"silences/{answer['silenceID']}", "OK"),
    ]


BAD_BODIES: list[tuple[str, object, str]] = [
    ("/api/v2/alerts", {}, "a list of alerts"),
    ("/api/v2/alerts", [1], "alerts[0]"),
    ("/api/v2/alerts", [{}], "alerts[0].labels"),
    ("/api/v2/alerts", [{"labels": {"": "x"}}], "alerts[0].labels"),
    ("/api/v2/alerts", [{"labels": {"a-b": "x"}}], "alerts[0].labels"),
    ("/api/v2/alerts", [{"labels": {"a": 1}}], "alerts[0].labels"),
    ("/api/v2/alerts", [{"labels": {"a": "b"}, "startsAt": "yesterday"}], "alerts[0].startsAt"),
    (
        "/api/v2/alerts",
        [{"labels": {"a": "b"}, "startsAt": "2026-06-01T12:00:00Z", "endsAt": "2026-06-01T11:00:00Z"}],
        "alerts[0].end_time",
    ),
    ("/webhook", [], "alerts"),
    ("/webhook", {"alerts": [{"labels": {"a": None}}]}, "alerts[0].labels"),
    ("/api/v2/silences", [], "createdBy"),
    ("/api/v2/silences", {"createdBy": "a", "comment": "b", "endsAt": in_an_hour()}, "silence.matchers"),
    ("/api/v2/silences", {"createdBy": "a", "comment": "b", "matchers": [1]}, "matchers[0]"),
    (
        "/api/v2/silences",
        {
            "matchers": [{"name": "a", "value": "(", "isRegex": True}],
            "createdBy": "a",
            "comment": "b",
            "startsAt": "2026-01-01T00:00:00Z",
            "endsAt": "2026-01-02T00:00:00Z",
        },
        "silence.matchers[0].value",
    ),
]


async def test_what_is_wrong_is_told_and_nothing_is_kept(stage: AlertStage) -> None:
    for path, body, told in BAD_BODIES:
        status, text = await stage.http("POST", path, body)
        assert (status, told in text) == (400, True), (path, body, text)

    assert await stage.client.listed(showResolved=True) == []
    assert (await stage.http("GET", "/api/v2/silences"))[1] == []


async def test_bad_questions_are_refused(stage: AlertStage) -> None:
    for path, params, expected in (
        ("/api/v2/alerts", {"filter": "no matcher"}, 400),
        ("/api/v2/alerts", {"active": "perhaps"}, 400),
        ("/api/v2/alerts", {"receiver": "("}, 400),
        ("/api/v2/silences", {"filter": "="}, 400),
        ("/api/v2/silence/01", {}, 404),
    ):
        status, _ = await stage.http("GET", path, **params)
        assert status == expected, (path, params)


async def test_nobody_from_outside_is_listened_to_without_tls(directory: Path) -> None:
    with pytest.raises(CannotServe, match="needs TLS"):
        async with alert_stage(directory, settings={"alerts_listen": "0.0.0.0:0"}):
            pass
