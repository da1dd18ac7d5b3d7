"""`/validate` and `/verify` in the OpenAPI document, which FastAPI writes for its own routes only."""

from copy import deepcopy
from typing import Any

from authapi.api.gateway import MISSING_CREDENTIALS, NOT_AUTHORIZED
from authapi.schemas.gateway import ValidatedClaims

_BEARER: list[dict[str, list[str]]] = [{"OAuth2PasswordBearer": []}]
_RETRY_AFTER = {"Retry-After": {"description": "Seconds to wait, at least 1.", "schema": {"type": "string"}}}
_CHALLENGE = {"WWW-Authenticate": {"description": "The challenge of RFC 6750.", "schema": {"type": "string"}}}
_IDENTITY = {
    "X-Auth-User-Id": "The user's id; empty for a service client.",
    "X-Auth-Client-Id": "The client that the token was issued to; `authapi` for logins of people.",
    "X-Auth-Email": "The e-mail, percent-encoded where it is not plain ASCII.",
    "X-Auth-Roles": "The user's roles, separated by commas.",
    "X-Auth-Scopes": "What the token may do, separated by spaces.",
}


def add_gateway_operations(schema: dict[str, Any]) -> dict[str, Any]:
    """Return a copy of the OpenAPI document with the operations of the plain routes."""
    document = deepcopy(schema)
    components = document.setdefault("components", {})
    model = ValidatedClaims.model_json_schema(ref_template="#/components/schemas/{model}")
    components.setdefault("schemas", {})["ValidatedClaims"] = model
    components.setdefault("securitySchemes", {})["HTTPBasic"] = {"type": "http", "scheme": "basic"}
    document.setdefault("paths", {}).update(
        {"/validate": {"post": _validate()}, "/verify": {"get": _verify()}}
    )
    return document


def _validate() -> dict[str, Any]:
    return {
        "tags": ["gateway"],
        "summary": "Check a token and show its claims",
        "description": "Answers from memory, without a look-up: revoked tokens are refused within a second.",
        "operationId": "validate",
        "security": _BEARER,
        "responses": {
            "200": {
                "description": "The claims.",
                "content": {"application/json": {"schema": {"$ref": "#/components/schemas/ValidatedClaims"}}},
            },
            "401": _text(f"`{MISSING_CREDENTIALS}`", _CHALLENGE),
            "403": _text(f"`{NOT_AUTHORIZED}`"),
            "429": _text("`rate_limited`, where the operator sets a limit.", _RETRY_AFTER),
            "503": _text("`revocations_unknown`: what cannot be checked is refused.", _RETRY_AFTER),
        },
    }


def _verify() -> dict[str, Any]:
    return {
        "tags": ["gateway"],
        "summary": "Check a token for a reverse proxy",
        "description": (
            "For nginx `auth_request`, Traefik forwardAuth, Caddy forward_auth. Envoy's ext_authz asks, with "
            "any method, below `/verify/`, where the query is the client's and is ignored. Answers from "
            "memory, without a body. An unknown or empty query parameter is refused."
        ),
        "operationId": "verify",
        "security": _BEARER,
        "parameters": [
            _parameter("role", "Lets in users with one of these roles, separated by commas.", "admin"),
            _parameter(
                "scope", "Lets in tokens with all of these scopes, separated by spaces.", "orders:read"
            ),
        ],
        "responses": {
            "200": {
                "description": "May pass.",
                "headers": {n: _header(text) for n, text in _IDENTITY.items()},
            },
            "400": {"description": "`bad_request`: an unknown or empty query parameter."},
            "401": {"description": "`not_authenticated`, `invalid_token`", "headers": _CHALLENGE},
            "403": {"description": "`permission_denied`, `insufficient_scope`"},
            "429": {
                "description": "`rate_limited`, where the operator sets a limit.",
                "headers": _RETRY_AFTER,
            },
            "503": {
                "description": "`revocations_unknown`: what cannot be checked is refused.",
                "headers": _RETRY_AFTER,
            },
        },
    }


def _parameter(name: str, description: str, example: str) -> dict[str, Any]:
    return {
        "name": name,
        "in": "query",
        "required": False,
        "description": f"{description} Repeated, each of them must hold.",
        "schema": {"type": "array", "items": {"type": "string", "minLength": 1, "maxLength": 2000}},
        "example": [example],
    }


def _header(description: str) -> dict[str, Any]:
    return {"description": description, "schema": {"type": "string"}}


def _text(description: str, headers: dict[str, Any] | None = None) -> dict[str, Any]:
    response: dict[str, Any] = {
        "description": description,
        "content": {"text/plain": {"schema": {"type": "string"}}},
    }
    return response | ({"headers": headers} if headers else {})
