"""Sessions: refreshing, ending and listing logins."""

from uuid import UUID

from fastapi import APIRouter, Request, Response

from authapi import errors
from authapi.api import token_cookies
from authapi.api.dependencies import CurrentPrincipal, DbSession, OptionalPrincipal, RuntimeDep
from authapi.api.error_sets import AUTHENTICATED
from authapi.api.route import ApiRoute
from authapi.rate_limit import limits
from authapi.schemas.auth import (
    LogoutAllResponse,
    ReauthenticateRequest,
    RefreshRequest,
    RefreshResponse,
    SessionInfo,
)
from authapi.schemas.envelope import ApiResponse, error_responses
from authapi.services import logout as logout_service
from authapi.services import reauthentication, token_refresh, user_sessions
from authapi.services.user_sessions import SessionTokens

router = APIRouter(prefix="/api/auth", tags=["sessions"], route_class=ApiRoute)


@router.post(
    "/refresh",
    summary="Get the next pair of tokens",
    responses=error_responses(
        errors.MalformedRequest,
        errors.InvalidRefreshToken,
        errors.RefreshTokenReused,
        errors.CrossSiteRequest,
        errors.ValidationFailed,
        errors.TooManyRequests,
        errors.DatabaseUnavailable,
    ),
)
@limits.refresh
async def refresh(
    request: Request,
    response: Response,
    runtime: RuntimeDep,
    body: RefreshRequest | None = None,
) -> ApiResponse[RefreshResponse]:
    """Exchange a refresh token, from the body or the cookie, for the session's next pair.

    A token works once. Used again within the grace (two tabs, a lost reply) it gets the current pair; later
    it ends the session, because somebody else may have used it.
    """
    from_body = body.refresh_token if body else None
    refresh_token = from_body or token_cookies.read_refresh_token(request, runtime.settings)
    if not refresh_token:
        raise errors.InvalidRefreshToken("none was sent")
    tokens = await token_refresh.refresh(runtime, refresh_token=refresh_token)
    delivered = token_cookies.deliver(response, runtime.settings, tokens, in_cookie=from_body is None)
    return ApiResponse(message="Here is the next pair.", data=pair_response(tokens, delivered.refresh_token))


@router.post(
    "/logout",
    summary="Log out",
    responses=error_responses(
        errors.MalformedRequest,
        errors.NotAuthenticated,
        errors.InvalidAccessToken,
        errors.InvalidRefreshToken,
        errors.CrossSiteRequest,
        errors.ValidationFailed,
        errors.TooManyRequests,
        errors.RevocationsUnknown,
        errors.DatabaseUnavailable,
    ),
)
@limits.user
async def logout(
    request: Request,
    response: Response,
    db: DbSession,
    runtime: RuntimeDep,
    principal: OptionalPrincipal,
    body: RefreshRequest | None = None,
) -> ApiResponse[None]:
    """End this session; its access tokens end with it, everywhere, within a second.

    The refresh token alone, in the body or the cookie, is enough when the access token has expired.
    """
    refresh_token = (body.refresh_token if body else None) or token_cookies.read_refresh_token(
        request, runtime.settings
    )
    await logout_service.log_out(db, runtime, principal=principal, refresh_token=refresh_token)
    token_cookies.clear_refresh_token(response, runtime.settings)
    return ApiResponse(message="You are logged out.", data=None)


@router.post("/logout-all", summary="Log out everywhere", responses=error_responses(*AUTHENTICATED))
@limits.user
async def logout_all(
    request: Request, response: Response, db: DbSession, runtime: RuntimeDep, principal: CurrentPrincipal
) -> ApiResponse[LogoutAllResponse]:
    """End every session of the caller, this one included."""
    ended = await logout_service.log_out_everywhere(db, runtime, user_id=principal.user_id)
    token_cookies.clear_refresh_token(response, runtime.settings)
    return ApiResponse(message="You are logged out everywhere.", data=LogoutAllResponse(ended_sessions=ended))


@router.post(
    "/reauthenticate",
    summary="Prove again who you are",
    responses=error_responses(
        errors.MalformedRequest,
        errors.InvalidCredentials,
        errors.InvalidCode,
        errors.SecondFactorRequired,
        errors.TooManyAttempts,
        errors.ValidationFailed,
        errors.HashingBusy,
        *AUTHENTICATED,
    ),
)
@limits.auth
async def reauthenticate(
    request: Request,
    body: ReauthenticateRequest,
    db: DbSession,
    runtime: RuntimeDep,
    principal: CurrentPrincipal,
) -> ApiResponse[RefreshResponse]:
    """Get an access token with a fresh `auth_time`, for what asks for a recent login.

    The session goes on; its refresh token stays the same.
    """
    tokens = await reauthentication.reauthenticate(
        db, runtime, principal=principal, password=body.password.get_secret_value(), code=body.code
    )
    return ApiResponse(message="Welcome back.", data=pair_response(tokens, None))


@router.get("/sessions", summary="List your logins", responses=error_responses(*AUTHENTICATED))
@limits.user
async def list_sessions(
    request: Request, db: DbSession, principal: CurrentPrincipal
) -> ApiResponse[list[SessionInfo]]:
    """List the devices on which the caller is logged in, the one used last first."""
    sessions = await user_sessions.list_sessions(db, user_id=principal.user_id)
    return ApiResponse(
        message="These are your logins.",
        data=[
            SessionInfo(
                id=session.id,
                created_at=session.created_at,
                last_used_at=session.last_used_at,
                expires_at=min(session.expires_at, session.idle_expires_at),
                ip=session.ip,
                user_agent=session.user_agent,
                amr=session.amr,
                current=session.id == principal.user_session_id,
            )
            for session in sessions
        ],
    )


@router.delete(
    "/sessions/{session_id}",
    summary="End one of your logins",
    responses=error_responses(errors.SessionNotFound, errors.ValidationFailed, *AUTHENTICATED),
)
@limits.user
async def end_session(
    request: Request, session_id: UUID, db: DbSession, runtime: RuntimeDep, principal: CurrentPrincipal
) -> ApiResponse[None]:
    """Log a device of the caller out, also this one."""
    await user_sessions.end_session(db, runtime, user_id=principal.user_id, user_session_id=session_id)
    return ApiResponse(message="That device is logged out.", data=None)


def pair_response(tokens: SessionTokens, refresh_token: str | None) -> RefreshResponse:
    """Show a pair; `refresh_token` is None where a cookie holds it or nothing has changed."""
    return RefreshResponse(
        token=tokens.access_token,
        access_token=tokens.access_token,
        expires_in=tokens.expires_in,
        refresh_token=refresh_token,
    )
