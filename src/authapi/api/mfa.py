"""The caller's second factor."""

from fastapi import APIRouter, Request

from authapi import errors
from authapi.api.dependencies import DbSession, FreshPrincipal, RuntimeDep
from authapi.api.error_sets import STEP_UP, STEP_UP_WITH_PASSWORD
from authapi.api.route import ApiRoute
from authapi.rate_limit import limits
from authapi.schemas.envelope import ApiResponse, error_responses
from authapi.schemas.mfa import (
    ConfirmTotpRequest,
    EnrollTotpRequest,
    RecoveryCodesResponse,
    RemoveTotpRequest,
    RenewRecoveryCodesRequest,
    TotpEnrollmentResponse,
)
from authapi.services import second_factor_administration

router = APIRouter(prefix="/api/auth/mfa", tags=["second factors"], route_class=ApiRoute)


@router.post(
    "/totp",
    summary="Enroll an authenticator app",
    responses=error_responses(errors.FactorExists, *STEP_UP_WITH_PASSWORD),
)
@limits.auth
async def enroll_totp(
    request: Request,
    body: EnrollTotpRequest,
    db: DbSession,
    runtime: RuntimeDep,
    principal: FreshPrincipal,
) -> ApiResponse[TotpEnrollmentResponse]:
    """Get a secret and its QR code for an authenticator app; a code then confirms it."""
    enrollment = await second_factor_administration.enroll(
        db, runtime, principal=principal, password=body.password.get_secret_value()
    )
    return ApiResponse(
        message="Scan the code with an authenticator app, then confirm with what it shows.",
        data=TotpEnrollmentResponse.model_validate(enrollment),
    )


@router.post(
    "/totp/confirm",
    summary="Confirm an authenticator app",
    responses=error_responses(errors.InvalidCode, errors.FactorNotFound, *STEP_UP),
)
@limits.auth
async def confirm_totp(
    request: Request,
    body: ConfirmTotpRequest,
    db: DbSession,
    runtime: RuntimeDep,
    principal: FreshPrincipal,
) -> ApiResponse[RecoveryCodesResponse]:
    """Make the authenticator app a second factor: every login asks for its code from now on.

    The recovery codes are shown this once. Each replaces a code of the app, once.
    """
    codes = await second_factor_administration.confirm(db, runtime, principal=principal, code=body.code)
    return ApiResponse(
        message="Logins ask for a code from now on. Keep the recovery codes somewhere safe.",
        data=RecoveryCodesResponse(recovery_codes=codes),
    )


@router.delete(
    "/totp",
    summary="Remove the authenticator app",
    responses=error_responses(errors.InvalidCode, errors.FactorNotFound, *STEP_UP_WITH_PASSWORD),
)
@limits.auth
async def remove_totp(
    request: Request,
    body: RemoveTotpRequest,
    db: DbSession,
    runtime: RuntimeDep,
    principal: FreshPrincipal,
) -> ApiResponse[None]:
    """Remove the second factor and its recovery codes."""
    await second_factor_administration.remove(
        db, runtime, principal=principal, password=body.password.get_secret_value(), code=body.code
    )
    return ApiResponse(message="Logins no longer ask for a code.", data=None)


@router.post(
    "/recovery-codes",
    summary="Renew the recovery codes",
    responses=error_responses(errors.FactorNotFound, *STEP_UP_WITH_PASSWORD),
)
@limits.auth
async def renew_recovery_codes(
    request: Request,
    body: RenewRecoveryCodesRequest,
    db: DbSession,
    runtime: RuntimeDep,
    principal: FreshPrincipal,
) -> ApiResponse[RecoveryCodesResponse]:
    """Get ten new recovery codes; the old ones stop working."""
    codes = await second_factor_administration.renew_recovery_codes(
        db, runtime, principal=principal, password=body.password.get_secret_value()
    )
    return ApiResponse(
        message="The old recovery codes no longer work.", data=RecoveryCodesResponse(recovery_codes=codes)
    )
