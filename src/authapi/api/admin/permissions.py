"""Administration of permissions."""

from uuid import UUID

from fastapi import Request

from authapi import errors
from authapi.api.admin.guards import READ_ERRORS, WRITE_ERRORS, RequireRolesRead, admin_router
from authapi.api.dependencies import DbSession, RequireAdmin
from authapi.rate_limit import limits
from authapi.schemas.envelope import ApiResponse, error_responses
from authapi.schemas.permissions import CreatePermissionRequest, PermissionResponse, UpdatePermissionRequest
from authapi.services import permission_administration

router = admin_router("/permissions")

CHANGE_ERRORS = (*WRITE_ERRORS, errors.PermissionNotFound, errors.PermissionIsBuiltIn)


@router.get("", summary="List permissions", responses=error_responses(*READ_ERRORS))
@limits.admin
async def list_permissions(
    request: Request, db: DbSession, caller: RequireRolesRead
) -> ApiResponse[list[PermissionResponse]]:
    """List all permissions by name, authapi's own and those of your services."""
    found = await permission_administration.list_permissions(db, caller)
    return ApiResponse(
        message="These are the permissions.",
        data=[PermissionResponse.model_validate(permission) for permission in found],
    )


@router.post(
    "",
    summary="Create a permission",
    responses=error_responses(*WRITE_ERRORS, errors.PermissionExists, errors.CatalogueFull),
)
@limits.admin
async def create_permission(
    request: Request, body: CreatePermissionRequest, db: DbSession, caller: RequireAdmin
) -> ApiResponse[PermissionResponse]:
    """Create a permission for a service of yours, which finds it in the `scope` of access tokens."""
    permission = await permission_administration.create_permission(
        db, caller, name=body.name, description=body.description
    )
    return ApiResponse(
        message="The permission is created.", data=PermissionResponse.model_validate(permission)
    )


@router.get(
    "/{permission_id}",
    summary="Read a permission",
    responses=error_responses(*READ_ERRORS, errors.PermissionNotFound),
)
@limits.admin
async def read_permission(
    request: Request, permission_id: UUID, db: DbSession, caller: RequireRolesRead
) -> ApiResponse[PermissionResponse]:
    """Read one permission."""
    permission = await permission_administration.get_permission(db, caller, permission_id=permission_id)
    return ApiResponse(message="This is the permission.", data=PermissionResponse.model_validate(permission))


@router.patch("/{permission_id}", summary="Describe a permission", responses=error_responses(*CHANGE_ERRORS))
@limits.admin
async def update_permission(
    request: Request, permission_id: UUID, body: UpdatePermissionRequest, db: DbSession, caller: RequireAdmin
) -> ApiResponse[PermissionResponse]:
    """Change what a permission of yours says about itself."""
    permission = await permission_administration.update_permission(
        db, caller, permission_id=permission_id, description=body.description
    )
    return ApiResponse(
        message="The permission is changed.", data=PermissionResponse.model_validate(permission)
    )


@router.delete(
    "/{permission_id}",
    summary="Delete a permission",
    responses=error_responses(*CHANGE_ERRORS, errors.PermissionInUse),
)
@limits.admin
async def delete_permission(
    request: Request, permission_id: UUID, db: DbSession, caller: RequireAdmin
) -> ApiResponse[None]:
    """Delete a permission that no role holds."""
    await permission_administration.delete_permission(db, caller, permission_id=permission_id)
    return ApiResponse(message="The permission is deleted.", data=None)
