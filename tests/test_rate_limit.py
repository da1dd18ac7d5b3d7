"""The limits hold where slowapi alone lets requests through; counted in memory."""

import asyncio
import re
import subprocess
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import httpx
import pytest
from fastapi import APIRouter, Depends, FastAPI, HTTPException, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, PlainTextResponse, Response
from fastapi.routing import iter_route_contexts
from pydantic import BaseModel
from starlette.routing import Route

from authapi.client_address import TrustedProxies
from authapi.errors import AuthApiError, InvalidAccessToken, TooManyRequests
from authapi.middleware.client_address import ClientAddressMiddleware
from authapi.rate_limit import (
    LIMIT_NAMES,
    Identify,
    LimitedRoute,
    RateLimits,
    limits,
    rate_limit_headers,
)
from authapi.setting_groups import RateLimitSettings

pytestmark = pytest.mark.one_database

HERE = "203.0.113.7"
THERE = "203.0.113.8"


class Body(BaseModel):
    number: int


router = APIRouter(route_class=LimitedRoute)
calls: list[str] = []


async def refuse() -> None:
    calls.append("dependency")
    raise HTTPException(401)


@router.get("/items/{item_id}")
@limits.auth
async def read_item(request: Request, item_id: int) -> dict[str, int]:
    return {"item_id": item_id}


@router.get("/alias/items/{item_id}")
@limits.auth
async def read_item_elsewhere(request: Request, item_id: int) -> dict[str, int]:
    return {"item_id": item_id}


@router.post("/body")
@limits.auth
async def take_body(request: Request, body: Body) -> Body:
    calls.append("body")
    return body


@router.get("/refused", dependencies=[Depends(refuse)])
@limits.auth
async def refused(request: Request) -> None:
    raise AssertionError


@router.get("/sync")
@limits.auth
def synchronous(request: Request) -> dict[str, bool]:
    return {"ok": True}


@router.get("/response")
@limits.auth
async def own_response(request: Request) -> Response:
    return PlainTextResponse("ok", headers={"X-Own": "1"})


@router.get("/unlimited")
async def unlimited(request: Request) -> dict[str, bool]:
    return {"ok": True}


@router.get("/service")
@limits.service
async def service(request: Request) -> dict[str, bool]:
    return {"ok": True}


@router.get("/user")
@limits.user
async def per_user(request: Request) -> dict[str, bool]:
    return {"ok": True}


@router.get("/admin")
@limits.admin
async def per_admin(request: Request) -> dict[str, bool]:
    return {"ok": True}


@router.post("/token")
@limits.refresh
async def token(request: Request, grant_type: str) -> dict[str, bool]:
    if grant_type == "password":
        await limits.spend(request, name="auth")
    return {"ok": True}


@router.get("/broken")
@limits.auth
async def broken(request: Request) -> None:
    raise TooManyRequests(retry_after=9)


async def verify(request: Request) -> Response:
    await limits.spend(request, name="service")
    return PlainTextResponse("ok", headers=rate_limit_headers(request.scope))


async def show_authapi_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, AuthApiError)
    headers = {**rate_limit_headers(request.scope), **error.headers}
    if error.retry_after is not None:
        headers["Retry-After"] = str(error.retry_after)
    return JSONResponse({"code": error.code}, error.status_code, headers)


async def show_invalid(request: Request, error: Exception) -> Response:
    return JSONResponse({"code": "validation_failed"}, 422, rate_limit_headers(request.scope))


def create_app(
    options: RateLimitSettings | None = None,
    *,
    identify: Identify | None = None,
    proxies: tuple[str, ...] = (),
) -> FastAPI:
    app = FastAPI()
    app.state.rate_limits = RateLimits(options or RateLimitSettings(), identify=identify)
    app.include_router(router, prefix="/api")
    app.router.routes.append(Route("/verify", verify))
    app.add_exception_handler(AuthApiError, show_authapi_error)
    app.add_exception_handler(RequestValidationError, show_invalid)
    app.add_middleware(ClientAddressMiddleware, trusted=TrustedProxies(proxies))
    return app


@asynccontextmanager
async def client_of(app: FastAPI, address: str = HERE) -> AsyncIterator[httpx.AsyncClient]:
    transport = httpx.ASGITransport(app=app, client=(address, 1234))
    async with httpx.AsyncClient(transport=transport, base_url="http://testserver") as client:
        yield client


async def statuses(app: FastAPI, path: str, count: int = 7, *, address: str = HERE) -> list[int]:
    async with client_of(app, address) as client:
        return [(await client.get(path)).status_code for _ in range(count)]


FIVE_OF_SEVEN = [200] * 5 + [429] * 2


class TestLimitedRoute:
    async def test_a_route_of_an_included_router_is_limited(self) -> None:
        assert await statuses(create_app(), "/api/response") == FIVE_OF_SEVEN

    async def test_a_router_included_in_a_router_is_limited(self) -> None:
        app = create_app()
        outer = APIRouter()
        outer.include_router(router, prefix="/inner")
        app.include_router(outer, prefix="/outer")
        assert await statuses(app, "/outer/inner/response") == FIVE_OF_SEVEN

    async def test_a_synchronous_endpoint_is_limited(self) -> None:
        assert await statuses(create_app(), "/api/sync") == FIVE_OF_SEVEN

    async def test_path_parameters_share_one_bucket(self) -> None:
        async with client_of(create_app()) as client:
            answers = [(await client.get(f"/api/items/{n}")).status_code for n in range(7)]
        assert answers == FIVE_OF_SEVEN

    async def test_every_path_to_an_endpoint_shares_its_bucket(self) -> None:
        app = create_app()
        app.include_router(router, prefix="/again")
        assert await statuses(app, "/api/sync", 5) == [200] * 5
        assert await statuses(app, "/again/sync", 1) == [429]

    async def test_spellings_of_a_path_do_not_help(self) -> None:
        paths = ["/api/items/1", "/api/items/01", "/api/items/%31", "/api/items/1?x=1", "/api/items/+1"]
        async with client_of(create_app()) as client:
            assert [(await client.get(path)).status_code for path in paths] == [200] * 5
            for path in [*paths, "/api/items/2", "/api/items%2f1"]:
                assert (await client.get(path)).status_code == 429
            for path in ("/API/items/1", "/api//items/1", "/api/items/1/"):
                assert (await client.get(path)).status_code in {307, 404}

    async def test_routes_have_buckets_of_their_own(self) -> None:
        app = create_app()
        assert await statuses(app, "/api/items/1") == FIVE_OF_SEVEN
        assert await statuses(app, "/api/alias/items/1") == FIVE_OF_SEVEN

    async def test_addresses_have_buckets_of_their_own(self) -> None:
        app = create_app()
        assert await statuses(app, "/api/sync", address=HERE) == FIVE_OF_SEVEN
        assert await statuses(app, "/api/sync", address=THERE) == FIVE_OF_SEVEN

    @pytest.mark.parametrize("content", ["{", '{"number": "x"}', "[" * 1000, ""])
    async def test_invalid_bodies_count(self, content: str) -> None:
        async with client_of(create_app()) as client:
            answers = [await client.post("/api/body", content=content) for _ in range(7)]
        assert [answer.status_code for answer in answers] == [422] * 5 + [429] * 2
        assert [answer.headers["X-RateLimit-Remaining"] for answer in answers] == list("4321000")

    async def test_the_body_of_a_refused_request_is_not_read(self) -> None:
        async def never_sent() -> AsyncIterator[bytes]:
            raise AssertionError
            yield b""

        async with client_of(create_app()) as client:
            for _ in range(5):
                await client.post("/api/body", json={"number": 1})
            assert (await client.post("/api/body", content=never_sent())).status_code == 429

    async def test_failing_dependencies_count_and_are_not_run_for_a_429(self) -> None:
        calls.clear()
        assert await statuses(create_app(), "/api/refused") == [401] * 5 + [429] * 2
        assert calls == ["dependency"] * 5

    async def test_a_refused_request_costs_nothing(self) -> None:
        app = create_app(RateLimitSettings(auth="2/second"))
        assert await statuses(app, "/api/sync", 10) == [200] * 2 + [429] * 8
        await asyncio.sleep(1.05)
        assert await statuses(app, "/api/sync", 3) == [200] * 2 + [429]

    async def test_of_200_parallel_requests_exactly_the_limit_passes(self) -> None:
        async with client_of(create_app()) as client:
            answers = await asyncio.gather(*[client.get("/api/response") for _ in range(200)])
        assert sorted(answer.status_code for answer in answers) == [200] * 5 + [429] * 195

    async def test_an_unlimited_route_and_an_empty_limit_stay_open(self) -> None:
        app = create_app()
        assert await statuses(app, "/api/unlimited", 20) == [200] * 20
        assert await statuses(app, "/api/service", 20) == [200] * 20

    async def test_two_apps_in_one_process_have_limits_of_their_own(self) -> None:
        strict, generous = create_app(RateLimitSettings(auth="1/minute")), create_app()
        assert await statuses(strict, "/api/sync") == [200] + [429] * 6
        assert await statuses(generous, "/api/sync") == FIVE_OF_SEVEN
        assert await statuses(strict, "/api/sync", 1) == [429]

    async def test_switched_off(self) -> None:
        async with client_of(create_app(RateLimitSettings(enabled=False))) as client:
            answers = [await client.get("/api/sync") for _ in range(20)]
        assert {answer.status_code for answer in answers} == {200}
        assert "X-RateLimit-Limit" not in answers[0].headers

    async def test_several_limits_in_one(self) -> None:
        async with client_of(create_app(RateLimitSettings(auth="3/second;4/hour"))) as client:
            answers = [await client.get("/api/sync") for _ in range(4)]
            assert [answer.status_code for answer in answers] == [200, 200, 200, 429]
            await asyncio.sleep(1.05)
            answers = [await client.get("/api/sync") for _ in range(2)]
        assert [answer.status_code for answer in answers] == [200, 429]
        assert answers[1].headers["X-RateLimit-Limit"] == "4"
        assert int(answers[1].headers["Retry-After"]) > 3000


class TestHeaders:
    async def test_a_success_tells_what_is_left(self) -> None:
        async with client_of(create_app()) as client:
            first, second = await client.get("/api/sync"), await client.get("/api/response")
        assert first.headers["X-RateLimit-Limit"] == "5"
        assert first.headers["X-RateLimit-Remaining"] == "4"
        assert re.fullmatch(r"\d+", first.headers["X-RateLimit-Reset"])
        assert 58 <= int(first.headers["X-RateLimit-Reset"]) - time.time() <= 62
        assert "Retry-After" not in first.headers
        assert second.headers["X-Own"] == "1"
        assert second.headers["X-RateLimit-Remaining"] == "4"

    async def test_a_429_tells_when_to_come_back(self) -> None:
        async with client_of(create_app()) as client:
            for _ in range(5):
                await client.get("/api/sync")
            answer = await client.get("/api/sync")
        assert answer.json() == {"code": "rate_limited"}
        assert 58 <= int(answer.headers["Retry-After"]) <= 60
        assert answer.headers["X-RateLimit-Limit"] == "5"
        assert answer.headers["X-RateLimit-Remaining"] == "0"

    async def test_retry_after_is_enough(self) -> None:
        app = create_app(RateLimitSettings(auth="1/second"))
        async with client_of(app) as client:
            await client.get("/api/sync")
            answer = await client.get("/api/sync")
            assert answer.headers["Retry-After"] == "1"
            await asyncio.sleep(1)
            assert (await client.get("/api/sync")).status_code == 200

    async def test_an_error_of_the_endpoint_carries_them_too(self) -> None:
        async with client_of(create_app()) as client:
            answer = await client.get("/api/broken")
        assert answer.headers["Retry-After"] == "9"
        assert answer.headers["X-RateLimit-Remaining"] == "4"

    async def test_no_limit_no_headers(self) -> None:
        async with client_of(create_app()) as client:
            for path in ("/api/unlimited", "/api/service", "/verify"):
                assert not [name for name in (await client.get(path)).headers if "ratelimit" in name]


class TestSpendByHand:
    async def test_a_plain_route(self) -> None:
        app = create_app(RateLimitSettings(service="2/minute"))
        async with client_of(app) as client:
            answers = [await client.get("/verify") for _ in range(3)]
        assert [answer.status_code for answer in answers] == [200, 200, 429]
        assert [answer.headers["X-RateLimit-Remaining"] for answer in answers] == ["1", "0", "0"]

    async def test_a_second_limit_by_what_the_request_asks(self) -> None:
        async with client_of(create_app(RateLimitSettings(refresh="9/minute"))) as client:
            answers = [await client.post("/api/token?grant_type=password") for _ in range(6)]
            assert [answer.status_code for answer in answers] == [200] * 5 + [429]
            assert answers[0].headers["X-RateLimit-Limit"] == "5"
            refreshed = [await client.post("/api/token?grant_type=refresh_token") for _ in range(4)]
        assert [answer.status_code for answer in refreshed] == [200] * 3 + [429]


class TestAddresses:
    async def test_spellings_of_an_address_share_a_bucket(self) -> None:
        app = create_app()
        spellings = ["2001:db8::7", "2001:DB8::7", "2001:db8:0:0::8", "2001:db8::7%eth0", "2001:db8::ffff"]
        for spelling in spellings:
            assert await statuses(app, "/api/sync", 1, address=spelling) == [200]
        for spelling in spellings:
            assert await statuses(app, "/api/sync", 1, address=spelling) == [429]
        assert await statuses(app, "/api/sync", 1, address="2001:db8:0:1::7") == [200]

    async def test_a_mapped_address_is_its_ipv4(self) -> None:
        app = create_app()
        assert await statuses(app, "/api/sync", 5, address="::ffff:203.0.113.7") == [200] * 5
        assert await statuses(app, "/api/sync", 1, address=HERE) == [429]

    @pytest.mark.parametrize(
        "name",
        ["X-Forwarded-For", "X_Forwarded_For", "Forwarded", "X-Real-IP", "X-Client-IP", "True-Client-IP"],
    )
    async def test_without_trusted_proxies_no_header_helps(self, name: str) -> None:
        for peer in ("127.0.0.1", "::1", HERE):
            async with client_of(create_app(), peer) as client:
                answers = [
                    (await client.get("/api/sync", headers={name: f"198.51.100.{n}"})).status_code
                    for n in range(7)
                ]
            assert answers == FIVE_OF_SEVEN

    async def test_behind_a_proxy_each_client_has_a_bucket_and_none_can_leave_it(self) -> None:
        app = create_app(proxies=("10.0.0.0/8",))
        async with client_of(app, "10.0.0.1") as client:

            async def status(forwarded: str) -> int:
                return (await client.get("/api/sync", headers={"X-Forwarded-For": forwarded})).status_code

            assert [await status(f"198.51.100.{n}, {HERE}") for n in range(7)] == FIVE_OF_SEVEN
            assert await status(f"{HERE}, {THERE}") == 200
            for spelling in (f"{HERE}:{81}", f"[::ffff:{HERE}]:82", f" {HERE} ", f"::FFFF:{HERE}"):
                assert await status(spelling) == 429

    async def test_garbage_makes_no_bucket(self) -> None:
        app = create_app(proxies=("10.0.0.0/8",))
        async with client_of(app, "10.0.0.1") as client:
            answers = [
                (await client.get("/api/sync", headers={"X-Forwarded-For": f"garbage{n}"})).status_code
                for n in range(7)
            ]
        assert answers == FIVE_OF_SEVEN


def identify(request: Request) -> str | None:
    """Stand in for the check of a token: only `Bearer valid-...` verifies."""
    token = request.headers.get("Authorization", "").removeprefix("Bearer ")
    if token.startswith("forged"):
        raise InvalidAccessToken
    return token.removeprefix("valid-") if token.startswith("valid-") else None


@pytest.mark.parametrize("path", ["/api/user", "/api/admin"])
class TestPerUser:
    OPTIONS = RateLimitSettings(user="3/minute", admin="3/minute")

    async def _status(self, app: FastAPI, path: str, token: str, address: str = HERE) -> int:
        async with client_of(app, address) as client:
            return (await client.get(path, headers={"Authorization": f"Bearer {token}"})).status_code

    async def test_a_user_takes_his_bucket_along(self, path: str) -> None:
        app = create_app(self.OPTIONS, identify=identify)
        addresses = [HERE, THERE, "198.51.100.1", "198.51.100.2"]
        answers = [await self._status(app, path, "valid-anna", address) for address in addresses]
        assert answers == [200, 200, 200, 429]

    async def test_users_behind_one_address_do_not_share(self, path: str) -> None:
        app = create_app(self.OPTIONS, identify=identify)
        for user in ("anna", "berta"):
            answers = [await self._status(app, path, f"valid-{user}") for _ in range(4)]
            assert answers == [200, 200, 200, 429]

    async def test_tokens_that_do_not_verify_share_the_bucket_of_their_address(self, path: str) -> None:
        app = create_app(self.OPTIONS, identify=identify)
        assert [await self._status(app, path, token) for token in ("x1", "forged-2", "")] == [200] * 3
        assert await self._status(app, path, "forged-3") == 429
        assert await self._status(app, path, "valid-anna") == 200


class TestDeclaration:
    def test_the_limit_of_an_endpoint_can_be_asked_for(self) -> None:
        app = create_app()
        names = {
            context.path: limits.limit_name(context.endpoint) for context in iter_route_contexts(app.routes)
        }
        assert names["/api/items/{item_id}"] == "auth"
        assert names["/api/token"] == "refresh"
        assert names["/api/unlimited"] is None
        assert limits.limit_name(None) is None

    def test_every_named_limit_has_a_decorator(self) -> None:
        async def endpoint(request: Request) -> None: ...

        for name in LIMIT_NAMES:
            assert limits.limit_name(getattr(limits, name)(endpoint)) == name

    def test_two_limits_on_one_endpoint_are_refused(self) -> None:
        with pytest.raises(TypeError, match="declares two limits"):

            @limits.user
            @limits.auth
            async def endpoint(request: Request) -> None: ...

    def test_an_endpoint_without_request_is_refused(self) -> None:
        with pytest.raises(Exception, match='No "request"'):

            @limits.auth
            async def endpoint() -> None: ...

    async def test_a_limit_outside_a_limited_route_fails_loudly(self) -> None:
        app = FastAPI()

        @app.get("/")
        @limits.auth
        async def endpoint(request: Request) -> None: ...

        async with client_of(app) as client:
            with pytest.raises(RuntimeError, match="route_class=LimitedRoute"):
                await client.get("/")

    def test_the_declaration_does_not_change_the_document(self) -> None:
        operation = create_app().openapi()["paths"]["/api/items/{item_id}"]["get"]
        assert [parameter["name"] for parameter in operation["parameters"]] == ["item_id"]

    def test_neither_environment_nor_dotenv_reaches_slowapi(self, tmp_path: Path) -> None:
        (tmp_path / ".env").write_bytes(b"RATELIMIT_STORAGE_URL=nonsense://\nRATELIMIT_ENABLED=False\n\xff")
        code = (
            "from authapi.rate_limit import limits; assert limits.enabled; assert not limits._headers_enabled"
        )
        environment = {
            "RATELIMIT_ENABLED": "False",
            "RATELIMIT_HEADERS_ENABLED": "True",
            "RATELIMIT_STRATEGY": "x",
        }
        subprocess.run([sys.executable, "-W", "error", "-c", code], cwd=tmp_path, env=environment, check=True)


class TestOptions:
    @pytest.mark.parametrize(
        "limit",
        [
            "5/fortnight",
            "5",
            "five/minute",
            "0/minute",
            "-1/minute",
            "5/minute;",
            "5//minute",
            "🙂",
        ],
    )
    @pytest.mark.parametrize("name", LIMIT_NAMES)
    def test_a_limit_that_cannot_be_read_stops_the_start(self, name: str, limit: str) -> None:
        with pytest.raises(ValueError, match=rf"^AUTHAPI_RATE_LIMIT__{name.upper()}: [^\n]+$"):
            RateLimits(RateLimitSettings(**{name: limit}))

    @pytest.mark.parametrize(
        "url",
        [
            "",
            "memory",
            "memory:///",
            "http://127.0.0.1",
            "memcached://127.0.0.1",
            "redis://:hunter2@127.0.0.1:port/0",
            "redis://:hunter/2@127.0.0.1:6379/0",
            "redis://:hunter2@127.0.0.1/0?no_such_option=1",
        ],
    )
    def test_a_storage_url_that_cannot_be_read_stops_the_start(self, url: str) -> None:
        with pytest.raises(ValueError, match=r"^AUTHAPI_RATE_LIMIT__STORAGE_URL [^\n]+$") as caught:
            RateLimits(RateLimitSettings(storage_url=url))
        assert "hunter" not in str(caught.value)
        assert caught.value.__suppress_context__

    def test_what_is_switched_off_is_checked_all_the_same(self) -> None:
        with pytest.raises(ValueError, match="AUTHAPI_RATE_LIMIT__AUTH"):
            RateLimits(RateLimitSettings(enabled=False, auth="nonsense"))

    @pytest.mark.parametrize(
        ("limit", "expected"),
        [
            ("5 per minute", [(5, 60)]),
            ("100/2hours", [(100, 7200)]),
            ("5/minute;50/hour", [(5, 60), (50, 3600)]),
            ("1/second, 9/day", [(1, 1), (9, 86_400)]),
        ],
    )
    def test_what_limits_understands_is_understood(self, limit: str, expected: list[tuple[int, int]]) -> None:
        allowances = RateLimits(RateLimitSettings(auth=limit))._allowances["auth"]
        assert [(allowance.amount, allowance.window) for allowance in allowances] == expected

    async def test_memory_never_fails(self) -> None:
        rate_limits = RateLimits(RateLimitSettings())
        assert not rate_limits.is_storage_down
        await rate_limits.close()
