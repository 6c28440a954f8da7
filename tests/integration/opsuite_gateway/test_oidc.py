"""Signing in at a real OpenID provider on loopback, and what somebody else could try."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import aiohttp
import pytest
import yarl
from deployer import DeployerProcess, a_deployer
from http_gateway import a_gateway
from oidc_provider_mock import run_server_in_thread

from opsuite_gateway.http.oidc import here
from opsuite_gateway.settings import Settings
from opsuite_kernel.errors import InvalidInput

CLIENT = "opsuite-dashboard"
POLICY = """
principals:
  - name: ada
    jwt_subject: ada@example.org
    roles: {viewer: ["*"]}
"""


@pytest.fixture(scope="module")
def issuer() -> Iterator[str]:
    """An OpenID provider, at which everybody is who they say they are."""
    with run_server_in_thread() as server:
        yield f"http://localhost:{server.server_port}"


@pytest.fixture(scope="module")
def deployer(issuer: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[DeployerProcess]:
    """A deployer that trusts the provider, and lets one person look."""
    policy = tmp_path_factory.mktemp("policy") / "policy.yaml"
    policy.write_text(POLICY)
    with a_deployer(
        DEPLOYER_JWT_ISSUER=issuer, DEPLOYER_JWT_AUDIENCE=CLIENT, DEPLOYER_POLICY_FILE=str(policy)
    ) as running:
        yield running


@pytest.fixture
async def http(issuer: str, tmp_path: Path, deployer: DeployerProcess) -> AsyncIterator[aiohttp.ClientSession]:
    secret = tmp_path / "secret"
    secret.write_text("known to both\n")
    settings = {
        "oidc_issuer": issuer,
        "oidc_client_id": CLIENT,
        "oidc_client_secret_file": secret,
        "public_url": "http://gateway.example",
    }
    async with (
        a_gateway(tmp_path / "gateway", deployer, **settings) as url,
        aiohttp.ClientSession(url, cookie_jar=aiohttp.DummyCookieJar()) as session,
    ):
        yield session


async def begin(http: aiohttp.ClientSession, following: str = "/here") -> tuple[str, str]:
    """Where the gateway sends a browser, and the cookie that remembers the try."""
    async with http.get(f"/session/oidc?next={following}", allow_redirects=False) as answer:
        assert answer.status == 302
        cookie = answer.cookies["opsuite_signing_in"]
        assert (cookie["httponly"], cookie["samesite"]) == (True, "Lax")
        return answer.headers["Location"], cookie.value


async def consent(there: str, person: str) -> yarl.URL:
    """Where the provider sends the browser back to, once a person has said who they are."""
    async with aiohttp.ClientSession() as session:
        form = {"sub": person}
        async with session.post(yarl.URL(there, encoded=True), data=form, allow_redirects=False) as answer:
            assert answer.status == 302, await answer.text()
            return yarl.URL(answer.headers["Location"])


async def come_back(http: aiohttp.ClientSession, url: yarl.URL, cookie: str) -> aiohttp.ClientResponse:
    """The gateway's answer to a browser that comes back."""
    headers = {"Cookie": f"opsuite_signing_in={cookie}"}
    answer = await http.get(url.relative(), headers=headers, allow_redirects=False)
    await answer.read()
    return answer


async def test_somebody_signs_in_and_has_their_own_rights(http: aiohttp.ClientSession) -> None:
    there, cookie = await begin(http)
    asked = parse_qs(urlsplit(there).query)
    assert asked["code_challenge_method"] == ["S256"]
    assert asked["redirect_uri"] == ["http://gateway.example/session/oidc/callback"]

    answer = await come_back(http, await consent(there, "ada@example.org"), cookie)
    assert (answer.status, answer.headers["Location"]) == (303, "/here")
    session = {"Cookie": f"opsuite_session={answer.cookies['opsuite_session'].value}"}

    async with http.get("/v1/pipelines", headers=session) as found:
        assert found.status == 200
    async with http.get("/session", headers=session) as found:
        csrf = (await found.json())["csrfToken"]
    path = "/v1/pipelines/shop/deployments"
    async with http.post(path, headers=session | {"X-CSRF-Token": csrf}, json={}) as found:
        assert found.status in {400, 403}
    body = {"version": "1", "environment": "staging"}
    async with http.post(path, headers=session | {"X-CSRF-Token": csrf}, json=body) as found:
        assert found.status == 403  # a viewer


async def test_somebody_whom_no_policy_names_may_do_nothing(http: aiohttp.ClientSession) -> None:
    there, cookie = await begin(http)
    answer = await come_back(http, await consent(there, "mallory@example.org"), cookie)
    session = {"Cookie": f"opsuite_session={answer.cookies['opsuite_session'].value}"}

    async with http.get("/v1/pipelines", headers=session) as found:
        assert found.status == 403


async def test_the_way_back_of_another_try_is_refused(http: aiohttp.ClientSession) -> None:
    """Somebody is led to a link that would sign them in as the attacker."""
    theirs, _ = await begin(http)
    _, mine = await begin(http)

    answer = await come_back(http, await consent(theirs, "mallory@example.org"), mine)

    assert (answer.status, (await answer.json(content_type=None))["reason"]) == (401, "STATE_MISMATCH")
    assert "opsuite_session" not in answer.cookies


async def test_a_code_without_the_verifier_of_its_try_is_worth_nothing(http: aiohttp.ClientSession) -> None:
    stolen, _ = await begin(http)
    mine, cookie = await begin(http)
    code = (await consent(stolen, "ada@example.org")).query["code"]
    back = await consent(mine, "mallory@example.org")

    answer = await come_back(http, back.update_query(code=code), cookie)

    assert answer.status == 401
    assert "opsuite_session" not in answer.cookies


async def test_without_a_try_nobody_comes_back(http: aiohttp.ClientSession) -> None:
    for path in ("/session/oidc/callback", "/session/oidc/callback?code=x&state=y"):
        answer = await come_back(http, yarl.URL(f"http://gateway.example{path}"), "nonsense")
        assert (answer.status, (await answer.json(content_type=None))["reason"]) == (401, "NO_TRY")


async def test_a_provider_that_refuses_is_told(http: aiohttp.ClientSession) -> None:
    there, cookie = await begin(http)
    state = parse_qs(urlsplit(there).query)["state"][0]
    back = yarl.URL("http://gateway.example/session/oidc/callback").with_query(state=state, error="access_denied")

    answer = await come_back(http, back, cookie)

    assert (answer.status, (await answer.json(content_type=None))["reason"]) == (401, "PROVIDER_REFUSED")


@pytest.mark.parametrize(
    "path", ["//evil.example", "https://evil.example", "/\\evil.example", "javascript:alert(1)", "", "/a\nb", "\\\\x"]
)
def test_nobody_is_sent_elsewhere_after_signing_in(path: str) -> None:
    assert here(path) == "/"


def test_a_path_of_ours_is_gone_to_after_signing_in() -> None:
    assert here("/deployments?status=FAILED") == "/deployments?status=FAILED"


async def test_a_provider_without_a_client_or_url_keeps_the_gateway_from_starting(
    tmp_path: Path, deployer: DeployerProcess, issuer: str
) -> None:
    with pytest.raises(InvalidInput) as caught:
        async with a_gateway(tmp_path, deployer, oidc_issuer=issuer):
            pass
    assert [one.field for one in caught.value.violations] == ["oidc_client_id", "public_url"]


def test_settings_are_read_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GATEWAY_OIDC_ISSUER", "https://id.example.org")

    assert Settings().oidc_issuer == "https://id.example.org"
