"""Helping a user in trouble, and inviting new ones."""

from uuid import UUID

from fastapi import Request

from authapi import errors
from authapi.api.admin.guards import WRITE_ERRORS, RequireUsersWrite, admin_router
from authapi.api.admin.users import user_response
from authapi.api.dependencies import DbSession, RuntimeDep
from authapi.rate_limit import limits
from authapi.schemas.admin_users import AdminUserResponse, InvitationRequest
from authapi.schemas.auth import LogoutAllResponse
from authapi.schemas.envelope import ApiResponse, error_responses
from authapi.services import invitations, user_interventions

router = admin_router()

ERRORS = (*WRITE_ERRORS, errors.UserNotFound, errors.CannotManageUser)


@router.post(
    "/users/{user_id}/logout", summary="Log a user out everywhere", responses=error_responses(*ERRORS)
)
@limits.admin
async def log_out_user(
    request: Request, user_id: UUID, db: DbSession, runtime: RuntimeDep, caller: RequireUsersWrite
) -> ApiResponse[LogoutAllResponse]:
    """End every session of a user; the access tokens end with them within a second."""
    ended = await user_interventions.log_out_user(db, runtime, caller, user_id=user_id)
    return ApiResponse(
        message="The user is logged out everywhere.", data=LogoutAllResponse(ended_sessions=ended)
    )


@router.post("/users/{user_id}/unlock", summary="End a user's throttling", responses=error_responses(*ERRORS))
@limits.admin
async def unlock_user(
    request: Request, user_id: UUID, db: DbSession, runtime: RuntimeDep, caller: RequireUsersWrite
) -> ApiResponse[AdminUserResponse]:
    """Forget the wrong passwords for which logins to the account are refused."""
    user = await user_interventions.unlock_user(db, runtime, caller, user_id=user_id)
    return ApiResponse(message="Logins are possible again.", data=user_response(user))


@router.post(
    "/users/{user_id}/password-reset",
    status_code=202,
    summary="Force a password reset",
    responses=error_responses(*ERRORS),
)
@limits.admin
async def force_password_reset(
    request: Request, user_id: UUID, db: DbSession, runtime: RuntimeDep, caller: RequireUsersWrite
) -> ApiResponse[None]:
    """End the user's sessions and mail a link to choose another password."""
    await user_interventions.force_password_reset(db, runtime, caller, user_id=user_id)
    return ApiResponse(message="The user gets a link by mail.", data=None)


@router.post(
    "/users/{user_id}/verify-email", summary="Vouch for a user's e-mail", responses=error_responses(*ERRORS)
)
@limits.admin
async def verify_user_email(
    request: Request, user_id: UUID, db: DbSession, caller: RequireUsersWrite
) -> ApiResponse[AdminUserResponse]:
    """Mark the address as verified without a mail."""
    user = await user_interventions.mark_email_verified(db, caller, user_id=user_id)
    return ApiResponse(message="The e-mail counts as verified.", data=user_response(user))


@router.post(
    "/users/{user_id}/mfa-reset",
    summary="Remove a user's lost second factor",
    responses=error_responses(*ERRORS, errors.FactorNotFound),
)
@limits.admin
async def reset_user_mfa(
    request: Request, user_id: UUID, db: DbSession, runtime: RuntimeDep, caller: RequireUsersWrite
) -> ApiResponse[None]:
    """Remove authenticator app and recovery codes of a user whose identity you have checked."""
    await user_interventions.reset_second_factor(db, runtime, caller, user_id=user_id)
    return ApiResponse(message="The second factor is removed.", data=None)


@router.post(
    "/invitations",
    status_code=202,
    summary="Invite somebody",
    responses=error_responses(
        *WRITE_ERRORS, errors.InvalidEmail, errors.EmailTaken, errors.UnknownRole, errors.CannotGrant
    ),
)
@limits.admin
async def invite_user(
    request: Request,
    body: InvitationRequest,
    db: DbSession,
    runtime: RuntimeDep,
    caller: RequireUsersWrite,
) -> ApiResponse[None]:
    """Mail a link with which the owner of the address makes an account, also where registration is closed."""
    await invitations.invite(db, runtime, caller, email=body.email, role_names=body.roles, locale=body.locale)
    return ApiResponse(message="The invitation is on its way.", data=None)
