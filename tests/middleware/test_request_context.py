from collections.abc import AsyncIterator
from typing import Any
from uuid import UUID

import httpx
import pytest
import structlog
from fastapi import APIRouter, FastAPI
from starlette.types import Receive, Scope, Send

from authapi import request_context
from authapi.middleware.request_context import RequestContextMiddleware
from authapi.request_context import RequestContext
from tests.support.log_lines import captured_lines
from tests.support.shell_app import build_shell


@pytest.fixture
async def client() -> AsyncIterator[httpx.AsyncClient]:
    transport = httpx.ASGITransport(app=build_shell(), client=("203.0.113.7", 4711))
    async with httpx.AsyncClient(transport=transport, base_url="http://test") as client:
        yield client


class TestRequestContext:
    def test_is_empty_outside_of_requests(self) -> None:
        assert request_context.current() == RequestContext(request_id=None, ip=None, user_agent=None)

    def test_bind_nests_and_restores(self) -> None:
        with request_context.bind(RequestContext(request_id="outer")):
            with request_context.bind(RequestContext(request_id="inner")):
                assert request_context.current().request_id == "inner"
            assert request_context.current().request_id == "outer"
        assert request_context.current().request_id is None

    async def test_holds_id_address_and_user_agent(self, client: httpx.AsyncClient) -> None:
        response = await client.get("/api/whoami", headers={"User-Agent": "Firefox/150"})
        body = response.json()
        assert body == {
            "request_id": response.headers["x-request-id"],
            "ip": "203.0.113.7",
            "user_agent": "Firefox/150",
        }

    @pytest.mark.parametrize("offered", ["12345678", "a.b_c-D9", "x" * 64])
    async def test_keeps_a_harmless_request_id(self, client: httpx.AsyncClient, offered: str) -> None:
        response = await client.get("/api/whoami", headers={"X-Request-ID": offered})
        assert response.headers["x-request-id"] == offered

    @pytest.mark.parametrize(
        "offered",
        ["1234567", "x" * 65, "12345678\n", "with space", "<script>1", "%0d%0a1234", "üüüüüüüü", ""],
    )
    async def test_replaces_any_other_request_id(self, client: httpx.AsyncClient, offered: str) -> None:
        headers = [(b"x-request-id", offered.encode())]
        response = await client.get("/api/whoami", headers=headers)
        assert response.headers["x-request-id"] != offered
        assert UUID(response.headers["x-request-id"]).version == 7

    @pytest.mark.parametrize(
        ("sent", "kept"),
        [
            (b"x" * 1_000, "x" * 256),
            (b"a\x1b[31mred\x7f\x00b", "a[31mredb"),
            ("Telefon von Jürgen".encode(), "Telefon von Jürgen"),
            ("left\u2028right\u202e".encode(), "leftright"),
            (b"\x01\x02", None),
            (b"", None),
        ],
    )
    async def test_cleans_the_user_agent(
        self, client: httpx.AsyncClient, sent: bytes, kept: str | None
    ) -> None:
        response = await client.get("/api/whoami", headers=[(b"user-agent", sent)])
        assert response.json()["user_agent"] == kept


class TestAccessLog:
    async def test_one_line_names_the_template_and_no_query(self, client: httpx.AsyncClient) -> None:
        with captured_lines() as lines:
            await client.get("/api/items/42?token=secret", headers={"X-Request-ID": "caller-0001"})
        (line,) = _access_lines(lines)
        assert line["route"] == "/api/items/{item_id}"
        assert (line["method"], line["status"], line["ip"]) == ("GET", 200, "203.0.113.7")
        assert line["request_id"] == "caller-0001"
        assert line["duration_ms"] >= 0
        assert "secret" not in str(line)

    @pytest.mark.parametrize(
        ("method", "path", "route", "status"),
        [
            ("GET", "/nowhere/secret", "unmatched", 404),
            ("DELETE", "/api/items/1", "/api/items/{item_id}", 405),
            ("GET", "/api/crash", "/api/crash", 500),
            ("GET", "/x?" + "y" * 9_000, "unmatched", 414),
        ],
    )
    async def test_errors_are_logged_as_well(
        self, client: httpx.AsyncClient, method: str, path: str, route: str, status: int
    ) -> None:
        with captured_lines() as lines:
            await client.request(method, path)
        (line,) = _access_lines(lines)
        assert (line["route"], line["status"]) == (route, status)

    async def test_nested_routers_keep_every_prefix(self) -> None:
        inner, outer, app = APIRouter(prefix="/inner"), APIRouter(prefix="/outer"), FastAPI()

        @inner.get("/{name}")
        async def read(name: str) -> str:
            return name

        outer.include_router(inner)
        app.include_router(outer, prefix="/v1")
        transport = httpx.ASGITransport(app=RequestContextMiddleware(app))
        async with httpx.AsyncClient(transport=transport, base_url="http://test") as client:
            with captured_lines() as lines:
                await client.get("/v1/outer/inner/x")
        assert _access_lines(lines)[0]["route"] == "/v1/outer/inner/{name}"

    async def test_failing_app_leaves_no_context_behind(self) -> None:
        async def broken(scope: Scope, receive: Receive, send: Send) -> None:
            raise RuntimeError("broken")

        transport = httpx.ASGITransport(app=RequestContextMiddleware(broken))
        async with httpx.AsyncClient(transport=transport, base_url="http://test") as client:
            with captured_lines() as lines, pytest.raises(RuntimeError):
                await client.get("/")
        assert _access_lines(lines)[0]["status"] is None
        assert request_context.current().request_id is None
        assert structlog.contextvars.get_contextvars() == {}


def _access_lines(lines: Any) -> list[dict[str, Any]]:
    return [line for line in lines if line["event"] == "http.request"]
