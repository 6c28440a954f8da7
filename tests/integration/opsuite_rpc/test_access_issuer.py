"""Signed tokens of a real OIDC issuer on loopback, from discovery to a permitted call."""

from __future__ import annotations

import asyncio
import json
import time
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import grpc
import pytest
from aiohttp import web
from fakes.rpc_service import call, serving
from joserfc import jwt
from joserfc.jwk import ECKey, KeySet

from opsuite_rpc.access import AccessControl
from opsuite_rpc.jwt import JwtSettings, JwtVerifier
from opsuite_rpc.policy_file import PolicyFile

AUDIENCE = "opsuite"
POLICY = """
principals:
  - name: release-bot
    jwt_subject: repo:shop
    roles: {operator: [staging]}
"""


class Issuer:
    """Publishes its keys and signs tokens."""

    def __init__(self) -> None:
        self.url = ""
        self.claimed = ""  # what discovery says, where that is not the URL
        self.keys = KeySet([ECKey.generate_key("P-256")])
        self.more: dict[str, str] = {}
        self.asked: Counter[str] = Counter()

    @asynccontextmanager
    async def publishing(self) -> AsyncIterator[None]:
        app = web.Application()
        app.add_routes(
            [web.get("/.well-known/openid-configuration", self._discovery), web.get("/keys", self._published)]
        )
        runner = web.AppRunner(app)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        self.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
        try:
            yield
        finally:
            await runner.cleanup()

    def token(self, subject: str = "repo:shop", **changes: Any) -> str:
        key = self.keys.keys[-1]
        claims = {"iss": self.url, "aud": AUDIENCE, "sub": subject, "exp": int(time.time()) + 600, **changes}
        return jwt.encode({"alg": "ES256", "kid": key.kid}, claims, key, algorithms=["ES256"])

    async def _discovery(self, _request: web.Request) -> web.Response:
        self.asked["discovery"] += 1
        return web.json_response({"issuer": self.claimed or self.url, "jwks_uri": f"{self.url}/keys"})

    async def _published(self, _request: web.Request) -> web.Response:
        self.asked["keys"] += 1
        return web.json_response(self.more | self.keys.as_dict(private=False))


def trusting(issuer: Issuer, directory: Path, **settings: Any) -> AccessControl:
    (directory / "policy.yaml").write_text(POLICY)
    (directory / "token").write_text("unused")
    verifier = JwtVerifier(JwtSettings(issuer.url, AUDIENCE, **settings))
    return AccessControl(PolicyFile(directory / "policy.yaml"), jwt=verifier)


async def test_a_token_of_the_issuer_has_the_roles_of_its_subject_and_keys_are_fetched_once(tmp_path: Path) -> None:
    issuer = Issuer()
    async with (
        issuer.publishing(),
        serving(tmp_path, access=trusting(issuer, tmp_path)) as running,
        running.channel() as channel,
    ):
        await asyncio.gather(
            *(call(channel, "Change", issuer.token(nonce=n), environment="staging") for n in range(10))
        )
        with pytest.raises(grpc.aio.AioRpcError) as elsewhere:
            await call(channel, "Change", issuer.token(), environment="production")
        with pytest.raises(grpc.aio.AioRpcError) as unlisted:
            await call(channel, "Change", issuer.token("repo:other"), environment="staging")

    assert {elsewhere.value.code(), unlisted.value.code()} == {grpc.StatusCode.PERMISSION_DENIED}
    assert [entry.actor for entry in running.audit.entries[-2:]] == ["release-bot", "jwt:repo:other"]
    assert issuer.asked == {"discovery": 1, "keys": 1}


async def test_what_an_issuer_publishes_is_read_whole(tmp_path: Path) -> None:
    issuer = Issuer()
    issuer.more = {"of-others": "k" * 600_000}
    async with (
        issuer.publishing(),
        serving(tmp_path, access=trusting(issuer, tmp_path)) as running,
        running.channel() as channel,
    ):
        await call(channel, "Change", issuer.token(), environment="staging")


async def test_keys_may_come_from_a_file(tmp_path: Path) -> None:
    issuer = Issuer()
    issuer.url = "https://issuer.example"
    keys = tmp_path / "keys.json"
    keys.write_text(json.dumps(issuer.keys.as_dict(private=False)))
    access = trusting(issuer, tmp_path, jwks_file=keys)
    async with serving(tmp_path, access=access) as running, running.channel() as channel:
        await call(channel, "Change", issuer.token(), environment="staging")


async def test_a_discovery_document_of_another_issuer_is_not_believed(tmp_path: Path) -> None:
    issuer = Issuer()
    issuer.claimed = "https://elsewhere.example"
    async with (
        issuer.publishing(),
        serving(tmp_path, access=trusting(issuer, tmp_path)) as running,
        running.channel() as channel,
    ):
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await call(channel, "Change", issuer.token(), environment="staging")

    assert caught.value.code() is grpc.StatusCode.UNAVAILABLE
    assert running.servicer.calls == []
