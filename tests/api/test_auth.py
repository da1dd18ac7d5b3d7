"""Registration, login and identity over HTTP, on both databases."""

import asyncio

import httpx
import pytest
from fastapi import FastAPI

from tests.support.accounts import PASSWORD, Accounts

REGISTER = "/api/auth/register"
LOGIN = "/api/auth/login"


class TestRegister:
    async def test_new_account_is_logged_in(self, client: httpx.AsyncClient) -> None:
        body = {"email": "Ada@Example.com", "password": PASSWORD, "full_name": "Ada", "phone": "+44 20 7946"}
        response = await client.post(REGISTER, json=body)
        assert response.status_code == 201
        data = response.json()["data"]
        assert data["email"] == "Ada@Example.com"
        assert data["role"] == "user"
        assert data["token"] == data["access_token"]
        assert data["token_type"] == "bearer"
        me = await client.get("/api/auth/me", headers={"Authorization": f"Bearer {data['token']}"})
        assert me.json()["data"]["user_id"] == data["user_id"]

    @pytest.mark.parametrize(
        "spelling",
        ["ada@example.com", "ADA@EXAMPLE.COM", " ada@example.com ", "ａｄａ@example.com", "ada@ｅxample.com"],
    )
    async def test_a_spelling_of_a_taken_address(
        self, client: httpx.AsyncClient, accounts: Accounts, spelling: str
    ) -> None:
        await accounts.register("ada@example.com")
        body = {"email": spelling, "password": PASSWORD, "full_name": "Ada"}
        response = await client.post(REGISTER, json=body)
        assert response.status_code == 409
        assert response.json()["error"]["code"] == "email_taken"

    async def test_fifty_at_once_in_five_spellings_make_one_account(self, client: httpx.AsyncClient) -> None:
        spellings = [
            "ada@example.com",
            "Ada@Example.com",
            "ADA@example.COM",
            " ada@example.com",
            "ａda@example.com",
        ]
        responses = await asyncio.gather(
            *(
                client.post(
                    REGISTER, json={"email": spellings[n % 5], "password": PASSWORD, "full_name": "Ada"}
                )
                for n in range(50)
            )
        )
        assert sorted(r.status_code for r in responses) == [201] + [409] * 49


class TestLogin:
    async def test_right_password(self, client: httpx.AsyncClient, accounts: Accounts) -> None:
        account = await accounts.register()
        response = await client.post(
            LOGIN, json={"email": account.email.upper(), "password": account.password}
        )
        assert response.status_code == 200
        assert response.json()["data"]["user_id"] == str(account.id)

    async def test_unknown_user_and_wrong_password_are_told_alike(
        self, client: httpx.AsyncClient, accounts: Accounts
    ) -> None:
        account = await accounts.register()
        wrong = await client.post(LOGIN, json={"email": account.email, "password": "wrong"})
        unknown = await client.post(LOGIN, json={"email": "nobody@example.com", "password": "wrong"})
        malformed = await client.post(LOGIN, json={"email": "not an address", "password": "wrong"})
        assert wrong.status_code == unknown.status_code == malformed.status_code == 401
        bodies = [r.json() for r in (wrong, unknown, malformed)]
        for body in bodies:
            body["error"].pop("request_id")
        assert bodies[0] == bodies[1] == bodies[2]

    async def test_a_login_is_on_record(self, app: FastAPI, accounts: Accounts) -> None:
        account = await accounts.register()
        await accounts.log_in(account)
