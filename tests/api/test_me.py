"""`GET /api/auth/me` over HTTP, on both databases: the short way and the long one."""

import json

import httpx

from authapi.runtime import Runtime
from tests.api.test_metrics import read
from tests.conftest import MakeApp, http_client
from tests.support.accounts import Accounts
from tests.support.log_lines import captured_access_lines, captured_lines
from tests.support.signed_tokens import bearer, clients_token

ME = "/api/auth/me"
ORIGIN = {"Origin": "http://localhost:5173"}


def comparable(response: httpx.Response) -> tuple[int, list[tuple[str, str]], bytes]:
    """An answer without what differs from one request to the next."""
    headers = [
        (name, value)
        for name, value in response.headers.multi_items()
        if name not in {"x-ratelimit-remaining", "x-ratelimit-reset"}
    ]
    return response.status_code, sorted(headers), response.content


async def test_who_it_is(client: httpx.AsyncClient, accounts: Accounts) -> None:
    account = await accounts.admin()
    for _ in range(2):
        data = (await client.get(ME, headers=account.headers)).json()["data"]
        assert (data["user_id"], data["email"]) == (str(account.id), account.email)
        assert (data["role"], data["roles"], data["amr"]) == ("admin", ["admin"], ["pwd"])


async def test_the_short_way_and_the_long_one_answer_alike(
    client: httpx.AsyncClient, accounts: Accounts
) -> None:
    account = await accounts.register()
    for more in ({}, ORIGIN):
        headers = account.headers | {"X-Request-ID": "chosen-by-the-caller"} | more
        # A token that is not known yet and a query take the long way.
        unknown = await client.get(ME, headers=headers)
        long = await client.get(f"{ME}?x=y", headers=headers)
        short = await client.get(ME, headers=headers)
        assert short.status_code == 200
        assert comparable(short) == comparable(unknown) == comparable(long)


async def test_both_ways_are_logged_and_counted_as_one_route(
    client: httpx.AsyncClient, accounts: Accounts
) -> None:
    account = await accounts.register()
    sample = f"authapi_http_requests_total{{method=GET,route={ME},status=2xx}}"
    before = (await read(client)).get(sample, 0)
    with captured_access_lines() as lines:
        for path in (ME, ME, f"{ME}?x=y"):
            await client.get(path, headers=account.headers)
    shown = [json.loads(line) for line in lines]
    assert [(line["route"], line["status"], line["level"]) for line in shown] == [(ME, 200, "info")] * 3
    assert (await read(client))[sample] - before == 3


async def test_both_ways_spend_one_limit(make_app: MakeApp) -> None:
    async with make_app(rate_limit={"user": "3/minute"}) as app, http_client(app) as client:
        account = await Accounts(client, app.state.runtime).register()
        paths = (ME, ME, f"{ME}?x=y", ME, f"{ME}?x=y")
        with captured_lines() as lines:
            answers = [await client.get(path, headers=account.headers) for path in paths]
    assert [answer.status_code for answer in answers] == [200, 200, 200, 429, 429]
    assert [answer.headers["x-ratelimit-remaining"] for answer in answers] == list("21000")
    short, long = answers[3], answers[4]
    assert short.json()["error"]["code"] == long.json()["error"]["code"] == "rate_limited"
    assert int(short.headers["retry-after"]) > 0
    refusals = [line["error_code"] for line in lines if line["event"] == "http.refused"]
    assert refusals == ["rate_limited", "rate_limited"]


async def test_a_session_that_ends_is_refused_at_once(client: httpx.AsyncClient, accounts: Accounts) -> None:
    account = await accounts.register()
    for _ in range(2):
        assert (await client.get(ME, headers=account.headers)).status_code == 200
    await client.post("/api/auth/logout", headers=account.headers)
    assert (await client.get(ME, headers=account.headers)).json()["error"]["code"] == "invalid_token"


async def test_a_service_client_is_nobody_here(client: httpx.AsyncClient, runtime: Runtime) -> None:
    token = clients_token(runtime)
    assert (await client.get("/verify", headers=bearer(token))).status_code == 200
    for _ in range(2):
        assert (await client.get(ME, headers=bearer(token))).status_code == 401
