"""Which signed tokens are believed, and how often the issuer is asked for its keys."""

from __future__ import annotations

import asyncio
import base64
import hmac
import json
from datetime import timedelta
from typing import Any

import pytest
from fakes.clock import FakeClock
from joserfc import jwt
from joserfc.jwk import ECKey, Key, KeySet, OKPKey, RSAKey

from opsuite_kernel.errors import Unauthenticated, Unavailable
from opsuite_rpc.identity import Proof
from opsuite_rpc.jwt import REFETCH_SECONDS, REMEMBERED_SECONDS, JwtSettings, JwtVerifier
from opsuite_rpc.settings import CannotServe

ISSUER, AUDIENCE = "https://issuer.example", "opsuite"
KEY = ECKey.generate_key("P-256")


class Published:
    """What the issuer publishes; counts how often it is asked."""

    def __init__(self, *keys: Key) -> None:
        self.keys = list(keys)
        self.asked = 0
        self.fault: Exception | None = None

    async def __call__(self) -> Any:
        self.asked += 1
        await asyncio.sleep(0)
        if self.fault is not None:
            raise self.fault
        return KeySet(self.keys).as_dict(private=False)


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


def a_verifier(clock: FakeClock, published: Published) -> JwtVerifier:
    return JwtVerifier(JwtSettings(ISSUER, AUDIENCE), clock, published)


def a_token(clock: FakeClock, key: Any = KEY, algorithm: str = "ES256", **changes: Any) -> str:
    """A good token but for `changes`; a claim changed to None is left out."""
    now = int(clock.now().timestamp())
    claims = {"iss": ISSUER, "aud": AUDIENCE, "sub": "ann", "exp": now + 3600, **changes}
    key.ensure_kid()
    header = {"alg": algorithm, "kid": key.kid}
    kept = {name: value for name, value in claims.items() if value is not None}
    return jwt.encode(header, kept, key, algorithms=[algorithm])


def part(content: dict[str, Any]) -> str:
    """A part of a token."""
    return base64.urlsafe_b64encode(json.dumps(content).encode()).decode().rstrip("=")


@pytest.mark.parametrize(
    ("key", "algorithm"),
    [(KEY, "ES256"), (RSAKey.generate_key(2048), "RS256"), (OKPKey.generate_key("Ed25519"), "Ed25519")],
    ids=["ES256", "RS256", "Ed25519"],
)
async def test_the_allowed_algorithms_prove_the_subject(clock: FakeClock, key: Any, algorithm: str) -> None:
    identity = await a_verifier(clock, Published(key)).verify(a_token(clock, key, algorithm))

    assert (identity.proof, identity.subject) == (Proof.JWT, "ann")
    assert identity.expires == clock.now().timestamp() + 3600


@pytest.mark.parametrize(
    "changes",
    [
        {"iss": "https://mallory.example"},
        {"iss": None},
        {"aud": "another"},
        {"aud": None},
        {"exp": None},
        {"exp": 1},
        {"sub": None},
        {"nbf": 4_000_000_000},
    ],
    ids=repr,
)
async def test_a_token_with_a_wrong_or_missing_claim_is_refused(clock: FakeClock, changes: dict[str, Any]) -> None:
    with pytest.raises(Unauthenticated):
        await a_verifier(clock, Published(KEY)).verify(a_token(clock, **changes))


async def test_a_secret_made_of_the_public_key_does_not_sign(clock: FakeClock) -> None:
    _, claims, _ = a_token(clock).split(".")
    signed = f"{part({'alg': 'HS256', 'kid': KEY.kid})}.{claims}"
    forged = hmac.digest(KEY.as_pem(private=False), signed.encode(), "sha256")

    with pytest.raises(Unauthenticated):
        await a_verifier(clock, Published(KEY)).verify(
            f"{signed}.{base64.urlsafe_b64encode(forged).decode().rstrip('=')}"
        )


async def test_a_token_without_signature_is_refused(clock: FakeClock) -> None:
    header, claims, _ = a_token(clock).split(".")
    none = part({"alg": "none", "kid": KEY.kid})
    verifier = a_verifier(clock, Published(KEY))

    for forged in (f"{none}.{claims}.", f"{header}.{claims}."):
        with pytest.raises(Unauthenticated):
            await verifier.verify(forged)


@pytest.mark.parametrize("token", ["..", "a.b.c", "e30.e30.e30", "W10.e30.e30", "\x00.b.c", "é.b.c"])
async def test_what_is_no_token_is_refused(clock: FakeClock, token: str) -> None:
    with pytest.raises(Unauthenticated):
        await a_verifier(clock, Published(KEY)).verify(token)


async def test_a_good_token_is_remembered_for_a_minute_and_never_beyond_its_end(clock: FakeClock) -> None:
    verifier = a_verifier(clock, Published(KEY))
    long, short = a_token(clock), a_token(clock, exp=int(clock.now().timestamp()) + 10)
    for token in (long, short):
        assert verifier.remembered(token) is None
        await verifier.verify(token)

    clock.advance(timedelta(seconds=11))
    assert verifier.remembered(long) is not None
    assert verifier.remembered(short) is None
    clock.advance(timedelta(seconds=REMEMBERED_SECONDS))
    assert verifier.remembered(long) is None


async def test_many_callers_at_once_ask_the_issuer_once(clock: FakeClock) -> None:
    published = Published(KEY)
    verifier = a_verifier(clock, published)

    await asyncio.gather(*(verifier.verify(a_token(clock, nonce=n)) for n in range(20)))

    assert published.asked == 1


async def test_a_caller_who_gives_up_does_not_take_the_keys_from_the_others(clock: FakeClock) -> None:
    verifier = a_verifier(clock, Published(KEY))
    first, second = (asyncio.create_task(verifier.verify(a_token(clock))) for _ in range(2))
    await asyncio.sleep(0)
    first.cancel()

    assert (await second).subject == "ann"


async def test_a_new_key_is_found_and_unknown_ones_do_not_flood_the_issuer(clock: FakeClock) -> None:
    published, new = Published(KEY), ECKey.generate_key("P-256")
    verifier = a_verifier(clock, published)
    await verifier.verify(a_token(clock))
    published.keys.append(new)
    for _ in range(10):
        with pytest.raises(Unauthenticated):
            await verifier.verify(a_token(clock, new))
    asked_too_soon = published.asked

    clock.advance(timedelta(seconds=REFETCH_SECONDS))
    identity = await verifier.verify(a_token(clock, new))

    assert (asked_too_soon, published.asked, identity.subject) == (1, 2, "ann")


async def test_an_issuer_that_is_away_is_unavailable_at_first_and_later_not_missed(clock: FakeClock) -> None:
    published = Published(KEY)
    verifier = a_verifier(clock, published)
    published.fault = OSError("away")
    with pytest.raises(Unavailable):
        await verifier.verify(a_token(clock))
    published.fault = None
    clock.advance(timedelta(seconds=REFETCH_SECONDS))
    await verifier.verify(a_token(clock))
    published.fault = OSError("away again")
    clock.advance(timedelta(hours=2))

    assert (await verifier.verify(a_token(clock))).subject == "ann"


@pytest.mark.parametrize(
    "place", ["http://issuer.example", "ftp://127.0.0.1", "issuer.example", "http://localhost.evil.example"]
)
def test_keys_are_fetched_over_https_or_from_this_machine_only(place: str) -> None:
    with pytest.raises(CannotServe):
        JwtVerifier(JwtSettings(place, AUDIENCE))
    with pytest.raises(CannotServe):
        JwtVerifier(JwtSettings(ISSUER, AUDIENCE, jwks_url=place))
