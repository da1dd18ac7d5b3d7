"""A small app in the same layers as the real one, to test the layers by themselves."""

import asyncio
from collections.abc import AsyncIterator
from enum import StrEnum
from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, FastAPI, Form, Query, Request
from fastapi.responses import HTMLResponse, Response, StreamingResponse
from pydantic import EmailStr, Field
from starlette.middleware import Middleware

from authapi import request_context
from authapi.client_address import TrustedProxies
from authapi.error_handlers import install_error_handlers
from authapi.errors import InvalidAccessToken
from authapi.logs import configure_logging
from authapi.middleware.body_limit import BodyLimitMiddleware
from authapi.middleware.client_address import ClientAddressMiddleware
from authapi.middleware.cors import CorsMiddleware
from authapi.middleware.request_context import RequestContextMiddleware
from authapi.middleware.security_headers import SecurityHeadersMiddleware
from authapi.middleware.unhandled_errors import UnhandledErrorsMiddleware
from authapi.schemas.envelope import FromString, RequestModel
from authapi.strict_json import StrictJsonRoute

ORIGIN = "https://app.example.com"


class Color(StrEnum):
    RED = "red"
    BLUE = "blue"


class Login(RequestModel):
    email: EmailStr
    password: str = Field(min_length=3, max_length=100)
    remember: bool = False
    attempts: int = Field(default=0, ge=0, le=10)
    color: FromString[Color] = Color.RED
    device_id: FromString[UUID] | None = None


router = APIRouter(prefix="/api", route_class=StrictJsonRoute)


@router.post("/login")
async def login(body: Login) -> dict[str, str]:
    return {"email": body.email, "password_length": str(len(body.password))}


@router.post("/token")
async def token(username: Annotated[str, Form()], password: Annotated[str, Form()]) -> dict[str, str]:
    return {"username": username, "password": password}


@router.get("/items/{item_id}")
async def read_item(item_id: int) -> dict[str, int]:
    return {"item_id": item_id}


@router.put("/items/{item_id}")
async def write_item(item_id: int, request: Request) -> dict[str, int]:
    return {"item_id": item_id, "size": len(await request.body())}


@router.get("/search")
async def search(q: Annotated[str, Query(max_length=50)] = "") -> dict[str, str]:
    return {"q": q}


@router.get("/whoami")
async def whoami() -> dict[str, str | None]:
    context = request_context.current()
    return {"request_id": context.request_id, "ip": context.ip, "user_agent": context.user_agent}


@router.get("/protected")
async def protected() -> None:
    raise InvalidAccessToken


@router.get("/crash")
async def crash() -> None:
    password = "hunter2-in-a-variable"
    raise RuntimeError(f"could not check {password} for authapi_rt_abcdefghijklmnop")


@router.get("/crash-late")
async def crash_late() -> Response:
    async def parts() -> AsyncIterator[bytes]:
        yield b"first"
        await asyncio.sleep(0)
        raise RuntimeError("half-way")

    return StreamingResponse(parts())


@router.get("/page")
async def page() -> HTMLResponse:
    return HTMLResponse(
        "<p>hello</p>",
        headers={
            "Content-Security-Policy": "default-src 'self'",
            "Cache-Control": "max-age=60",
            "Server": "secret/1.0",
        },
    )


def build_shell(*, https: bool = True) -> FastAPI:
    """The routes in all the layers, outermost first.

    They are the app's own middleware: around the app from outside they would only see what Starlette's
    catch-all has made of an exception.
    """
    configure_logging(format="json", level="info")
    app = FastAPI(
        docs_url=None,
        redoc_url=None,
        openapi_url=None,
        middleware=[
            Middleware(ClientAddressMiddleware, trusted=TrustedProxies()),
            Middleware(RequestContextMiddleware),
            Middleware(SecurityHeadersMiddleware, https=https),
            Middleware(
                CorsMiddleware,
                allow_origins=[ORIGIN],
                allow_methods=["*"],
                expose_headers=["X-Request-ID", "Retry-After"],
            ),
            Middleware(UnhandledErrorsMiddleware),
            Middleware(BodyLimitMiddleware),
        ],
    )
    app.include_router(router)
    install_error_handlers(app)
    return app
