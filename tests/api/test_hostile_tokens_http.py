"""The hostile tokens over HTTP: each is refused with 401, the envelope and the challenge (RFC 6750)."""

import base64
import json
from typing import Any

import httpx
import pytest
from sqlalchemy import select

from authapi.models import SigningKey as SigningKeyRow
from authapi.runtime import Runtime
from authapi.security.sealing import Sealer
from authapi.security.signing_keys import Algorithm, SigningKey, generate_signing_key
from authapi.services.signing_keys import SEALING_PURPOSE
from tests.security.hostile_tokens import build_hostile_tokens, survives_http
from tests.security.token_forge import Forge
from tests.support.accounts import Accounts

pytestmark = pytest.mark.one_database

ME = "/api/auth/me"


def part_of(token: str, number: int) -> dict[str, Any]:
    """The header (0) or the claims (1) of a token."""
    part = token.split(".")[number]
    content: dict[str, Any] = json.loads(base64.urlsafe_b64decode(part + "=" * (-len(part) % 4)))
    return content


async def load_signing_key(runtime: Runtime, token: str) -> SigningKey:
    """The private key that a token was signed with."""
    async with runtime.database.unit_of_work() as db:
        kid = part_of(token, 0)["kid"]
        row = await db.scalar(select(SigningKeyRow).where(SigningKeyRow.kid == kid))
    assert row is not None
    sealer = Sealer(runtime.derived_keys, SEALING_PURPOSE)
    pem = sealer.open(row.sealed_private_key, context=row.kid.encode())
    return SigningKey.from_private_pem(pem, Algorithm(row.algorithm))


async def get_me(client: httpx.AsyncClient, token: str) -> httpx.Response:
    return await client.get(ME, headers={"Authorization": f"Bearer {token}"})


async def test_every_hostile_token_is_refused(
    client: httpx.AsyncClient, accounts: Accounts, runtime: Runtime
) -> None:
    account = await accounts.admin()
    claims = part_of(account.access_token, 1)
    key = await load_signing_key(runtime, account.access_token)
    forge = Forge(claims, key)
    # The key is the right one: whatever is refused below is refused for its own fault.
    assert (await get_me(client, forge.good())).status_code == 200

    corpus = build_hostile_tokens(claims, key=key, other_key=generate_signing_key(key.algorithm))
    sent = [(name, token) for name, token in corpus if survives_http(token)]
    assert len(sent) > 450
    wrong: dict[str, object] = {}
    for name, token in sent:
        response = await get_me(client, token)
        body = response.json()
        answer = (
            response.status_code,
            body.get("success"),
            body.get("data", ""),
            body.get("error", {}).get("code"),
            response.headers.get("WWW-Authenticate"),
        )
        if answer != (401, False, None, "invalid_token", 'Bearer error="invalid_token"'):
            wrong[name] = answer
        elif len(token) > 10 and token in response.text:
            wrong[name] = "the token came back"
    assert wrong == {}
    assert (await get_me(client, account.access_token)).status_code == 200, "the good token still works"


@pytest.mark.parametrize(
    "header",
    [
        "",
        "Bearer",
        "Bearer ",
        "bearer",
        "Basic YTpi",
        "Token x",
        "Bearer,x",
        "x",
        "Digest a=b",
        "Negotiate x",
    ],
)
async def test_no_bearer_token_at_all(client: httpx.AsyncClient, header: str) -> None:
    response = await client.get(ME, headers={"Authorization": header})
    assert response.status_code == 401
    assert response.headers["WWW-Authenticate"].startswith("Bearer")
    assert response.json()["data"] is None


async def test_two_credentials(client: httpx.AsyncClient, accounts: Accounts) -> None:
    account = await accounts.register()
    response = await client.get(ME, headers=[("Authorization", f"Bearer {account.access_token}")] * 2)
    assert response.status_code == 400
    elsewhere = await client.get(ME, params={"access_token": account.access_token})
    assert elsewhere.status_code == 401


async def test_the_scheme_is_case_insensitive(client: httpx.AsyncClient, accounts: Accounts) -> None:
    account = await accounts.register()
    response = await client.get(ME, headers={"Authorization": f"bEARER {account.access_token}"})
    assert response.status_code == 200
