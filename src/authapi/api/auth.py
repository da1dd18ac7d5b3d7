"""Registration, login and the caller's own identity."""

from fastapi import APIRouter, Request, Response

from authapi import errors
from authapi.api import token_cookies
from authapi.api.dependencies import CurrentPrincipal, DbSession, RuntimeDep
from authapi.api.route import ApiRoute, hashes_password
from authapi.api.token_cookies import BodyTokens
from authapi.enums import Factor, TokenDelivery
from authapi.languages import negotiate_locale
from authapi.principal import Principal
from authapi.rate_limit import limits
from authapi.schemas.auth import (
    LoginRequest,
    MeResponse,
    MfaChallengeResponse,
    MfaLoginRequest,
    RegisterRequest,
    SessionResponse,
)
from authapi.schemas.envelope import ApiResponse, error_responses
from authapi.services import login as login_service
from authapi.services import registration, second_factor_login
from authapi.services.user_sessions import SessionTokens

router = APIRouter(prefix="/api/auth", tags=["auth"], route_class=ApiRoute)


# First, because it is asked for most and FastAPI looks for a route from the top.
@router.get(
    "/me",
    summary="Who am I?",
    responses=error_responses(
        errors.NotAuthenticated,
        errors.InvalidAccessToken,
        errors.TooManyRequests,
        errors.RevocationsUnknown,
    ),
)
@limits.user
async def me(request: Request, principal: CurrentPrincipal) -> ApiResponse[MeResponse]:
    """Read the caller's identity from the token alone, without the database."""
    return me_answer(principal)


def me_answer(principal: Principal) -> ApiResponse[MeResponse]:
    """Show a caller who the token speaks for."""
    return ApiResponse(
        message="This is who the token speaks for.",
        data=MeResponse(
            user_id=principal.user_id,
            email=principal.email,
            role=principal.role,
            roles=list(principal.roles),
            scopes=sorted(principal.scopes),
            session_id=principal.user_session_id,
            amr=list(principal.amr),
            auth_time=principal.auth_time,
        ),
    )


def session_response(tokens: SessionTokens, delivered: BodyTokens) -> SessionResponse:
    """Show a fresh session to its owner."""
    user = tokens.user
    return SessionResponse(
        user_id=user.id,
        email=user.email,
        full_name=user.full_name,
        role=tokens.role,
        token=tokens.access_token,
        access_token=tokens.access_token,
        expires_in=tokens.expires_in,
        refresh_token=delivered.refresh_token,
        device_token=delivered.device_token,
    )


@router.post(
    "/register",
    status_code=201,
    summary="Create an account",
    responses=error_responses(
        errors.MalformedRequest,
        errors.RegistrationClosed,
        errors.EmailTaken,
        errors.ValidationFailed,
        errors.InvalidEmail,
        errors.WeakPassword,
        errors.TooManyRequests,
        errors.HashingBusy,
        errors.DatabaseUnavailable,
    )
    | {
        202: {
            "model": ApiResponse[None],
            "description": "A mail with a link is on its way: the address has to be confirmed first.",
        }
    },
)
@limits.auth
@hashes_password
async def register(
    request: Request, response: Response, body: RegisterRequest, db: DbSession, runtime: RuntimeDep
) -> ApiResponse[SessionResponse | None]:
    """Create an account with the role `user` and log it in.

    Where addresses must be confirmed first the answer is 202 without data; in the mode `verify_first` it is
    the same for addresses that have an account, whose owners get another mail.

    Passwords that are too short, too common or made of the e-mail or the name are refused, and each reason
    is named. Spellings of one address (`User@Example.com`, `user@example.com`) are one account.
    """
    tokens = await registration.register(
        db,
        runtime,
        email=body.email,
        password=body.password.get_secret_value(),
        full_name=body.full_name,
        phone=body.phone,
        locale=negotiate_locale(request.headers.get("Accept-Language")),
    )
    if tokens is None:
        response.status_code = 202
        return ApiResponse(message="Check your inbox, and confirm your address to go on.", data=None)
    return ApiResponse(
        message="Welcome. You are registered and logged in.",
        data=session_response(tokens, BodyTokens(tokens.refresh_token, tokens.device_token)),
    )


@router.post(
    "/login",
    summary="Log in",
    responses=error_responses(
        errors.MalformedRequest,
        errors.InvalidCredentials,
        errors.AccountDisabled,
        errors.EmailNotVerified,
        errors.ValidationFailed,
        errors.TooManyAttempts,
        errors.TooManyRequests,
        errors.HashingBusy,
        errors.DatabaseUnavailable,
    ),
)
@limits.auth
@hashes_password
async def login(
    request: Request, response: Response, body: LoginRequest, db: DbSession, runtime: RuntimeDep
) -> ApiResponse[SessionResponse | MfaChallengeResponse]:
    """Exchange e-mail and password for an access token and a refresh token.

    An unknown e-mail and a wrong password get the same answer in the same time. With a second factor enrolled
    the answer holds `mfa_required` and no tokens.
    """
    try:
        tokens = await login_service.log_in(
            db,
            runtime,
            email=body.email,
            password=body.password.get_secret_value(),
            device_token=body.device_token or token_cookies.read_device_token(request, runtime.settings),
        )
    except errors.MfaRequired as challenge:
        return ApiResponse(
            message="Now the code of your second factor.",
            data=MfaChallengeResponse(
                mfa_token=challenge.mfa_token, factors=[Factor(factor) for factor in challenge.factors]
            ),
        )
    delivered = token_cookies.deliver(
        response, runtime.settings, tokens, in_cookie=body.token_delivery is TokenDelivery.COOKIE
    )
    return ApiResponse(message="You are logged in.", data=session_response(tokens, delivered))


@router.post(
    "/login/mfa",
    summary="Complete a login with a second factor",
    responses=error_responses(
        errors.MalformedRequest,
        errors.InvalidMfaToken,
        errors.InvalidCode,
        errors.AccountDisabled,
        errors.ValidationFailed,
        errors.TooManyAttempts,
        errors.TooManyRequests,
        errors.DatabaseUnavailable,
    ),
)
@limits.auth
async def login_mfa(
    request: Request, response: Response, body: MfaLoginRequest, db: DbSession, runtime: RuntimeDep
) -> ApiResponse[SessionResponse]:
    """Exchange the `mfa_token` of a login and a code of the second factor for tokens."""
    tokens = await second_factor_login.complete(
        db,
        runtime,
        mfa_token=body.mfa_token,
        code=body.code,
        device_token=body.device_token or token_cookies.read_device_token(request, runtime.settings),
    )
    delivered = token_cookies.deliver(
        response, runtime.settings, tokens, in_cookie=body.token_delivery is TokenDelivery.COOKIE
    )
    return ApiResponse(message="You are logged in.", data=session_response(tokens, delivered))
