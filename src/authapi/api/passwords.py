"""Getting back in without the password."""

from fastapi import APIRouter, Request

from authapi import errors
from authapi.api.dependencies import DbSession, RuntimeDep
from authapi.api.route import ApiRoute
from authapi.rate_limit import limits
from authapi.schemas.envelope import ApiResponse, error_responses
from authapi.schemas.passwords import ForgotPasswordRequest, ResetPasswordRequest, ResetPasswordResponse
from authapi.services import password_reset

router = APIRouter(prefix="/api/auth/password", tags=["auth"], route_class=ApiRoute)


@router.post(
    "/forgot",
    status_code=202,
    summary="Ask for a link to reset the password",
    responses=error_responses(
        errors.MalformedRequest,
        errors.ValidationFailed,
        errors.InvalidEmail,
        errors.TooManyRequests,
        errors.DatabaseUnavailable,
    ),
)
@limits.auth
async def forgot_password(
    request: Request, body: ForgotPasswordRequest, db: DbSession, runtime: RuntimeDep
) -> ApiResponse[None]:
    """Mail a link to the owner of an account; the earlier ones no longer work.

    The answer is the same for addresses without an account and for those that had too many mails within the
    hour.
    """
    await password_reset.request_reset(db, runtime, email=body.email)
    return ApiResponse(message="If this address has an account, a mail is on its way.", data=None)


@router.post(
    "/reset",
    summary="Choose a new password with a mailed link",
    responses=error_responses(
        errors.MalformedRequest,
        errors.InvalidOneTimeToken,
        errors.ValidationFailed,
        errors.WeakPassword,
        errors.TooManyRequests,
        errors.HashingBusy,
        errors.DatabaseUnavailable,
    ),
)
@limits.auth
async def reset_password(
    request: Request, body: ResetPasswordRequest, db: DbSession, runtime: RuntimeDep
) -> ApiResponse[ResetPasswordResponse]:
    """Replace the password with the token of the mail; ends every session and logs nobody in.

    A second factor stays enrolled. It goes, with everything else that was set up, if the address was not
    confirmed before: the reset confirms it.
    """
    device_token = await password_reset.reset(
        db, runtime, token=body.token, new_password=body.new_password.get_secret_value()
    )
    return ApiResponse(
        message="The password is changed. Log in with it.",
        data=ResetPasswordResponse(device_token=device_token),
    )
