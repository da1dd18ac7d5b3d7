"""The standard OAuth2 surface: token (RFC 6749), introspection (RFC 7662), revocation (RFC 7009)."""

from datetime import datetime
from typing import Annotated

from fastapi import APIRouter, Form, Request, Response

from authapi import errors
from authapi.api.client_authentication import PresentedCredentials, RequireClient, authenticate
from authapi.api.dependencies import DbSession, RuntimeDep
from authapi.api.oauth2_route import OAuth2Route
from authapi.database import hand_back_connection
from authapi.models import ServiceClient
from authapi.rate_limit import LimitName, limits
from authapi.runtime import Runtime
from authapi.schemas.oauth2 import (
    IntrospectionForm,
    IntrospectionResponse,
    RevocationForm,
    TokenForm,
    TokenResponse,
    oauth2_error_responses,
)
from authapi.scopes import parse_scope
from authapi.security.access_tokens import AccessTokenClaims
from authapi.services import client_credentials, introspection, token_refresh, token_revocation
from authapi.services import login as login_service
from authapi.services.client_credentials import ClientToken
from authapi.services.introspection import ActiveRefreshToken
from authapi.services.user_sessions import SessionTokens
from authapi.token_authority import FIRST_PARTY_CLIENT_ID

router = APIRouter(prefix="/api/auth", tags=["tokens"], route_class=OAuth2Route)

# What a grant is counted as, once the form tells which it is. A secret of 256 bits cannot be guessed, and one
# busy host may run many services: client_credentials has only the limit of services, like the routes below.
LIMITS: dict[str, LimitName | None] = {
    "password": "auth",
    "refresh_token": "refresh",
    "client_credentials": None,
}
OF_CLIENTS = (
    errors.InvalidOAuth2Request,
    errors.InvalidClient,
    errors.TooManyRequests,
    errors.DatabaseUnavailable,
    errors.RevocationsUnknown,
)


@router.post(
    "/token",
    summary="Exchange a grant for tokens",
    response_model_exclude_none=True,
    responses=oauth2_error_responses(
        errors.InvalidOAuth2Request,
        errors.UnsupportedGrantType,
        errors.InvalidScope,
        errors.InvalidCredentials,
        errors.AccountDisabled,
        errors.EmailNotVerified,
        errors.MfaRequired,
        errors.InvalidRefreshToken,
        errors.RefreshTokenReused,
        errors.InvalidClient,
        errors.TooManyAttempts,
        errors.TooManyRequests,
        errors.DatabaseUnavailable,
        errors.HashingBusy,
    ),
    # Users' grants need no client.
    openapi_extra={"security": [{}]},
)
@limits.service
async def token(
    request: Request,
    form: Annotated[TokenForm, Form()],
    credentials: PresentedCredentials,
    db: DbSession,
    runtime: RuntimeDep,
) -> TokenResponse:
    """Exchange a password, a refresh token or a client's own credentials for tokens.

    `password` and `refresh_token` work without client authentication; a library that needs a client id may
    say `authapi`. With it, the session belongs to the client, and its refresh tokens work for no other.
    `client_credentials` gives a service client a token in its own name and no refresh token.

    `scope` asks for less than everything. A client gets `invalid_scope` for what it does not have; what a
    user may not do is left out, and `scope` in the answer says what was granted, which may be nothing.
    """
    limit = LIMITS.get(form.grant_type, "public")
    if limit is not None:
        await limits.spend(request, name=limit)
    if not form.grant_type:
        raise errors.InvalidOAuth2Request("no grant_type")
    if form.grant_type not in LIMITS:
        raise errors.UnsupportedGrantType
    client = None if credentials is None else await authenticate(request, db, credentials)
    match form.grant_type:
        case "password":
            return token_response(await _password_grant(db, runtime, form, client))
        case "refresh_token":
            return token_response(await _refresh_grant(db, runtime, form, client))
        case _:
            return token_response(await _client_grant(db, runtime, form, client))


@router.post(
    "/introspect",
    summary="Ask what a token is worth",
    response_model_exclude_none=True,
    responses={
        200: {
            "content": {
                "application/json": {
                    "examples": {
                        "active": {"value": {"active": True, "scope": "users:read", "token_type": "Bearer"}},
                        "inactive": {"value": {"active": False}},
                    }
                }
            }
        },
        **oauth2_error_responses(*OF_CLIENTS),
    },
)
@limits.service
async def introspect(
    request: Request,
    form: Annotated[IntrospectionForm, Form()],
    client: RequireClient,
    db: DbSession,
    runtime: RuntimeDep,
) -> IntrospectionResponse:
    """Show a service client what an access token says, and whether it is valid at this moment (RFC 7662).

    The database is asked too, so a revocation shows at once. A refresh token is active for the client that
    got it; those of authapi's own logins are for every client that holds them. Whatever is not active,
    unknown or malformed is `{"active": false}`.
    """
    return _introspection(
        runtime, await introspection.introspect(db, runtime, client=client, token=form.token)
    )


@router.post(
    "/revoke",
    summary="Hand a token back",
    response_class=Response,
    responses={
        200: {"description": "It is not valid any more, if it ever was. The body is empty."},
        **oauth2_error_responses(*OF_CLIENTS, errors.UnauthorizedClient),
    },
)
@limits.service
async def revoke(
    request: Request,
    form: Annotated[RevocationForm, Form()],
    client: RequireClient,
    db: DbSession,
    runtime: RuntimeDep,
) -> Response:
    """End what a token speaks for, everywhere within a second (RFC 7009).

    A user's access token or refresh token ends its session with all of its tokens. A client's own token ends
    with those that it got before. A client may hand back tokens of its own and those of authapi's own
    logins; for a token of another client the answer is `unauthorized_client`.
    """
    await token_revocation.revoke_token(db, runtime, client=client, token=form.token)
    return Response()


async def _password_grant(
    db: DbSession, runtime: Runtime, form: TokenForm, client: ServiceClient | None
) -> SessionTokens:
    if not form.username or form.password is None:
        raise errors.InvalidOAuth2Request("no username or no password")
    scopes = parse_scope(form.scope)
    return await login_service.log_in(
        db,
        runtime,
        email=form.username,
        password=form.password.get_secret_value(),
        scope=None if scopes is None else " ".join(scopes),
        client_id=_session_client_id(client),
    )


async def _refresh_grant(
    db: DbSession, runtime: Runtime, form: TokenForm, client: ServiceClient | None
) -> SessionTokens:
    if not form.refresh_token:
        raise errors.InvalidOAuth2Request("no refresh_token")
    # `refresh` takes a connection of its own: requests that hold one and wait for another would exhaust the pool.
    await hand_back_connection(db)
    return await token_refresh.refresh(
        runtime,
        refresh_token=form.refresh_token,
        client_id=_session_client_id(client),
        scopes=parse_scope(form.scope),
    )


async def _client_grant(
    db: DbSession, runtime: Runtime, form: TokenForm, client: ServiceClient | None
) -> ClientToken:
    if client is None:
        raise errors.InvalidClient("no client authentication")
    return await client_credentials.issue_client_token(
        db, runtime, client=client, scopes=parse_scope(form.scope)
    )


def _session_client_id(client: ServiceClient | None) -> str:
    return FIRST_PARTY_CLIENT_ID if client is None else client.client_id


def token_response(tokens: SessionTokens | ClientToken) -> TokenResponse:
    """Show tokens in the words of RFC 6749 section 5.1."""
    return TokenResponse(
        access_token=tokens.access_token,
        expires_in=tokens.expires_in,
        scope=tokens.scope,
        refresh_token=tokens.refresh_token if isinstance(tokens, SessionTokens) else None,
    )


def _introspection(
    runtime: Runtime, found: AccessTokenClaims | ActiveRefreshToken | None
) -> IntrospectionResponse:
    if found is None:
        return IntrospectionResponse(active=False)
    if isinstance(found, ActiveRefreshToken):
        user_session = found.user_session
        return IntrospectionResponse(
            active=True,
            client_id=user_session.client_id,
            username=found.email,
            exp=_seconds(min(user_session.expires_at, user_session.idle_expires_at)),
            iat=_seconds(user_session.rotated_at),
            sub=str(user_session.user_id),
            iss=runtime.tokens.issuer,
            sid=str(user_session.id),
        )
    return IntrospectionResponse(
        active=True,
        scope=found.scope,
        client_id=found.client_id,
        username=found.email,
        token_type="Bearer",
        exp=found.exp,
        iat=found.iat,
        sub=found.sub,
        aud=found.aud,
        iss=found.iss,
        jti=found.jti,
        sid=found.sid,
        role=found.role,
        roles=None if found.is_service_client else list(found.roles),
        amr=None if found.is_service_client else list(found.amr),
        auth_time=found.auth_time,
    )


def _seconds(instant: datetime) -> int:
    return int(instant.timestamp())
