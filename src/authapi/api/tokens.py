"""The OAuth2 token endpoint (RFC 6749)."""

import base64
import binascii
from typing import Annotated
from urllib.parse import unquote_plus

from fastapi import APIRouter, Form, Request

from authapi import errors
from authapi.api.dependencies import DbSession, RuntimeDep
from authapi.api.oauth2_route import OAuth2Route
from authapi.rate_limit import limits
from authapi.schemas.auth import OAuth2ErrorResponse, TokenForm, TokenResponse
from authapi.services import login as login_service
from authapi.services import token_refresh
from authapi.services.user_sessions import SessionTokens

router = APIRouter(prefix="/api/auth", tags=["tokens"], route_class=OAuth2Route)


@router.post(
    "/token",
    summary="Exchange a grant for tokens",
    responses={
        status: {"model": OAuth2ErrorResponse, "description": text}
        for status, text in {
            400: "`invalid_request`, `invalid_grant`, `invalid_scope`, `unsupported_grant_type`",
            401: "`invalid_client`",
            429: "`temporarily_unavailable`: too many requests",
            503: "`temporarily_unavailable`: the service is too busy or cannot reach its database",
        }.items()
    },
)
@limits.refresh
async def token(
    request: Request, form: Annotated[TokenForm, Form()], db: DbSession, runtime: RuntimeDep
) -> TokenResponse:
    """Exchange a password or a refresh token for a pair of tokens, as OAuth2 clients and *Authorize* do.

    `scope` narrows what the token may do; without it the token may do all that the user may.
    """
    if form.client_id or form.client_secret or _has_basic_credentials(request):
        raise errors.InvalidClient("no client is registered")
    if not form.grant_type:
        raise errors.InvalidOAuth2Request("no grant_type")
    if form.grant_type == "refresh_token":
        if not form.refresh_token:
            raise errors.InvalidOAuth2Request("no refresh_token")
        return token_response(await token_refresh.refresh(db, runtime, refresh_token=form.refresh_token))
    if form.grant_type != "password":
        raise errors.UnsupportedGrantType(form.grant_type)
    await limits.spend(request, name="auth")
    if not form.username or form.password is None:
        raise errors.InvalidOAuth2Request("no username or no password")
    tokens = await login_service.log_in(
        db,
        runtime,
        email=form.username,
        password=form.password.get_secret_value(),
        scope=form.scope or None,
    )
    return token_response(tokens)


def token_response(tokens: SessionTokens) -> TokenResponse:
    """Show tokens in the words of RFC 6749 section 5.1."""
    return TokenResponse(
        access_token=tokens.access_token,
        expires_in=tokens.expires_in,
        scope=tokens.scope,
        refresh_token=tokens.refresh_token,
    )


def _has_basic_credentials(request: Request) -> bool:
    """Whether the client authenticates; Swagger UI sends an empty pair, which counts as none."""
    scheme, _, encoded = request.headers.get("Authorization", "").partition(" ")
    if scheme.lower() != "basic":
        return False
    try:
        decoded = base64.b64decode(encoded, validate=True).decode()
    except (binascii.Error, UnicodeDecodeError):
        raise errors.InvalidClient("unreadable Basic credentials") from None
    return any(unquote_plus(part) for part in decoded.split(":", 1))
