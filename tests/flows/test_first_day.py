"""The first day of a client that knows nothing but HTTP, against a real server with the default limits."""

import httpx
from fastapi import FastAPI

from authapi.main import create_app
from authapi.setting_groups import RateLimitSettings
from tests.conftest import make_settings
from tests.support.accounts import PASSWORD
from tests.support.serving import serve_beside


async def test_first_day(app: FastAPI, database_url: str) -> None:
    """`app` has emptied the tables; the server below runs on the same database in a loop of its own."""
    settings = make_settings(
        database_url=database_url,
        data_dir=app.state.runtime.settings.data_dir,
        rate_limit=RateLimitSettings().model_dump(),
    )
    async with serve_beside(create_app(settings)) as url:
        async with httpx.AsyncClient(base_url=url) as client:
            ada = {"email": "ada@example.com", "password": PASSWORD}
            registered = await client.post("/api/auth/register", json={**ada, "full_name": "Ada Lovelace"})
            assert registered.status_code == 201
            assert registered.json()["success"] is True

            login = await client.post("/api/auth/login", json=ada)
            assert login.status_code == 200
            token = login.json()["data"]["token"]
            assert login.json()["data"]["user_id"] == registered.json()["data"]["user_id"]

            without = await client.get("/api/profile")
            assert without.status_code == 401
            assert without.headers["WWW-Authenticate"].startswith("Bearer")
            bearer = {"Authorization": f"Bearer {token}"}
            profile = await client.get("/api/profile", headers=bearer)
            assert profile.status_code == 200
            assert profile.json()["data"]["full_name"] == "Ada Lovelace"

            refused = await client.get("/api/admin/users", headers=bearer)
            assert refused.status_code == 403
            assert refused.json()["error"]["code"] == "permission_denied"

            searches = [await client.get("/api/public/search", params={"q": "ada"}) for _ in range(21)]
            assert [search.status_code for search in searches] == [200] * 20 + [429]
            limited = searches[-1]
            assert limited.json()["error"]["code"] == "rate_limited"
            assert 1 <= int(limited.headers["Retry-After"]) <= 60
            # Each route has its own budget: being limited there does not lock anybody out here.
            assert (await client.get("/api/profile", headers=bearer)).status_code == 200
