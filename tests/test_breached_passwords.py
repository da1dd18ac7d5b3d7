"""Breached passwords: a real range server and a real file, and what happens when they fail."""

import asyncio
import hashlib
from collections.abc import Iterator
from pathlib import Path

import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, RedirectResponse, Response
from starlette.routing import Route

from authapi.breached_passwords import BreachedPasswords
from authapi.setting_groups import PasswordSettings
from tests.conftest import MakeApp, http_client
from tests.support.serving import serve

BREACHED = "correct Horse 7 battery"
PADDED = "another Horse 7 battery"


def digest(password: str) -> str:
    return hashlib.sha1(password.encode(), usedforsecurity=False).hexdigest().upper()


class RangeServer:
    """Knows one breached password and answers as `mode` says; remembers what it was asked."""

    def __init__(self) -> None:
        self.mode = "ok"
        self.asked: list[str] = []

    async def answer(self, request: Request) -> Response:
        prefix = request.path_params["prefix"]
        self.asked.append(prefix)
        assert request.headers["add-padding"] == "true"
        if self.mode == "slow":
            await asyncio.sleep(5)
        if self.mode == "broken":
            return PlainTextResponse("x", status_code=500)
        if self.mode == "redirect":
            return RedirectResponse("/elsewhere")
        lines = [f"{digest(BREACHED)[5:]}:3", f"{digest(PADDED)[5:]}:0", "0" * 35 + ":1"]
        return PlainTextResponse("\r\n".join(lines))


@pytest.fixture
def server() -> RangeServer:
    return RangeServer()


@pytest.fixture
def url(server: RangeServer) -> Iterator[str]:
    with serve(Starlette(routes=[Route("/range/{prefix}", server.answer)])) as base_url:
        yield f"{base_url}/range"


class TestRangeApi:
    async def test_only_five_digits_leave_the_house(self, server: RangeServer, url: str) -> None:
        source = BreachedPasswords(PasswordSettings(breach_url=url))
        assert await source.contains(BREACHED)
        assert server.asked == [digest(BREACHED)[:5]]

    async def test_padding_and_strangers_are_no_match(self, url: str) -> None:
        source = BreachedPasswords(PasswordSettings(breach_url=url))
        assert not await source.contains(PADDED)
        assert not await source.contains("something else entirely")

    @pytest.mark.parametrize("mode", ["slow", "broken", "redirect"])
    async def test_a_server_in_trouble_stops_nobody(self, server: RangeServer, url: str, mode: str) -> None:
        server.mode = mode
        source = BreachedPasswords(PasswordSettings(breach_url=url))
        async with asyncio.timeout(3):
            assert not await source.contains(BREACHED)

    async def test_a_server_that_is_away_stops_nobody(self) -> None:
        source = BreachedPasswords(PasswordSettings(breach_url="http://127.0.0.1:9/range"))
        assert not await source.contains(BREACHED)


class TestFile:
    @pytest.mark.parametrize("cut", [40, 12])
    async def test_every_line_is_found(self, tmp_path: Path, cut: int) -> None:
        passwords = [f"password number {number}" for number in range(200)]
        file = tmp_path / "breached.txt"
        file.write_text("".join(f"{line}:1\n" for line in sorted(digest(p)[:cut] for p in passwords)))
        source = BreachedPasswords(PasswordSettings(breach_file=file))
        assert all([await source.contains(password) for password in passwords])
        assert not any([await source.contains(f"other {number}") for number in range(200)])

    @pytest.mark.parametrize("content", [b"", b"\n", b"0\n1\nF\n", b"\xff\xfe\n"])
    async def test_a_useless_file_stops_nobody(self, tmp_path: Path, content: bytes) -> None:
        file = tmp_path / "breached.txt"
        file.write_bytes(content)
        assert not await BreachedPasswords(PasswordSettings(breach_file=file)).contains(BREACHED)

    async def test_a_file_that_is_gone_stops_nobody(self, tmp_path: Path) -> None:
        file = tmp_path / "breached.txt"
        file.touch()
        source = BreachedPasswords(PasswordSettings(breach_file=file))
        file.unlink()
        assert not await source.contains(BREACHED)


class TestRegistration:
    async def test_a_breached_password_is_refused_by_name(self, make_app: MakeApp, tmp_path: Path) -> None:
        file = tmp_path / "breached.txt"
        file.write_text(digest(BREACHED) + "\n")
        body = {"email": "ada@example.com", "password": BREACHED, "full_name": "Ada"}
        async with make_app(password={"breach_file": file}) as app, http_client(app) as client:
            response = await client.post("/api/auth/register", json=body)
        assert response.status_code == 422
        assert response.json()["error"]["fields"][0]["code"] == "password_compromised"
