"""The API reference, `/docs` (Swagger UI) and `/redoc`, from files in the package and under a strict policy.

FastAPI's own pages load scripts from a CDN and start them inline. These load nothing from another host and
need neither `unsafe-inline` nor `unsafe-eval` (ASVS 3.4.3, 3.6.1). `/openapi.json`, which they show, is here as
well: FastAPI's own route has no limit.
"""

import hashlib
import secrets
from collections.abc import AsyncIterator
from copy import deepcopy
from dataclasses import dataclass
from functools import cache
from html import escape
from importlib.resources import files
from typing import Any

from fastapi import APIRouter, FastAPI, HTTPException, Request
from fastapi.responses import HTMLResponse, JSONResponse, Response, StreamingResponse

from authapi.api.route import add_routes
from authapi.rate_limit import LimitedRoute, limits

DOCS_CSP = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; "
    "font-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'"
)
PIECE_BYTES = 32 * 1024
PASSWORD_SCHEME = "OAuth2PasswordBearer"
BEARER_SCHEME = "BearerToken"

# The allow-list of what is served: a name that is not a key here is a 404, so no path can be climbed.
_MEDIA_TYPES = {
    "docs.css": "text/css; charset=utf-8",
    "favicon-16x16.png": "image/png",
    "favicon-32x32.png": "image/png",
    "redoc-init.js": "text/javascript; charset=utf-8",
    "redoc.standalone.js": "text/javascript; charset=utf-8",
    "redoc.standalone.js.LICENSE.txt": "text/plain; charset=utf-8",
    "swagger-init.js": "text/javascript; charset=utf-8",
    "swagger-ui-bundle.js": "text/javascript; charset=utf-8",
    "swagger-ui-bundle.js.LICENSE.txt": "text/plain; charset=utf-8",
    "swagger-ui.css": "text/css; charset=utf-8",
}

router = APIRouter(include_in_schema=False, route_class=LimitedRoute)


@dataclass(frozen=True, slots=True)
class Asset:
    """One served file: its bytes, its media type and the SHA-256 of the bytes in hex."""

    content: bytes
    media_type: str
    sha256: str


@cache
def load_assets() -> dict[str, Asset]:
    """Read every served file (3 MB) into memory, once a process; keys are file names."""
    folder = files("authapi") / "static" / "docs"
    assets = {}
    for name, media_type in _MEDIA_TYPES.items():
        content = (folder / name).read_bytes()
        assets[name] = Asset(content, media_type, hashlib.sha256(content).hexdigest())
    return assets


def redoc_csp(*, nonce: str) -> str:
    """Return DOCS_CSP with `nonce` allowed for styles: ReDoc writes its own `<style>` elements."""
    return DOCS_CSP.replace("style-src 'self'", f"style-src 'self' 'nonce-{nonce}'")


def add_bearer_alternative(schema: dict[str, Any]) -> dict[str, Any]:
    """Return a copy of the OpenAPI document in which a pasted access token does wherever a login does.

    Every requirement of OAuth2PasswordBearer gets a twin that asks for the HTTP bearer scheme instead; a list
    of requirements means "any of these" (OpenAPI 3.1, Operation Object). A second time changes nothing.
    """
    document = deepcopy(schema)
    schemes = document.get("components", {}).get("securitySchemes", {})
    if PASSWORD_SCHEME not in schemes:
        return document
    schemes[BEARER_SCHEME] = {
        "type": "http",
        "scheme": "bearer",
        "bearerFormat": "JWT",
        "description": "An access token that you already hold, pasted without the word `Bearer`.",
    }
    for path_item in document.get("paths", {}).values():
        for operation in path_item.values():
            # A path item also holds `summary`, `servers` and `parameters`, which are no operations.
            if isinstance(operation, dict) and "security" in operation:
                operation["security"] = _with_bearer(operation["security"])
    return document


def _with_bearer(requirements: list[dict[str, list[str]]]) -> list[dict[str, list[str]]]:
    result = list(requirements)
    for requirement in requirements:
        if PASSWORD_SCHEME in requirement:
            others = {name: scopes for name, scopes in requirement.items() if name != PASSWORD_SCHEME}
            # Only OAuth2 schemes name scopes.
            twin = {BEARER_SCHEME: [], **others}
            if twin not in result:
                result.append(twin)
    return result


def _asset_url(name: str) -> str:
    # Relative, so that the pages also work behind a proxy that serves authapi below a path.
    return f"docs/assets/{name}?v={load_assets()[name].sha256[:12]}"


def _page(*, title: str, styles: list[str], body: str) -> str:
    links = "\n".join(f'<link rel="stylesheet" href="{_asset_url(name)}">' for name in styles)
    return f"""<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{escape(title)}</title>
<link rel="icon" type="image/png" sizes="32x32" href="{_asset_url("favicon-32x32.png")}">
<link rel="icon" type="image/png" sizes="16x16" href="{_asset_url("favicon-16x16.png")}">
{links}
</head>
<body>
<noscript><p>This page needs JavaScript. The same API is described in
<a href="openapi.json">openapi.json</a>.</p></noscript>
{body}
</body>
</html>
"""


@router.get("/docs")
@limits.public
async def swagger_ui(request: Request) -> HTMLResponse:
    """Serve the interactive reference; *Authorize* takes an e-mail and a password, or a pasted token."""
    page = _page(
        title=f"{request.app.title}: interactive API reference",
        styles=["swagger-ui.css", "docs.css"],
        body=f"""<main id="swagger-ui" data-openapi-url="openapi.json"></main>
<script src="{_asset_url("swagger-ui-bundle.js")}"></script>
<script src="{_asset_url("swagger-init.js")}"></script>""",
    )
    return HTMLResponse(page, headers={"Content-Security-Policy": DOCS_CSP, "Cache-Control": "no-cache"})


@router.get("/redoc")
@limits.public
async def redoc(request: Request) -> HTMLResponse:
    """Serve the reference for reading."""
    nonce = secrets.token_urlsafe(16)
    page = _page(
        title=f"{request.app.title}: API reference",
        styles=["docs.css"],
        body=f"""<main id="redoc" data-openapi-url="openapi.json"></main>
<script src="{_asset_url("redoc-init.js")}" nonce="{nonce}"></script>
<script src="{_asset_url("redoc.standalone.js")}"></script>""",
    )
    # no-store: a nonce that is used twice is none.
    headers = {"Content-Security-Policy": redoc_csp(nonce=nonce), "Cache-Control": "no-store"}
    return HTMLResponse(page, headers=headers)


@router.head("/openapi.json")
@router.get("/openapi.json")
@limits.public
async def openapi_document(request: Request) -> Response:
    """Serve the OpenAPI document."""
    state = request.app.state
    if not hasattr(state, "openapi_document"):
        # Once: it takes a twentieth of a second, in which nobody else is answered.
        state.openapi_document = bytes(JSONResponse(request.app.openapi()).body)
    content: bytes = state.openapi_document
    headers = {"Content-Length": str(len(content))}
    return StreamingResponse(_in_pieces(content), media_type="application/json", headers=headers)


@router.get("/docs/assets/{name}")
@limits.public
async def docs_asset(request: Request, name: str) -> Response:
    """Serve one file of the two pages, for a year: the pages ask for it by its digest.

    Raises: HTTPException 404 for a name that is not on the list.
    """
    asset = load_assets().get(name)
    if asset is None:
        raise HTTPException(status_code=404)
    etag = f'"{asset.sha256}"'
    headers = {"ETag": etag, "Cache-Control": "public, max-age=31536000, immutable"}
    if etag in request.headers.get("if-none-match", ""):
        return Response(status_code=304, headers=headers)
    headers["Content-Length"] = str(len(asset.content))
    return StreamingResponse(_in_pieces(asset.content), media_type=asset.media_type, headers=headers)


async def _in_pieces(content: bytes) -> AsyncIterator[bytes]:
    # As one piece, a megabyte would wait in memory for each of a thousand clients that read nothing.
    for start in range(0, len(content), PIECE_BYTES):
        yield content[start : start + PIECE_BYTES]


def mount_docs(app: FastAPI) -> None:
    """Add `/docs`, `/redoc`, their files and `/openapi.json` to an app made with None for these URLs."""
    load_assets()
    add_routes(app, router)
