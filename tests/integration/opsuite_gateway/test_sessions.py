"""Signing in: a browser's session has the rights of its token, and no other site can use it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import aiohttp
import pytest
from deployer import DeployerProcess, deployer
from http_gateway import a_gateway

__all__ = ["deployer"]

CANCEL = "/v1/pipelines/shop/environments/staging/deployments/nothing:cancel"


@dataclass
class Browser:
    """Somebody who has signed in."""

    http: aiohttp.ClientSession
    cookie: str
    csrf: str

    async def ask(
        self, verb: str, path: str, headers: Mapping[str, str] | None = None, **rest: object
    ) -> tuple[int, dict[str, object]]:
        """Status and document of an answer to a request that brings the cookie."""
        all_headers = {"Cookie": f"opsuite_session={self.cookie}", **(headers or {})}
        async with self.http.request(verb, path, headers=all_headers, **rest) as answer:  # type: ignore[arg-type]
            return answer.status, await answer.json(content_type=None) or {}


@pytest.fixture
async def http(tmp_path: Path, deployer: DeployerProcess) -> AsyncIterator[aiohttp.ClientSession]:
    async with (
        a_gateway(tmp_path, deployer) as url,
        aiohttp.ClientSession(url, cookie_jar=aiohttp.DummyCookieJar()) as session,
    ):
        yield session


@pytest.fixture
async def browser(http: aiohttp.ClientSession, deployer: DeployerProcess) -> Browser:
    async with http.post("/session", json={"token": deployer.token}) as answer:
        assert answer.status == 200
        cookie = answer.cookies["opsuite_session"]
        return Browser(http, cookie.value, (await answer.json())["csrfToken"])


async def test_the_cookie_is_out_of_reach_of_scripts_and_other_sites(
    http: aiohttp.ClientSession, deployer: DeployerProcess
) -> None:
    async with http.post("/session", json={"token": deployer.token}) as answer:
        cookie = answer.cookies["opsuite_session"]

    assert (cookie["httponly"], cookie["samesite"], cookie["path"]) == (True, "Strict", "/")
    assert deployer.token not in cookie.value


async def test_over_tls_the_cookie_is_sent_by_nothing_else(tmp_path: Path, deployer: DeployerProcess) -> None:
    async with (
        a_gateway(tmp_path, deployer, public_url="https://ops.example.org") as url,
        aiohttp.ClientSession(url) as session,
        session.post("/session", json={"token": deployer.token}) as answer,
    ):
        assert answer.cookies["opsuite_session"]["secure"]


async def test_a_session_reads_with_the_rights_of_its_token(browser: Browser) -> None:
    assert (await browser.ask("GET", "/v1/pipelines"))[0] == 200


async def test_a_token_that_no_service_knows_begins_no_session(http: aiohttp.ClientSession) -> None:
    async with http.post("/session", json={"token": "guess"}) as answer:
        assert answer.status == 401
        assert "opsuite_session" not in answer.cookies


@pytest.mark.parametrize("body", ["{", "[]", "{}", '{"token": 1}', '{"token": "a b"}', '{"token": "a\\r\\nX: y"}'])
async def test_a_sign_in_without_a_token_is_refused(http: aiohttp.ClientSession, body: str) -> None:
    async with http.post("/session", data=body, headers={"Content-Type": "application/json"}) as answer:
        assert answer.status in {400, 401}


async def test_guessing_tokens_is_slowed_down(http: aiohttp.ClientSession) -> None:
    statuses = []
    for _ in range(12):
        async with http.post("/session", json={"token": "guess"}) as answer:
            statuses.append(answer.status)

    assert statuses == [401] * 10 + [429] * 2
    assert int(answer.headers["Retry-After"]) > 0


async def test_a_change_wants_the_csrf_token(browser: Browser) -> None:
    without = await browser.ask("POST", CANCEL, json={})
    wrong = await browser.ask("POST", CANCEL, {"X-CSRF-Token": "guess"}, json={})
    right = await browser.ask("POST", CANCEL, {"X-CSRF-Token": browser.csrf}, json={})

    assert (without[0], without[1]["reason"]) == (wrong[0], wrong[1]["reason"]) == (403, "CSRF")
    assert (right[0], right[1]["reason"]) == (404, "DEPLOYMENT_NOT_FOUND")


@pytest.mark.parametrize(
    "headers", [{"Origin": "https://evil.example"}, {"Sec-Fetch-Site": "cross-site"}, {"Origin": "null"}]
)
async def test_another_site_can_do_nothing_with_the_cookie(browser: Browser, headers: dict[str, str]) -> None:
    status, document = await browser.ask("GET", "/v1/pipelines", headers)

    assert (status, document["reason"]) == (403, "CSRF")


async def test_a_cookie_that_was_changed_is_none(browser: Browser) -> None:
    flipped = browser.cookie[:-8] + ("A" if browser.cookie[-8] != "A" else "B") + browser.cookie[-7:]

    assert (await Browser(browser.http, flipped, browser.csrf).ask("GET", "/v1/pipelines"))[0] == 401


async def test_a_cookie_of_another_gateway_is_none(browser: Browser, tmp_path: Path, deployer: DeployerProcess) -> None:
    async with a_gateway(tmp_path / "other", deployer) as url, aiohttp.ClientSession(url) as session:
        status, _ = await Browser(session, browser.cookie, browser.csrf).ask("GET", "/v1/pipelines")

    assert status == 401


async def test_signing_out_forgets_the_cookie_and_wants_the_csrf_token(browser: Browser) -> None:
    assert (await browser.ask("DELETE", "/session"))[0] == 403
    headers = {"Cookie": f"opsuite_session={browser.cookie}", "X-CSRF-Token": browser.csrf}
    async with browser.http.delete("/session", headers=headers) as answer:
        assert answer.status == 204
        assert answer.cookies["opsuite_session"]["max-age"] == "0"


async def test_the_key_of_sessions_is_for_the_gateway_alone(tmp_path: Path, deployer: DeployerProcess) -> None:
    async with a_gateway(tmp_path, deployer):
        assert (tmp_path / "session.key").stat().st_mode & 0o777 == 0o600
