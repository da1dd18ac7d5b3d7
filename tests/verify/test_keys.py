"""Fetching keys: seldom, by one for all, from nowhere else, and through outages."""

import asyncio
import time
from datetime import timedelta
from typing import Any

import pytest

from authapi.security.signing_keys import Algorithm, generate_signing_key, jwks
from authapi.verify import InvalidAccessToken, VerificationUnavailable, Verifier, keys
from authapi.verify.keys import JWKS_PATH
from tests.support.serving import serve
from tests.verify.troubled_authapi import AUDIENCE, ISSUER, TroubledAuthapi


def verifier_of(url: str, **options: Any) -> Verifier:
    return Verifier(issuer=ISSUER, audience=AUDIENCE, url=url, **{"revocations": False} | options)


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Seconds become hundredths, so that the test need not wait."""
    monkeypatch.setattr(keys, "MIN_INTERVAL_SECONDS", 0.05)
    monkeypatch.setattr(keys, "MAX_AGE_BOUNDS", (0.1, 86_400.0))


class TestVerification:
    @pytest.mark.parametrize("algorithm", [Algorithm.ES256, Algorithm.RS256])
    async def test_claims(self, troubled: TroubledAuthapi, algorithm: Algorithm) -> None:
        key = generate_signing_key(algorithm)
        troubled.published = jwks([key])["keys"]
        async with verifier_of(troubled.url) as verifier:
            claims = await verifier.verify(troubled.token(key=key, scope="orders:read"))
        assert claims.email == "ada@example.com"
        assert claims.scopes == {"orders:read"}

    @pytest.mark.parametrize(
        "changed", [{"iss": "https://evil.example"}, {"aud": "billing"}, {"iat": 1, "exp": 2, "auth_time": 1}]
    )
    async def test_what_is_not_for_this_service(
        self, troubled: TroubledAuthapi, changed: dict[str, Any]
    ) -> None:
        async with verifier_of(troubled.url) as verifier:
            with pytest.raises(InvalidAccessToken):
                await verifier.verify(troubled.token(**changed))

    @pytest.mark.parametrize("token", ["", "x", "a.b.c", "é", "a" * 10_000])
    async def test_garbage_is_refused_without_a_fetch(self, troubled: TroubledAuthapi, token: str) -> None:
        async with verifier_of(troubled.url) as verifier:
            with pytest.raises(InvalidAccessToken):
                await verifier.verify(token)
        assert troubled.requests[JWKS_PATH] == 1

    async def test_not_started(self, troubled: TroubledAuthapi) -> None:
        with pytest.raises(RuntimeError, match="async with"):
            await verifier_of(troubled.url).verify(troubled.token())


class TestFetching:
    async def test_many_tokens_need_one_fetch(self, troubled: TroubledAuthapi) -> None:
        async with verifier_of(troubled.url) as verifier:
            await asyncio.gather(*(verifier.verify(troubled.token()) for _ in range(50)))
        assert troubled.requests[JWKS_PATH] == 1

    async def test_an_unknown_key_is_looked_up_once_for_all(
        self, troubled: TroubledAuthapi, impatient: None
    ) -> None:
        async with verifier_of(troubled.url) as verifier:
            await verifier.verify(troubled.token())
            troubled.key = generate_signing_key(Algorithm.ES256)
            troubled.published += jwks([troubled.key])["keys"]
            await asyncio.sleep(0.1)
            await asyncio.gather(*(verifier.verify(troubled.token()) for _ in range(50)))
        assert troubled.requests[JWKS_PATH] == 2

    async def test_invented_keys_do_not_cause_a_fetch_each(self, troubled: TroubledAuthapi) -> None:
        async with verifier_of(troubled.url) as verifier:
            for _ in range(20):
                with pytest.raises(InvalidAccessToken, match="unknown_key"):
                    await verifier.verify(troubled.token(key=generate_signing_key(Algorithm.ES256)))
        assert troubled.requests[JWKS_PATH] == 1

    async def test_max_age_is_obeyed_in_the_background(
        self, troubled: TroubledAuthapi, impatient: None
    ) -> None:
        troubled.cache_control = "public, max-age=0"
        async with verifier_of(troubled.url) as verifier:
            await asyncio.sleep(0.15)
            troubled.delay = 1
            started = time.monotonic()
            await verifier.verify(troubled.token())
            assert time.monotonic() - started < 0.5
            await asyncio.sleep(0.2)
            assert troubled.requests[JWKS_PATH] == 2

    async def test_a_key_that_is_published_no_more_is_refused(
        self, troubled: TroubledAuthapi, impatient: None
    ) -> None:
        troubled.cache_control = "max-age=0"
        async with verifier_of(troubled.url) as verifier:
            token = troubled.token()
            await verifier.verify(token)
            troubled.published = jwks([generate_signing_key(Algorithm.ES256)])["keys"]
            await asyncio.sleep(0.15)
            await verifier.verify(token)
            await asyncio.sleep(0.3)
            with pytest.raises(InvalidAccessToken):
                await verifier.verify(token)

    async def test_a_caller_that_leaves_does_not_take_the_fetch_along(
        self, troubled: TroubledAuthapi, impatient: None
    ) -> None:
        async with verifier_of(troubled.url) as verifier:
            troubled.delay = 0.5
            troubled.key = generate_signing_key(Algorithm.ES256)
            troubled.published += jwks([troubled.key])["keys"]
            await asyncio.sleep(0.1)
            leaving, staying = (asyncio.create_task(verifier.verify(troubled.token())) for _ in range(2))
            await asyncio.sleep(0.1)
            leaving.cancel()
            assert (await staying).aud == AUDIENCE

    async def test_other_kinds_of_keys_are_skipped(self, troubled: TroubledAuthapi) -> None:
        troubled.published = [
            {"kty": "OKP", "crv": "Ed25519", "alg": "EdDSA", "x": "AA", "kid": "new"},
            {"kty": "oct", "alg": "HS256", "k": "c2VjcmV0", "kid": "shared"},
            {"kty": "EC", "crv": "P-256", "alg": "ES256", "x": "AA", "y": "AA"},
            "no key",
            {},
            *troubled.published,
        ]
        async with verifier_of(troubled.url) as verifier:
            await verifier.verify(troubled.token())


class TestTrouble:
    @pytest.mark.parametrize(
        "body", [b"[]", b"{}", b'{"keys": 7}', b"<html>", b"\xff", b'{"keys":[' + b"[" * 9999]
    )
    async def test_what_is_no_jwk_set(self, troubled: TroubledAuthapi, body: bytes) -> None:
        troubled.body[JWKS_PATH] = body
        await self._is_unavailable(troubled)

    @pytest.mark.parametrize("status", [204, 404, 500, 503])
    async def test_other_statuses(self, troubled: TroubledAuthapi, status: int) -> None:
        troubled.status[JWKS_PATH] = status
        await self._is_unavailable(troubled)

    async def test_redirects_are_not_followed(self, troubled: TroubledAuthapi) -> None:
        troubled.status[JWKS_PATH] = 302
        troubled.headers[JWKS_PATH] = [(b"location", b"/elsewhere")]
        await self._is_unavailable(troubled)
        assert troubled.requests["/elsewhere"] == 0

    async def test_an_endless_answer(
        self, troubled: TroubledAuthapi, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("authapi.verify.http.MAX_BYTES", 10_000)
        troubled.body[JWKS_PATH] = b'{"keys": [' + b" " * 20_000 + b"]}"
        await self._is_unavailable(troubled)

    async def test_two_seconds_are_enough(self, troubled: TroubledAuthapi) -> None:
        troubled.delay = 4
        started = time.monotonic()
        await self._is_unavailable(troubled)
        assert 1.9 < time.monotonic() - started < 3.5

    async def test_nobody_listens(self) -> None:
        troubled = TroubledAuthapi()
        with serve(troubled) as troubled.url:
            pass
        await self._is_unavailable(troubled)

    async def test_keys_are_kept_while_the_server_is_away(
        self, troubled: TroubledAuthapi, impatient: None
    ) -> None:
        troubled.cache_control = "max-age=0"
        async with verifier_of(troubled.url, keys_usable_for=timedelta(seconds=1.5)) as verifier:
            troubled.status[JWKS_PATH] = 500
            for _ in range(5):
                await asyncio.sleep(0.1)
                await verifier.verify(troubled.token())
            # A key that may be new cannot be told from an invented one now.
            with pytest.raises(VerificationUnavailable):
                await verifier.verify(troubled.token(key=generate_signing_key(Algorithm.ES256)))
            await asyncio.sleep(1.5)
            with pytest.raises(VerificationUnavailable):
                await verifier.verify(troubled.token())
            del troubled.status[JWKS_PATH]
            await asyncio.sleep(0.1)
            await verifier.verify(troubled.token())

    @staticmethod
    async def _is_unavailable(troubled: TroubledAuthapi) -> None:
        async with verifier_of(troubled.url) as verifier:
            with pytest.raises(VerificationUnavailable):
                await verifier.verify(troubled.token())
