"""The caller's own profile."""

from typing import Annotated, Any

from fastapi import APIRouter, Query, Request

from authapi import errors
from authapi.api.dependencies import CurrentPrincipal, DbSession, FreshPrincipal, RuntimeDep
from authapi.api.error_sets import AUTHENTICATED, STEP_UP_WITH_PASSWORD, WITH_BODY
from authapi.api.route import ApiRoute
from authapi.rate_limit import limits
from authapi.schemas.envelope import ApiResponse, Page, PagedResponse, error_responses
from authapi.schemas.pagination import PageQuery
from authapi.schemas.profile import (
    AccountEventResponse,
    DeleteProfileRequest,
    ProfileResponse,
    ReplaceProfileRequest,
    UpdateProfileRequest,
)
from authapi.services import account_deletion, audit_trail, authorization, profile, profile_export

router = APIRouter(prefix="/api/profile", tags=["users"], route_class=ApiRoute)


@router.get("", summary="Read your profile", responses=error_responses(*AUTHENTICATED))
@limits.user
async def read_profile(
    request: Request, db: DbSession, principal: CurrentPrincipal
) -> ApiResponse[ProfileResponse]:
    """Read your account as it is now, whatever your token was issued with."""
    user = await authorization.get_active_user(db, principal)
    return ApiResponse(message="This is your profile.", data=ProfileResponse.model_validate(user))


@router.get(
    "/activity",
    summary="See what happened to your account",
    responses=error_responses(*AUTHENTICATED, errors.ValidationFailed, errors.InvalidCursor),
)
@limits.user
async def list_activity(
    request: Request, query: Annotated[PageQuery, Query()], db: DbSession, principal: CurrentPrincipal
) -> PagedResponse[AccountEventResponse]:
    """List the security events of your own account, the newest first."""
    user = await authorization.get_active_user(db, principal)
    page = await audit_trail.list_activity(db, user_id=user.id, cursor=query.cursor, limit=query.limit)
    return PagedResponse(
        message="This is what happened to your account.",
        data=[AccountEventResponse.model_validate(event) for event in page.items],
        page=Page(next_cursor=page.next_cursor, limit=page.limit),
    )


@router.get("/export", summary="Get all your data", responses=error_responses(*AUTHENTICATED))
@limits.user
async def export_profile(
    request: Request, db: DbSession, principal: CurrentPrincipal
) -> ApiResponse[dict[str, Any]]:
    """Get everything that is stored about you, table by table, without hashes and keys."""
    return ApiResponse(
        message="This is everything that is stored about you.",
        data=await profile_export.export_data(db, principal=principal),
    )


@router.put("", summary="Replace your profile", responses=error_responses(*AUTHENTICATED, *WITH_BODY))
@limits.user
async def replace_profile(
    request: Request, body: ReplaceProfileRequest, db: DbSession, principal: CurrentPrincipal
) -> ApiResponse[ProfileResponse]:
    """Set every field of your profile; a `phone` of null removes the number."""
    user = await profile.update_profile(db, principal, changes=body.model_dump())
    return ApiResponse(message="Your profile is saved.", data=ProfileResponse.model_validate(user))


@router.patch(
    "", summary="Change parts of your profile", responses=error_responses(*AUTHENTICATED, *WITH_BODY)
)
@limits.user
async def update_profile(
    request: Request, body: UpdateProfileRequest, db: DbSession, principal: CurrentPrincipal
) -> ApiResponse[ProfileResponse]:
    """Set the fields that you send and leave the others as they are."""
    user = await profile.update_profile(db, principal, changes=body.model_dump(exclude_unset=True))
    return ApiResponse(message="Your profile is saved.", data=ProfileResponse.model_validate(user))


@router.delete(
    "",
    summary="Delete your account",
    responses=error_responses(errors.LastAdmin, *STEP_UP_WITH_PASSWORD),
)
@limits.auth
async def delete_profile(
    request: Request,
    body: DeleteProfileRequest,
    db: DbSession,
    runtime: RuntimeDep,
    principal: FreshPrincipal,
) -> ApiResponse[None]:
    """Delete your account and all of its sessions, after checking your password.

    The last administrator cannot leave.
    """
    await account_deletion.delete_own_account(
        db, runtime, principal=principal, password=body.password.get_secret_value()
    )
    return ApiResponse(message="Your account is deleted.", data=None)
