import asyncio
import socket
import sqlite3
from collections.abc import AsyncIterator
from typing import Annotated, Any, Literal
from uuid import UUID

import asyncpg
import httpx
import pytest
import sqlalchemy
from fastapi import APIRouter, FastAPI, HTTPException, Request
from pydantic import Field, IPvAnyAddress, SecretStr, field_validator
from pydantic_core import PydanticCustomError
from sqlalchemy import exc
from sqlalchemy.ext.asyncio import create_async_engine
from starlette.middleware import Middleware

from authapi.error_handlers import database_error, error_response, install_error_handlers
from authapi.errors import (
    AuthApiError,
    DatabaseUnavailable,
    FieldError,
    HashingBusy,
    InsufficientScope,
    InvalidAccessToken,
    InvalidCredentials,
    MalformedRequest,
    NotAuthenticated,
    TooManyRequests,
    UserNotFound,
    WeakPassword,
)
from authapi.field_errors import field_errors
from authapi.logs import configure_logging
from authapi.middleware.unhandled_errors import UnhandledErrorsMiddleware
from authapi.schemas.envelope import FromString, RequestModel
from tests.support.postgres import PostgresServer
from tests.support.shell_app import Login

SECRET = "hunter2-was-submitted"


class Form(RequestModel):
    name: Annotated[str, Field(min_length=2, max_length=5)] = "name"
    slug: Annotated[str, Field(pattern="^[a-z]+$")] = "slug"
    kind: Literal["a", "b"] = "a"
    count: Annotated[int, Field(ge=1, lt=10)] = 1
    flag: bool = False
    ratio: float = 0.5
    id: FromString[UUID] | None = None
    tags: Annotated[list[str], Field(max_length=2)] = []  # noqa: RUF012 - pydantic copies defaults
    nested: dict[str, int] = {}  # noqa: RUF012
    secret: Annotated[SecretStr, Field(min_length=1, max_length=8)] = SecretStr("secret")
    ip: IPvAnyAddress | None = None
    picky: str = ""
    ours: str = ""

    @field_validator("picky")
    @classmethod
    def _quotes_its_input(cls, value: str) -> str:
        if value:
            raise ValueError(f"{value} is not good")
        return value

    @field_validator("ours")
    @classmethod
    def _has_a_code(cls, value: str) -> str:
        if value == "context":
            raise PydanticCustomError("with_context", "no {value}", {"value": SECRET})
        if value:
            raise PydanticCustomError("phone_invalid", "Write the number with its country code.")
        return value


def build_app() -> tuple[FastAPI, APIRouter]:
    configure_logging(format="json", level="info")
    app = FastAPI(middleware=[Middleware(UnhandledErrorsMiddleware)])
    install_error_handlers(app)
    return app, APIRouter()


@pytest.fixture(scope="module")
async def client() -> AsyncIterator[httpx.AsyncClient]:
    app, router = build_app()
    errors: dict[str, Exception] = {
        "not-authenticated": NotAuthenticated(),
        "limited": TooManyRequests(retry_after=1.2),
        "teapot": HTTPException(418, detail=SECRET),
        "http-503": HTTPException(503, detail=SECRET),
        "http-501": HTTPException(501, detail=SECRET),
        "http-304": HTTPException(304, headers={"ETag": '"x"'}),
        "http-401": HTTPException(401, headers={"WWW-Authenticate": 'Basic realm="x"'}),
        "refused": ConnectionRefusedError(111, "Connection refused"),
        "pool": exc.TimeoutError("QueuePool limit"),
        "integrity": exc.IntegrityError("INSERT", {"p": SECRET}, sqlite3.IntegrityError(SECRET)),
        "locked": exc.OperationalError("UPDATE", {"p": SECRET}, sqlite3.OperationalError("locked")),
    }

    @router.get("/raise/{name}")
    async def raise_it(name: str) -> None:
        raise errors[name]

    @router.get("/limited-later")
    async def limited_later(request: Request) -> None:
        request.state.rate_limit_headers = {"X-RateLimit-Remaining": "0", "Retry-After": "99"}
        raise TooManyRequests(retry_after=7)

    @router.post("/form")
    async def form(body: Form) -> Form:
        return body

    @router.post("/login")
    async def login(body: Login) -> None:
        return None

    @router.get("/thing/{thing_id}")
    async def read(thing_id: int) -> None:
        return None

    @router.put("/thing/{thing_id}")
    async def write(thing_id: int) -> None:
        return None

    @router.get("/bad-response")
    async def bad_response() -> list[int]:
        return SECRET  # type: ignore[return-value]

    app.include_router(router, prefix="/v1")
    transport = httpx.ASGITransport(app=app)
    async with httpx.AsyncClient(transport=transport, base_url="http://test/v1") as client:
        yield client


class TestErrorResponse:
    @pytest.mark.parametrize(
        ("error", "headers"),
        [
            (NotAuthenticated(), {"www-authenticate": "Bearer"}),
            (InvalidCredentials(), {"www-authenticate": "Bearer"}),
            (InvalidAccessToken(), {"www-authenticate": 'Bearer error="invalid_token"'}),
            (InsufficientScope(), {"www-authenticate": 'Bearer error="insufficient_scope"'}),
            (
                InsufficientScope(headers={"WWW-Authenticate": 'Bearer scope="x"'}),
                {"www-authenticate": 'Bearer scope="x"'},
            ),
            (TooManyRequests(retry_after=0.01), {"retry-after": "1"}),
            (TooManyRequests(retry_after=59.2), {"retry-after": "60"}),
            (TooManyRequests(), {"retry-after": "1"}),
            (HashingBusy(retry_after=2), {"retry-after": "2"}),
        ],
    )
    def test_headers(self, error: AuthApiError, headers: dict[str, str]) -> None:
        response = error_response(error)
        assert response.status_code == error.status_code
        assert headers.items() <= dict(response.headers).items()

    def test_fields_only_with_422(self) -> None:
        field = FieldError(loc=("body", "password"), code="too_common", message="Too common.")
        assert b'"fields":[{"loc":["body","password"],"code":"too_common"' in bytes(
            error_response(WeakPassword(fields=[field])).body
        )
        assert b"fields" not in bytes(error_response(UserNotFound("no row 7")).body)

    def test_detail_stays_inside(self) -> None:
        assert b"no row 7" not in bytes(error_response(UserNotFound("no row 7")).body)


class TestHttpErrors:
    @pytest.mark.parametrize(
        ("name", "status", "code"),
        [
            ("teapot", 418, "bad_request"),
            ("http-503", 503, "service_unavailable"),
            ("http-501", 501, "internal_error"),
            ("refused", 503, "database_unavailable"),
            ("pool", 503, "database_unavailable"),
            ("locked", 503, "database_unavailable"),
            ("integrity", 500, "internal_error"),
        ],
    )
    async def test_becomes_the_envelope(
        self, client: httpx.AsyncClient, name: str, status: int, code: str
    ) -> None:
        response = await client.get(f"/raise/{name}")
        assert response.status_code == status
        assert response.json()["error"]["code"] == code
        assert SECRET not in response.text
        assert ("retry-after" in response.headers) is (status == 503)

    async def test_own_challenge_is_kept(self, client: httpx.AsyncClient) -> None:
        response = await client.get("/raise/http-401")
        assert response.headers.get_list("www-authenticate") == ['Basic realm="x"']

    async def test_not_modified_has_no_body(self, client: httpx.AsyncClient) -> None:
        response = await client.get("/raise/http-304")
        assert (response.status_code, response.content, response.headers["etag"]) == (304, b"", '"x"')

    async def test_404(self, client: httpx.AsyncClient) -> None:
        response = await client.get("/nowhere")
        assert (response.status_code, response.json()["error"]["code"]) == (404, "not_found")

    async def test_405_names_every_method_of_the_path(self, client: httpx.AsyncClient) -> None:
        response = await client.delete("/thing/1")
        assert (response.status_code, response.json()["error"]["code"]) == (405, "method_not_allowed")
        assert response.headers["allow"] == "GET, PUT"

    async def test_rate_limit_headers_are_added_and_yield_to_our_own(self, client: httpx.AsyncClient) -> None:
        response = await client.get("/limited-later")
        assert response.headers["x-ratelimit-remaining"] == "0"
        assert response.headers.get_list("retry-after") == ["7"]

    async def test_response_that_breaks_its_model_is_a_500(self, client: httpx.AsyncClient) -> None:
        response = await client.get("/bad-response")
        assert response.status_code == 500
        assert SECRET not in response.text


class TestValidation:
    @pytest.mark.parametrize(
        ("body", "loc", "code", "message"),
        [
            ({"name": "x"}, "name", "too_short", "This must have at least 2 characters."),
            ({"name": SECRET}, "name", "too_long", "This must have at most 5 characters."),
            ({"name": 5}, "name", "wrong_type", "This must be a string."),
            ({"slug": SECRET}, "slug", "wrong_format", "This does not have the expected format."),
            ({"kind": SECRET}, "kind", "not_allowed", "This must be 'a' or 'b'."),
            ({"count": True}, "count", "wrong_type", "This must be a whole number."),
            ({"count": "5"}, "count", "wrong_type", "This must be a whole number."),
            ({"count": 1.0}, "count", "wrong_type", "This must be a whole number."),
            ({"count": 0}, "count", "too_small", "This must be at least 1."),
            ({"count": 10}, "count", "too_large", "This must be less than 10."),
            ({"flag": 1}, "flag", "wrong_type", "This must be true or false."),
            ({"flag": "yes"}, "flag", "wrong_type", "This must be true or false."),
            ({"ratio": "0.1"}, "ratio", "wrong_type", "This must be a number."),
            ({"id": SECRET}, "id", "wrong_format", "This must be a UUID."),
            ({"tags": SECRET}, "tags", "wrong_type", "This must be a list."),
            ({"tags": ["a", "b", "c"]}, "tags", "too_long", "This must have at most 2 items."),
            ({"nested": [SECRET]}, "nested", "wrong_type", "This must be an object."),
            ({"secret": SECRET}, "secret", "too_long", "This must have at most 8 characters."),
            ({"secret": ""}, "secret", "too_short", "This must have at least 1 characters."),
            ({"ip": SECRET}, "ip", "wrong_format", "This must be an IP address, such as 203.0.113.7."),
            ({"picky": SECRET}, "picky", "invalid", "This value is not valid."),
            ({"ours": SECRET}, "ours", "phone_invalid", "Write the number with its country code."),
            ({"ours": "context"}, "ours", "invalid", "This value is not valid."),
            ({"is_admin": SECRET}, "is_admin", "unknown_field", "There is no such field here."),
        ],
    )
    async def test_field(
        self, *, client: httpx.AsyncClient, body: dict[str, Any], loc: str, code: str, message: str
    ) -> None:
        response = await client.post("/form", json=body)
        assert response.status_code == 422
        assert response.json()["error"]["fields"] == [
            {"loc": ["body", loc], "code": code, "message": message}
        ]
        assert SECRET not in response.text

    @pytest.mark.parametrize(
        "email", [f"{SECRET}", f"{SECRET}@", f"a@{SECRET}..x", f"{SECRET}\r\n@example.com"]
    )
    async def test_email(self, client: httpx.AsyncClient, email: str) -> None:
        response = await client.post("/login", json={"email": email, "password": "secret"})
        (field,) = response.json()["error"]["fields"]
        assert (field["code"], field["message"]) == ("invalid_email", "This is not an e-mail address.")
        assert SECRET not in response.text

    async def test_missing_fields_do_not_echo_the_body(self, client: httpx.AsyncClient) -> None:
        response = await client.post("/login", json={"password": SECRET})
        (field,) = response.json()["error"]["fields"]
        assert (field["loc"], field["code"]) == (["body", "email"], "required")
        assert SECRET not in response.text

    async def test_path_parameter(self, client: httpx.AsyncClient) -> None:
        response = await client.get(f"/thing/{SECRET}")
        assert response.json()["error"]["fields"] == [
            {"loc": ["path", "thing_id"], "code": "wrong_type", "message": "This must be a whole number."}
        ]

    @pytest.mark.parametrize("body", [b"{", b"[" * 60_000, b'{"a":"\xff"}'])
    async def test_undecodable_json(self, client: httpx.AsyncClient, body: bytes) -> None:
        response = await client.post("/form", content=body, headers={"Content-Type": "application/json"})
        assert (response.status_code, response.json()["error"]["code"]) == (400, "malformed_request")

    def test_answers_are_bounded(self) -> None:
        details = [
            {
                "type": "extra_forbidden",
                "loc": ("body", "k" * 1_000 + str(number)),
                "msg": "",
                "input": SECRET,
            }
            for number in range(10_000)
        ]
        fields = field_errors(details)
        assert len(fields) == 32
        assert fields[0].loc == ("body", "k" * 64 + "…")

    def test_keys_are_cleaned(self) -> None:
        (field,) = field_errors([{"type": "extra_forbidden", "loc": ("body", "a\x1b\ud800\n"), "msg": ""}])
        assert field.loc == ("body", "a???")

    def test_missing_constant_falls_back(self) -> None:
        (field,) = field_errors([{"type": "too_long", "loc": ("body",), "msg": SECRET}])
        assert (field.code, field.message) == ("too_long", "This value is not valid.")


class TestDatabaseError:
    @pytest.mark.parametrize(
        ("error", "meaning"),
        [
            (ConnectionResetError(), DatabaseUnavailable),
            (TimeoutError(), DatabaseUnavailable),
            (socket.gaierror(), DatabaseUnavailable),
            (asyncpg.CannotConnectNowError("starting up"), DatabaseUnavailable),
            (asyncpg.TooManyConnectionsError("full"), DatabaseUnavailable),
            (asyncpg.InterfaceError("connection is closed"), DatabaseUnavailable),
            (exc.DBAPIError("x", None, asyncpg.DeadlockDetectedError("x")), DatabaseUnavailable),
            (exc.DBAPIError("x", None, Exception(), connection_invalidated=True), DatabaseUnavailable),
            (exc.InterfaceError("x", None, sqlite3.InterfaceError()), DatabaseUnavailable),
            (exc.DataError("x", None, sqlite3.DataError()), MalformedRequest),
            (exc.DBAPIError("x", None, asyncpg.CharacterNotInRepertoireError("x")), MalformedRequest),
            (exc.IntegrityError("x", None, sqlite3.IntegrityError()), None),
            (RuntimeError(), None),
            (exc.ProgrammingError("x", None, asyncpg.UndefinedTableError("x")), None),
            (asyncpg.InternalClientError("cannot switch to state 15"), DatabaseUnavailable),
        ],
    )
    def test_classification(self, error: Exception, meaning: type[AuthApiError] | None) -> None:
        assert database_error(error) is meaning

    @pytest.mark.parametrize(
        ("statement", "value", "meaning"),
        [
            ("SELECT CAST(:value AS text)", "a\x00b", MalformedRequest),
            ("SELECT CAST(:value AS text)", "\ud800", MalformedRequest),
            ("SELECT CAST(:value AS integer)", 2**31, MalformedRequest),
            ("SELECT CAST(:value AS bigint)", 2**63, MalformedRequest),
            ("SELECT CAST(CAST(:value AS text) AS integer)", "x", MalformedRequest),
            ("SELECT pg_terminate_backend(pg_backend_pid()), CAST(:value AS text)", "x", DatabaseUnavailable),
            ("SELECT missing, CAST(:value AS text)", "x", None),
        ],
    )
    async def test_what_postgresql_says(
        self,
        *,
        postgres_server: PostgresServer,
        statement: str,
        value: object,
        meaning: type[AuthApiError] | None,
    ) -> None:
        engine = create_async_engine(postgres_server.url(), hide_parameters=True)
        try:
            async with engine.connect() as connection:
                with pytest.raises(exc.DBAPIError) as caught:
                    await connection.execute(sqlalchemy.text(statement), {"value": value})
                assert database_error(caught.value) is meaning
        finally:
            await engine.dispose()

    async def test_statement_timeout_and_unreachable_server(self, postgres_server: PostgresServer) -> None:
        engine = create_async_engine(postgres_server.url())
        try:
            async with engine.connect() as connection:
                await connection.execute(sqlalchemy.text("SET statement_timeout = 50"))
                with pytest.raises(exc.DBAPIError) as caught:
                    await connection.execute(sqlalchemy.text("SELECT pg_sleep(5)"))
                assert database_error(caught.value) is DatabaseUnavailable
        finally:
            await engine.dispose()
        nowhere = create_async_engine("postgresql+asyncpg://nobody@127.0.0.1:1/none")
        with pytest.raises(OSError, match="onnect") as refused:
            async with asyncio.timeout(10), nowhere.connect():
                raise AssertionError("connected to nothing")
        assert database_error(refused.value) is DatabaseUnavailable

    async def test_unknown_database(self, postgres_server: PostgresServer) -> None:
        engine = create_async_engine(postgres_server.url("missing"))
        with pytest.raises(Exception) as caught:  # noqa: PT011 - the type is what is tested
            async with engine.connect():
                raise AssertionError("connected to nothing")
        assert database_error(caught.value) is DatabaseUnavailable
