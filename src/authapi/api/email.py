"""The address of an account: proving that it is yours."""

from fastapi import APIRouter, Request

from authapi import errors
from authapi.api.dependencies import DbSession, RuntimeDep
from authapi.api.route import ApiRoute
from authapi.rate_limit import limits
from authapi.schemas.email import ResendVerificationRequest, VerifyEmailRequest
from authapi.schemas.envelope import ApiResponse, error_responses
from authapi.services import email_verification

router = APIRouter(prefix="/api/auth/email", tags=["auth"], route_class=ApiRoute)


@router.post(
    "/verify",
    summary="Confirm an e-mail address",
    responses=error_responses(
        errors.MalformedRequest,
        errors.InvalidOneTimeToken,
        errors.ValidationFailed,
        errors.TooManyRequests,
        errors.DatabaseUnavailable,
    ),
)
@limits.public
async def verify_email(request: Request, body: VerifyEmailRequest, db: DbSession) -> ApiResponse[None]:
    """Confirm the address of an account with the token of the mail that was sent to it.

    The mail's link leads to a page that does the same. Nobody is logged in by it.
    """
    await email_verification.verify(db, token=body.token)
    return ApiResponse(message="The e-mail address is confirmed.", data=None)


@router.post(
    "/verify/resend",
    status_code=202,
    summary="Ask for another confirmation mail",
    responses=error_responses(
        errors.MalformedRequest,
        errors.ValidationFailed,
        errors.InvalidEmail,
        errors.TooManyRequests,
        errors.DatabaseUnavailable,
    ),
)
@limits.auth
async def resend_verification(
    request: Request, body: ResendVerificationRequest, db: DbSession, runtime: RuntimeDep
) -> ApiResponse[None]:
    """Mail another link; the earlier ones no longer work.

    The answer is the same for addresses without an account, for confirmed ones, and for those that had too
    many mails within the hour.
    """
    await email_verification.resend(db, runtime, email=body.email)
    return ApiResponse(message="If this address waits to be confirmed, a mail is on its way.", data=None)
