"""Administration of users."""

from typing import Annotated
from uuid import UUID

from fastapi import Query, Request

from authapi import errors
from authapi.api.admin.guards import (
    READ_ERRORS,
    WRITE_ERRORS,
    RequireUsersRead,
    RequireUsersWrite,
    admin_router,
)
from authapi.api.dependencies import DbSession, RuntimeDep
from authapi.models import User
from authapi.rate_limit import limits
from authapi.schemas.admin_users import (
    AdminUserQuery,
    AdminUserResponse,
    CreateUserRequest,
    ReplaceRolesRequest,
    UpdateUserRequest,
)
from authapi.schemas.envelope import ApiResponse, Page, PagedResponse, error_responses
from authapi.services import user_administration, user_listing

router = admin_router("/users")

CHANGE_ERRORS = (*WRITE_ERRORS, errors.UserNotFound, errors.CannotManageUser)


@router.get("", summary="List users", responses=error_responses(*READ_ERRORS, errors.InvalidCursor))
@limits.admin
async def list_users(
    request: Request, query: Annotated[AdminUserQuery, Query()], db: DbSession, caller: RequireUsersRead
) -> PagedResponse[AdminUserResponse]:
    """Find users by their e-mail or full name, by role and by status.

    `q` is how either begins; on a PostgreSQL with pg_trgm from three letters or digits on any part of them.
    `page.next_cursor` leads to the next page, with the same filters and the same order.
    """
    page = await user_listing.list_users(
        db,
        caller,
        q=query.q,
        role=query.role,
        status=query.status,
        sort=query.sort,
        cursor=query.cursor,
        limit=query.limit,
    )
    return PagedResponse(
        message="These are the users.",
        data=[user_response(user) for user in page.items],
        page=Page(next_cursor=page.next_cursor, limit=page.limit),
    )


@router.post(
    "",
    summary="Create a user",
    responses=error_responses(
        *WRITE_ERRORS,
        errors.CannotGrant,
        errors.EmailTaken,
        errors.RolesExceedToken,
        errors.InvalidEmail,
        errors.WeakPassword,
        errors.UnknownRole,
        errors.HashingBusy,
    ),
)
@limits.admin
async def create_user(
    request: Request, body: CreateUserRequest, db: DbSession, runtime: RuntimeDep, caller: RequireUsersWrite
) -> ApiResponse[AdminUserResponse]:
    """Create an account with a first password, which the user should change.

    You can only assign roles whose permissions you have yourself.
    """
    user = await user_administration.create_user(
        db,
        runtime,
        caller,
        email=body.email,
        password=body.password.get_secret_value(),
        full_name=body.full_name,
        phone=body.phone,
        role_names=body.roles,
        email_verified=body.email_verified,
    )
    return ApiResponse(message="The user is created.", data=user_response(user))


@router.get("/{user_id}", summary="Read a user", responses=error_responses(*READ_ERRORS, errors.UserNotFound))
@limits.admin
async def read_user(
    request: Request, user_id: UUID, db: DbSession, caller: RequireUsersRead
) -> ApiResponse[AdminUserResponse]:
    """Read one account with its roles and what they allow."""
    user = await user_listing.get_user(db, caller, user_id=user_id)
    return ApiResponse(message="This is the user.", data=user_response(user))


@router.patch(
    "/{user_id}",
    summary="Change a user",
    responses=error_responses(*CHANGE_ERRORS, errors.EmailTaken, errors.InvalidEmail),
)
@limits.admin
async def update_user(
    request: Request,
    user_id: UUID,
    body: UpdateUserRequest,
    db: DbSession,
    runtime: RuntimeDep,
    caller: RequireUsersWrite,
) -> ApiResponse[AdminUserResponse]:
    """Set the fields that you send and leave the others as they are.

    Another e-mail address counts as not verified. Nobody sets somebody else's password.
    """
    user = await user_administration.update_user(
        db, runtime, caller, user_id=user_id, changes=body.model_dump(exclude_unset=True)
    )
    return ApiResponse(message="The user is changed.", data=user_response(user))


@router.delete(
    "/{user_id}", summary="Delete a user", responses=error_responses(*CHANGE_ERRORS, errors.LastAdmin)
)
@limits.admin
async def delete_user(
    request: Request, user_id: UUID, db: DbSession, runtime: RuntimeDep, caller: RequireUsersWrite
) -> ApiResponse[None]:
    """Take an account out of use. After the grace it is erased, all but its part of the audit trail; until then
    *enable* brings it back."""
    await user_administration.delete_user(db, runtime, caller, user_id=user_id)
    return ApiResponse(message="The user is deleted.", data=None)


@router.post(
    "/{user_id}/disable",
    summary="Lock a user out",
    responses=error_responses(*CHANGE_ERRORS, errors.LastAdmin),
)
@limits.admin
async def disable_user(
    request: Request, user_id: UUID, db: DbSession, runtime: RuntimeDep, caller: RequireUsersWrite
) -> ApiResponse[AdminUserResponse]:
    """Keep a user from logging in until enabled again."""
    user = await user_administration.disable_user(db, runtime, caller, user_id=user_id)
    return ApiResponse(message="The user is disabled.", data=user_response(user))


@router.post(
    "/{user_id}/enable",
    summary="Let a user in again",
    responses=error_responses(*CHANGE_ERRORS, errors.EmailTaken, errors.InvalidEmail),
)
@limits.admin
async def enable_user(
    request: Request, user_id: UUID, db: DbSession, runtime: RuntimeDep, caller: RequireUsersWrite
) -> ApiResponse[AdminUserResponse]:
    """Let a user log in again who was disabled, or deleted and not erased yet."""
    user = await user_administration.enable_user(db, runtime, caller, user_id=user_id)
    return ApiResponse(message="The user is enabled.", data=user_response(user))


@router.put(
    "/{user_id}/roles",
    summary="Assign roles to a user",
    responses=error_responses(
        *CHANGE_ERRORS, errors.CannotGrant, errors.LastAdmin, errors.RolesExceedToken, errors.UnknownRole
    ),
)
@limits.admin
async def replace_roles(
    request: Request,
    user_id: UUID,
    body: ReplaceRolesRequest,
    db: DbSession,
    runtime: RuntimeDep,
    caller: RequireUsersWrite,
) -> ApiResponse[AdminUserResponse]:
    """Give a user exactly these roles.

    You can only assign and remove roles whose permissions you have yourself.
    """
    user = await user_administration.replace_roles(
        db, runtime, caller, user_id=user_id, role_names=body.roles
    )
    return ApiResponse(message="The roles are assigned.", data=user_response(user))


def user_response(user: User) -> AdminUserResponse:
    """Show an account to an administrator."""
    return AdminUserResponse(
        id=user.id,
        email=user.email,
        email_verified=user.email_verified,
        full_name=user.full_name,
        phone=user.phone,
        locale=user.locale,
        discoverable=user.discoverable,
        status=user.status,
        role=next(iter(user.role_names), None),
        roles=list(user.role_names),
        permissions=list(user.permission_names),
        disabled_at=user.disabled_at,
        created_at=user.created_at,
        updated_at=user.updated_at,
    )
