"""The contracts over HTTP, in front of a real deployer."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
import pytest
import yarl
from deployer import DeployerProcess, a_command, a_pipeline, deployer, ended
from google.protobuf import json_format
from http_gateway import a_gateway, bearer, gateway_process

__all__ = ["deployer"]


@pytest.fixture
async def http(tmp_path: Path, deployer: DeployerProcess) -> AsyncIterator[aiohttp.ClientSession]:
    async with (
        a_gateway(tmp_path, deployer) as url,
        aiohttp.ClientSession(url, headers=bearer(deployer.token), cookie_jar=aiohttp.DummyCookieJar()) as session,
    ):
        yield session


async def test_a_deployment_is_asked_for_and_read_over_http(
    http: aiohttp.ClientSession, deployer: DeployerProcess
) -> None:
    pipeline = json_format.MessageToDict(a_pipeline("shop", a_command("say", "git", "--version")))
    async with http.post("/v1/pipelines", json={"pipeline": pipeline}) as answer:
        assert answer.status == 200, await answer.text()
    async with http.post(
        "/v1/pipelines/shop/deployments", json={"version": "1.0.0", "environment": "staging"}
    ) as answer:
        assert answer.status == 200, await answer.text()
        name = (await answer.json())["deployment"]["name"]
    async with deployer.client() as client:
        await ended(client, name)

    async with http.get(f"/v1/{name}") as answer:
        deployment = (await answer.json())["deployment"]
    async with http.get(f"/api/deployments/{name.rsplit('/', 1)[-1]}/logs") as answer:
        lines = (await answer.json())["lines"]
    async with http.get("/api/deployments/active") as answer:
        active = await answer.json()

    assert deployment["status"] == "DEPLOYMENT_STATUS_SUCCEEDED"
    assert any("git version" in one["text"] for one in lines)
    assert name not in [one["name"] for one in active.get("deployments", [])]


async def test_errors_say_the_same_as_over_grpc(http: aiohttp.ClientSession) -> None:
    async with http.post("/v1/pipelines/shop/deployments", json={"version": "1 2"}) as answer:
        document = await answer.json(content_type="application/problem+json")

    assert answer.status == document["status"] == 400
    assert document["type"] == "urn:opsuite:problem:INVALID_INPUT"
    assert {one["field"] for one in document["violations"]} == {"version", "environment"}


@pytest.mark.parametrize(
    ("verb", "path", "status", "reason"),
    [
        ("GET", "/v1/pipelines/nothing", 404, "PIPELINE_NOT_FOUND"),
        ("GET", "/v1/nothing", 404, None),
        ("GET", "/nobody/v1/server", 404, None),
        ("PATCH", "/v1/pipelines/shop", 405, None),
        ("GET", "/v1/pipelines/..%2f..%2fetc%2fpasswd", 400, "INVALID_INPUT"),
        ("GET", "/v1/pipelines/%00", 400, "INVALID_INPUT"),
        ("GET", "/v1/pipelines/a/../../server", 404, None),
        ("GET", "/api/deployments/..", 404, "NOT_FOUND"),
        ("GET", "/api/deployments/x'%20OR%201=1/logs", 404, "NOT_FOUND"),
        ("GET", "//evil.example/v1/server", 404, None),
        ("GET", "/v1/pipelines?page_size=-1", 400, "INVALID_INPUT"),
        ("GET", "/v1/pipelines?page_size=99999999999999999999", 400, "INVALID_INPUT"),
    ],
)
async def test_what_cannot_be_answered_is_told_as_a_problem(
    http: aiohttp.ClientSession, verb: str, path: str, status: int, reason: str | None
) -> None:
    url = yarl.URL(str(http._base_url).rstrip("/") + path, encoded=True)
    async with http.request(verb, url, allow_redirects=False) as answer:
        document = await answer.json(content_type="application/problem+json")

    assert (answer.status, document.get("reason")) == (status, reason), document


async def test_a_body_that_is_too_large_is_refused(http: aiohttp.ClientSession) -> None:
    body = io.BytesIO(json.dumps({"version": "x" * 5_000_000}).encode())
    headers = {"Content-Type": "application/json"}
    async with http.post("/v1/pipelines/shop/deployments", data=body, headers=headers) as answer:
        assert (answer.status, (await answer.json(content_type=None))["reason"]) == (413, "TOO_LARGE")


async def test_a_body_of_another_type_is_refused(http: aiohttp.ClientSession) -> None:
    async with http.post("/v1/pipelines/shop/deployments", data={"version": "1"}) as answer:
        assert answer.status == 415


async def test_every_answer_keeps_browsers_safe(http: aiohttp.ClientSession) -> None:
    for path in ("/v1/pipelines", "/v1/nothing", "/health"):
        async with http.get(path) as answer:
            assert answer.headers["X-Content-Type-Options"] == "nosniff", path
            assert "default-src 'none'" in answer.headers["Content-Security-Policy"], path
            assert answer.headers["Content-Type"].startswith("application/"), path


async def test_a_service_can_be_named(http: aiohttp.ClientSession) -> None:
    async with http.get("/deployer/v1/server") as answer:
        assert (await answer.json())["version"]


async def test_health_says_what_can_be_reached(http: aiohttp.ClientSession) -> None:
    async with http.get("/health", headers={"Authorization": ""}) as answer:
        assert json.loads(await answer.text()) == {"status": "healthy", "services": {"deployer": "SERVING"}}


async def test_a_service_that_is_away_is_told_as_such(tmp_path: Path, deployer: DeployerProcess) -> None:
    async with (
        a_gateway(tmp_path, deployer, OPSUITE_DEPLOYER_ADDRESS=f"unix://{tmp_path}/nobody.sock") as url,
        aiohttp.ClientSession(url, headers=bearer("x")) as session,
    ):
        async with session.get("/v1/pipelines") as answer:
            assert answer.status == 503
        async with session.get("/health") as answer:
            assert (await answer.json())["services"] == {"deployer": "UNREACHABLE"}


def test_a_container_can_tell_whether_its_gateway_answers(tmp_path: Path, deployer: DeployerProcess) -> None:
    with gateway_process(tmp_path, deployer) as (_, url):
        environment = {"PATH": os.environ["PATH"], "GATEWAY_LISTEN": url.removeprefix("http://")}
        alive = [sys.executable, "-m", "opsuite_gateway.alive"]

        assert subprocess.run(alive, env=environment, check=False).returncode == 0

    assert subprocess.run(alive, env=environment, check=False).returncode == 1


async def test_the_contract_can_be_read_without_a_token(http: aiohttp.ClientSession) -> None:
    async with http.get("/openapi.json", headers={"Authorization": ""}) as answer:
        assert (await answer.json())["openapi"] == "3.1.0"
