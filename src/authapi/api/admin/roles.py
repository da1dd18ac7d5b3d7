"""Administration of roles."""

from uuid import UUID

from fastapi import Request

from authapi import errors
from authapi.api.admin.guards import (
    READ_ERRORS,
    WRITE_ERRORS,
    RequireRolesRead,
    RequireRolesWrite,
    admin_router,
)
from authapi.api.dependencies import DbSession, RuntimeDep
from authapi.models import Role
from authapi.rate_limit import limits
from authapi.schemas.envelope import ApiResponse, error_responses
from authapi.schemas.roles import CreateRoleRequest, RoleResponse, UpdateRoleRequest
from authapi.services import role_administration

router = admin_router("/roles")

CHANGE_ERRORS = (*WRITE_ERRORS, errors.RoleNotFound, errors.RoleIsBuiltIn, errors.CannotGrant)


@router.get("", summary="List roles", responses=error_responses(*READ_ERRORS))
@limits.admin
async def list_roles(
    request: Request, db: DbSession, caller: RequireRolesRead
) -> ApiResponse[list[RoleResponse]]:
    """List all roles with their permissions, the strongest first."""
    found = await role_administration.list_roles(db, caller)
    return ApiResponse(message="These are the roles.", data=[role_response(role) for role in found])


@router.post(
    "",
    summary="Create a role",
    responses=error_responses(
        *WRITE_ERRORS,
        errors.CannotGrant,
        errors.RoleExists,
        errors.CatalogueFull,
        errors.RolesExceedToken,
        errors.UnknownPermission,
    ),
)
@limits.admin
async def create_role(
    request: Request, body: CreateRoleRequest, db: DbSession, caller: RequireRolesWrite
) -> ApiResponse[RoleResponse]:
    """Create a role with permissions, all of which you must have yourself."""
    role = await role_administration.create_role(
        db,
        caller,
        name=body.name,
        description=body.description,
        rank=body.rank,
        permission_names=body.permissions,
        requires_second_factor=body.requires_second_factor,
    )
    return ApiResponse(message="The role is created.", data=role_response(role))


@router.get("/{role_id}", summary="Read a role", responses=error_responses(*READ_ERRORS, errors.RoleNotFound))
@limits.admin
async def read_role(
    request: Request, role_id: UUID, db: DbSession, caller: RequireRolesRead
) -> ApiResponse[RoleResponse]:
    """Read one role with its permissions."""
    role = await role_administration.get_role(db, caller, role_id=role_id)
    return ApiResponse(message="This is the role.", data=role_response(role))


@router.patch(
    "/{role_id}",
    summary="Change a role",
    responses=error_responses(*CHANGE_ERRORS, errors.RolesExceedToken, errors.UnknownPermission),
)
@limits.admin
async def update_role(
    request: Request,
    role_id: UUID,
    body: UpdateRoleRequest,
    db: DbSession,
    runtime: RuntimeDep,
    caller: RequireRolesWrite,
) -> ApiResponse[RoleResponse]:
    """Set the fields that you send and leave the others as they are.

    Whoever has the role may do what it allows from now on: if that is less than before, the access tokens
    of its holders end, and their clients have to refresh.
    """
    role = await role_administration.update_role(
        db, runtime, caller, role_id=role_id, changes=body.model_dump(exclude_unset=True)
    )
    return ApiResponse(message="The role is changed.", data=role_response(role))


@router.delete(
    "/{role_id}", summary="Delete a role", responses=error_responses(*CHANGE_ERRORS, errors.RoleInUse)
)
@limits.admin
async def delete_role(
    request: Request, role_id: UUID, db: DbSession, caller: RequireRolesWrite
) -> ApiResponse[None]:
    """Delete a role that nobody has."""
    await role_administration.delete_role(db, caller, role_id=role_id)
    return ApiResponse(message="The role is deleted.", data=None)


def role_response(role: Role) -> RoleResponse:
    """Show a role with its permissions by name."""
    return RoleResponse(
        id=role.id,
        name=role.name,
        description=role.description,
        rank=role.rank,
        is_built_in=role.is_built_in,
        requires_second_factor=role.requires_second_factor,
        permissions=[permission.name for permission in role.permissions],
        created_at=role.created_at,
        updated_at=role.updated_at,
    )
