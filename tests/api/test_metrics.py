"""`GET /metrics`: what is counted, who may see it, and what never gets there."""

import asyncio
import re
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import httpx
import pytest
from fastapi import FastAPI
from prometheus_client.parser import text_string_to_metric_families

from tests.conftest import MakeApp, http_client
from tests.security.test_hashing_pool import until
from tests.support.accounts import PASSWORD, Account, Accounts
from tests.test_hashing import take_all

PRODUCTION: dict[str, Any] = {
    "environment": "production",
    "public_url": "https://auth.example.org",
    "mail": {"url": "smtps://127.0.0.1:1", "from": "no-reply@example.org"},
}


async def read(client: httpx.AsyncClient) -> dict[str, float]:
    """Every sample by its name and labels, as Prometheus would parse them."""
    response = await client.get("/metrics")
    assert response.status_code == 200
    assert response.headers["content-type"] == "text/plain; version=0.0.4; charset=utf-8"
    return {
        sample.name
        + (
            "{" + ",".join(f"{k}={v}" for k, v in sorted(sample.labels.items())) + "}"
            if sample.labels
            else ""
        ): (sample.value)
        for family in text_string_to_metric_families(response.text)
        for sample in family.samples
    }


async def log_in(client: httpx.AsyncClient, account: Account, password: str = PASSWORD) -> httpx.Response:
    return await client.post("/api/auth/login", json={"email": account.email, "password": password})


class TestCounters:
    async def test_logins_by_outcome(self, make_app: MakeApp) -> None:
        async with make_app() as app, http_client(app) as client:
            account = await Accounts(client, app.state.runtime).register()
            await log_in(client, account)
            for _ in range(9):
                await log_in(client, account, "wrong Horse 7 battery")
            await client.post("/api/auth/login", json={"email": "nobody@example.com", "password": PASSWORD})
            seen = await read(client)
        assert seen["authapi_logins_total{outcome=success}"] == 1
        # Eight wrong ones and the unknown address, under one name; the ninth had to wait.
        assert seen["authapi_logins_total{outcome=failure}"] == 9
        assert seen["authapi_logins_total{outcome=throttled}"] == 1
        assert seen["authapi_logins_total{outcome=disabled}"] == 0
        assert seen["authapi_logins_total{outcome=mfa_required}"] == 0

    async def test_a_login_through_basic_and_oauth2_counts_too(self, make_app: MakeApp) -> None:
        async with make_app() as app, http_client(app) as client:
            account = await Accounts(client, app.state.runtime).register()
            await client.post("/login", auth=(account.email, PASSWORD))
            form = {"grant_type": "password", "username": account.email, "password": PASSWORD}
            await client.post("/api/auth/token", data=form)
            seen = await read(client)
        assert seen["authapi_logins_total{outcome=success}"] == 2

    async def test_refreshes_by_outcome(self, make_app: MakeApp) -> None:
        async with make_app(refresh_token={"grace": 3600}) as app, http_client(app) as client:
            account = await Accounts(client, app.state.runtime).register()
            tokens = [account.data["refresh_token"]]
            for _ in range(2):
                response = await client.post("/api/auth/refresh", json={"refresh_token": tokens[-1]})
                tokens.append(response.json()["data"]["refresh_token"])
            for token in (tokens[1], tokens[0], tokens[0], "nonsense"):
                await client.post("/api/auth/refresh", json={"refresh_token": token})
            seen = await read(client)
        assert {
            o: seen[f"authapi_refresh_total{{outcome={o}}}"] for o in ("rotated", "converged", "reused")
        } == {
            "rotated": 2,
            "converged": 1,
            "reused": 1,
        }
        # The session is over, and the other is no refresh token.
        assert seen["authapi_refresh_total{outcome=refused}"] == 2

    async def test_hashes_and_their_wait(self, make_app: MakeApp) -> None:
        async with make_app() as app, http_client(app) as client:
            before = await read(client)
            await Accounts(client, app.state.runtime).register()
            after = await read(client)
        assert after["authapi_password_hashes_total"] == before["authapi_password_hashes_total"] + 1
        assert after["authapi_hash_wait_seconds_count"] == after["authapi_password_hashes_total"]
        assert after["authapi_hash_queue_length"] == 0

    async def test_logins_for_which_there_is_no_place(self, make_app: MakeApp) -> None:
        body = {"email": "ada@example.com", "password": PASSWORD}
        async with make_app() as app, http_client(app) as client:
            hasher = app.state.runtime.hasher
            # The one at the start has had its place.
            await until(lambda: hasher.pool.hashes_total == 1 and hasher.pool.places.taken == 0)
            with ExitStack() as held:
                take_all(hasher, held)
                before = await read(client)
                responses = [await client.post("/api/auth/login", json=body) for _ in range(3)]
            after = await read(client)
        assert [response.status_code for response in responses] == [503] * 3
        assert after["authapi_hash_refused_total"] == before["authapi_hash_refused_total"] + 3

    async def test_refusals_by_limit(self, make_app: MakeApp) -> None:
        async with make_app(rate_limit={"search": "1/minute"}) as app, http_client(app) as client:
            for _ in range(3):
                await client.get("/api/public/search?q=ada")
            seen = await read(client)
        assert seen["authapi_rate_limited_total{limit=search}"] == 2
        assert seen["authapi_rate_limited_total{limit=auth}"] == 0

    async def test_requests_by_template_and_class_of_status(self, make_app: MakeApp) -> None:
        async with make_app() as app, http_client(app) as client:
            account = await Accounts(client, app.state.runtime).register()
            for number in range(2):
                session = f"/api/auth/sessions/01981d5a-6c0e-7cc3-98c4-dc0c0c07398{number}"
                await client.delete(session, headers=account.headers)
            for path in ("/nowhere", "/wp-login.php", "/.env"):
                await client.get(path)
            await client.request("PROPFIND", "/api/auth/me")
            seen = await read(client)
        template = "/api/auth/sessions/{session_id}"
        assert seen[f"authapi_http_requests_total{{method=DELETE,route={template},status=4xx}}"] == 2
        assert seen[f"authapi_http_request_duration_seconds_count{{method=DELETE,route={template}}}"] == 2
        assert seen["authapi_http_requests_total{method=GET,route=unmatched,status=4xx}"] == 3
        assert not any("PROPFIND" in name for name in seen)
        # This very request.
        assert seen["authapi_http_requests_in_progress"] == 1


class TestGauges:
    async def test_what_the_process_holds(self, make_app: MakeApp) -> None:
        async with make_app() as app, http_client(app) as client:
            account = await Accounts(client, app.state.runtime).register()
            await client.get("/api/auth/me", headers=account.headers)
            await client.post("/api/auth/logout", headers=account.headers)
            seen = await read(client)
        assert seen["authapi_tokens_remembered"] == 1
        assert seen["authapi_revocations_held"] >= 1
        assert 0 <= seen["authapi_revocation_staleness_seconds"] < 5
        assert seen["authapi_signing_key_age_seconds"] >= 0
        assert seen["authapi_rate_limit_storage_down"] == 0
        assert seen["authapi_database_pool_size"] == 10
        assert 0 <= seen["authapi_database_pool_in_use"] <= 10

    async def test_a_shared_secret_has_no_age(self, make_app: MakeApp) -> None:
        secret = {"algorithm": "HS256", "secret": "Vq0k5mYtT1zR8sN3bE7wXc2LpJ9hUgAf"}
        async with make_app(access_token=secret) as app, http_client(app) as client:
            assert "authapi_signing_key_age_seconds" not in await read(client)

    async def test_mails_that_wait(self, make_app: MakeApp) -> None:
        async with make_app(mail={"url": "smtp://127.0.0.1:1"}) as app, http_client(app) as client:
            before = await read(client)
            await Accounts(client, app.state.runtime).register()
            after = await read(client)
        assert before["authapi_mail_outbox_pending"] == 0
        assert after["authapi_mail_outbox_pending"] == 1
        assert after["authapi_mail_outbox_dead"] == 0
        assert after["authapi_mail_sent_total"] == 0

    async def test_mails_that_were_sent(self, make_app: MakeApp, tmp_path: Path) -> None:
        mail = {"url": f"file://{tmp_path / 'mails'}"}
        async with make_app(mail=mail) as app, http_client(app) as client:
            await Accounts(client, app.state.runtime).register()
            for _ in range(400):
                seen = await read(client)
                if seen["authapi_mail_outbox_pending"] == 0:
                    break
                await asyncio.sleep(0.05)
            seen = await read(client)
        assert seen["authapi_mail_outbox_pending"] == 0
        assert seen["authapi_mail_sent_total"] >= 1

    async def test_without_its_database_the_rest_is_answered(self, make_app: MakeApp) -> None:
        async with make_app(database={"pool_size": 1}) as app, http_client(app) as client:
            # Somebody has the only connection.
            async with app.state.runtime.database.reading():
                seen = await read(client)
        assert "authapi_mail_outbox_pending" not in seen
        assert seen["authapi_database_pool_in_use"] == 1


class TestNoSecrets:
    async def test_nothing_that_a_client_sent_is_in_it(self, make_app: MakeApp) -> None:
        canary = "Canary7391"
        async with make_app() as app, http_client(app, headers={"User-Agent": canary}) as client:
            account = await Accounts(client, app.state.runtime).register(
                f"{canary}@example.com", full_name=canary
            )
            await log_in(client, account, f"wrong {canary}")
            await client.get(f"/{canary}?token={canary}")
            await client.request(canary.upper(), "/api/auth/me")
            await client.get(
                "/api/auth/me", headers={"Authorization": f"Bearer {canary}", "X-Request-ID": canary}
            )
            await client.get("/api/auth/me", headers=account.headers)
            await client.post("/api/auth/refresh", json={"refresh_token": account.data["refresh_token"]})
            text = (await client.get("/metrics")).text
        assert canary.lower() not in text.lower()
        for secret in (account.access_token, account.data["refresh_token"], str(account.id), "203.0.113.7"):
            assert secret not in text
        # Route templates and fixed words.
        values = {
            value for labels in re.findall(r"\{(.*)\}", text) for value in re.findall(r'"(.*?)"', labels)
        }
        assert all(re.fullmatch(r"/[\w./{}:-]*|[a-zA-Z_]+|[1-5]xx|[0-9.]+|\+Inf", value) for value in values)


class TestWhoMaySee:
    async def status(self, app: FastAPI, address: str, **headers: str) -> int:
        async with http_client(app, address=address) as client:
            return (await client.get("/metrics", headers=headers)).status_code

    async def test_production_shows_it_on_the_same_machine(self, make_app: MakeApp) -> None:
        async with make_app(**PRODUCTION) as app:
            assert await self.status(app, "127.0.0.1") == 200
            assert await self.status(app, "::1") == 200
            assert await self.status(app, "203.0.113.7") == 404
            assert await self.status(app, "10.0.0.7") == 404

    @pytest.mark.parametrize("header", ["X-Forwarded-For", "Forwarded", "X-Real-IP", "Via"])
    async def test_not_through_a_proxy_that_nobody_declared(self, make_app: MakeApp, header: str) -> None:
        async with make_app(**PRODUCTION) as app:
            assert await self.status(app, "127.0.0.1", **{header: "127.0.0.1"}) == 404

    async def test_not_through_a_declared_proxy(self, make_app: MakeApp) -> None:
        async with make_app(**PRODUCTION, proxy={"trusted": "127.0.0.1"}) as app:
            assert await self.status(app, "127.0.0.1", **{"X-Forwarded-For": "203.0.113.7"}) == 404

    async def test_the_list_decides_alone(self, make_app: MakeApp) -> None:
        async with make_app(**PRODUCTION, metrics={"allowed_ips": "10.1.0.0/16, fd00::/8"}) as app:
            assert await self.status(app, "10.1.2.3") == 200
            assert await self.status(app, "fd00::9") == 200
            assert await self.status(app, "10.2.0.1") == 404
            assert await self.status(app, "127.0.0.1") == 404
            assert await self.status(app, "not an address") == 404

    async def test_the_refusal_looks_like_any_unknown_path(self, make_app: MakeApp) -> None:
        async with make_app(**PRODUCTION) as app, http_client(app) as client:
            refused, unknown = await client.get("/metrics"), await client.get("/nothing-here")
        assert refused.json()["error"]["code"] == unknown.json()["error"]["code"] == "not_found"
        assert refused.json()["message"] == unknown.json()["message"]


class TestApps:
    async def test_two_in_one_process_count_apart(self, make_app: MakeApp) -> None:
        async with make_app() as one, make_app() as other, http_client(one) as client:
            await client.get("/health/live")
            ours = await read(client)
            async with http_client(other) as second:
                theirs = await read(second)
        name = "authapi_http_requests_total{method=GET,route=/health/live,status=2xx}"
        assert ours[name] == 1
        assert name not in theirs
