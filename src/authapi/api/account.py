"""Changing password and e-mail, and accepting an invitation."""

from fastapi import APIRouter, Request

from authapi import errors
from authapi.api.auth import session_response
from authapi.api.dependencies import DbSession, FreshPrincipal, RuntimeDep
from authapi.api.error_sets import STEP_UP_WITH_PASSWORD
from authapi.api.route import ApiRoute
from authapi.api.token_cookies import BodyTokens
from authapi.rate_limit import limits
from authapi.schemas.account import (
    AcceptInvitationRequest,
    ChangeEmailRequest,
    ChangePasswordRequest,
    OneTimeTokenRequest,
)
from authapi.schemas.auth import SessionResponse
from authapi.schemas.envelope import ApiResponse, error_responses
from authapi.services import email_change, invitations, password_change

router = APIRouter(prefix="/api/auth", tags=["account"], route_class=ApiRoute)

BY_TOKEN = (
    errors.MalformedRequest,
    errors.InvalidOneTimeToken,
    errors.ValidationFailed,
    errors.TooManyRequests,
    errors.DatabaseUnavailable,
)


@router.post(
    "/password/change",
    summary="Change your password",
    responses=error_responses(errors.WeakPassword, errors.Conflict, *STEP_UP_WITH_PASSWORD),
)
@limits.auth
async def change_password(
    request: Request,
    body: ChangePasswordRequest,
    db: DbSession,
    runtime: RuntimeDep,
    principal: FreshPrincipal,
) -> ApiResponse[None]:
    """Replace your password; your other devices are logged out and you are told by mail."""
    await password_change.change_password(
        db,
        runtime,
        principal=principal,
        current_password=body.current_password.get_secret_value(),
        new_password=body.new_password.get_secret_value(),
    )
    return ApiResponse(message="Your password is changed. Your other devices are logged out.", data=None)


@router.post(
    "/email/change",
    status_code=202,
    summary="Change your e-mail",
    responses=error_responses(errors.InvalidEmail, *STEP_UP_WITH_PASSWORD),
)
@limits.auth
async def change_email(
    request: Request,
    body: ChangeEmailRequest,
    db: DbSession,
    runtime: RuntimeDep,
    principal: FreshPrincipal,
) -> ApiResponse[None]:
    """Ask for another address: a link that is mailed there makes the change.

    The answer is the same whether or not the address has an account already.
    """
    await email_change.request_change(
        db,
        runtime,
        principal=principal,
        new_email=body.new_email,
        password=body.password.get_secret_value(),
    )
    return ApiResponse(message="Open the link that was mailed to the new address.", data=None)


@router.post("/email/change/confirm", summary="Confirm your new e-mail", responses=error_responses(*BY_TOKEN))
@limits.public
async def confirm_email_change(
    request: Request, body: OneTimeTokenRequest, db: DbSession, runtime: RuntimeDep
) -> ApiResponse[None]:
    """Make the new address the account's; the old one gets a link that undoes it for some days."""
    await email_change.confirm(db, runtime, token=body.token)
    return ApiResponse(message="Your e-mail is changed.", data=None)


@router.post("/email/change/undo", summary="Undo a change of e-mail", responses=error_responses(*BY_TOKEN))
@limits.public
async def undo_email_change(
    request: Request, body: OneTimeTokenRequest, db: DbSession, runtime: RuntimeDep
) -> ApiResponse[None]:
    """Give the account its old address back; all devices are logged out and a reset link is mailed."""
    await email_change.undo(db, runtime, token=body.token)
    return ApiResponse(
        message="Your old e-mail is back. Set a new password with the link that was mailed.", data=None
    )


@router.post(
    "/invitation/accept",
    status_code=201,
    summary="Accept an invitation",
    responses=error_responses(
        errors.WeakPassword,
        errors.EmailTaken,
        errors.RolesExceedToken,
        errors.HashingBusy,
        *BY_TOKEN,
    ),
)
@limits.auth
async def accept_invitation(
    request: Request, body: AcceptInvitationRequest, db: DbSession, runtime: RuntimeDep
) -> ApiResponse[SessionResponse]:
    """Make the account that an invitation is for, and log in."""
    tokens = await invitations.accept(
        db,
        runtime,
        token=body.token,
        password=body.password.get_secret_value(),
        full_name=body.full_name,
    )
    return ApiResponse(
        message="Welcome. Your account is ready.",
        data=session_response(tokens, BodyTokens(tokens.refresh_token, tokens.device_token)),
    )
