"""nginx in front of an API, with `auth_request` as documented."""

import json
import shutil
import socket
import string
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest

from tests.support.processes import ServerProcess
from tests.support.served_authapi import ServedAuthapi, served_authapi
from tests.support.serving import serve
from tests.support.signed_tokens import bearer, clients_token, users_token

CONFIGURATION = Path(__file__).with_name("nginx.conf")
IDENTITY = ("user-id", "client-id", "email", "roles", "scopes")


async def echo(scope: Any, receive: Any, send: Any) -> None:
    """The API behind the proxy: it answers with the headers that have reached it."""
    assert scope["type"] == "http"
    headers = {name.decode(): value.decode() for name, value in scope["headers"]}
    while (await receive()).get("more_body"):
        pass
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": json.dumps(headers).encode()})


@contextmanager
def nginx(directory: Path, **places: str) -> Iterator[str]:
    program = shutil.which("nginx") or shutil.which("nginx", path="/usr/sbin:/usr/local/sbin")
    if program is None:
        pytest.skip("nginx was not tried: it is not installed; apt-get install nginx-light")

    def command(port: int) -> list[str]:
        template = string.Template(CONFIGURATION.read_text())
        (directory / "nginx.conf").write_text(template.safe_substitute(PORT=str(port), **places))
        return [program, "-p", str(directory), "-c", "nginx.conf", "-e", "stderr"]

    process = ServerProcess(name="nginx", command=command, is_ready=_listens, directory=directory)
    process.start()
    try:
        yield f"http://127.0.0.1:{process.port}"
    finally:
        process.stop()


def _listens(_pid: int, port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


@pytest.fixture
async def authapi(tmp_path: Path) -> AsyncIterator[ServedAuthapi]:
    async with served_authapi(tmp_path) as authapi:
        yield authapi


@pytest.fixture
async def proxy(authapi: ServedAuthapi, tmp_path: Path) -> AsyncIterator[httpx.AsyncClient]:
    with serve(echo) as upstream:
        places = {"AUTHAPI": urlsplit(authapi.url).netloc, "UPSTREAM": urlsplit(upstream).netloc}
        with nginx(tmp_path, **places) as url:
            async with httpx.AsyncClient(base_url=url) as client:
                yield client


class TestNginx:
    async def test_a_user(self, authapi: ServedAuthapi, proxy: httpx.AsyncClient) -> None:
        account = await authapi.register()
        for method in ("GET", "POST", "DELETE"):
            response = await proxy.request(
                method, "/orders/7?role=x", content=b"{}", headers=bearer(account["access_token"])
            )
            assert response.status_code == 200
            seen = response.json()
            assert seen["x-auth-user-id"] == account["user_id"]
            assert seen["x-auth-client-id"] == "authapi"
            assert seen["x-auth-email"] == "ada@example.com"
            assert seen["x-auth-roles"] == "user"

    async def test_nobody(self, proxy: httpx.AsyncClient) -> None:
        for headers, challenge in (({}, "Bearer"), (bearer("x"), 'Bearer error="invalid_token"')):
            response = await proxy.get("/orders/7", headers=headers)
            assert response.status_code == 401
            assert response.headers["www-authenticate"] == challenge

    async def test_a_condition(self, authapi: ServedAuthapi, proxy: httpx.AsyncClient) -> None:
        runtime = authapi.app.state.runtime
        admin = users_token(runtime, roles=("admin",), role="admin")
        assert (await proxy.get("/admin/", headers=bearer(users_token(runtime)))).status_code == 403
        assert (await proxy.get("/admin/?role=user", headers=bearer(admin))).status_code == 200

    async def test_names_of_the_client_do_not_get_through(
        self, authapi: ServedAuthapi, proxy: httpx.AsyncClient
    ) -> None:
        invented = {f"X-Auth-{name}": "admin" for name in IDENTITY}
        headers = bearer(clients_token(authapi.app.state.runtime)) | invented
        seen = (await proxy.get("/orders/7", headers=headers)).json()
        assert {name: seen.get(f"x-auth-{name}", "") for name in IDENTITY} == {
            "user-id": "",
            "client-id": "client-7",
            "email": "",
            "roles": "",
            "scopes": "",
        }

    async def test_after_the_logout(self, authapi: ServedAuthapi, proxy: httpx.AsyncClient) -> None:
        headers = bearer((await authapi.register())["access_token"])
        assert (await proxy.get("/orders/7", headers=headers)).status_code == 200
        async with httpx.AsyncClient(base_url=authapi.url) as client:
            assert (await client.post("/api/auth/logout", headers=headers)).status_code == 200
        assert (await proxy.get("/orders/7", headers=headers)).status_code == 401
