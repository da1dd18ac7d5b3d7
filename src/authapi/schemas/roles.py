"""Bodies of the administration of roles."""

from datetime import datetime
from typing import Annotated
from uuid import UUID

from pydantic import Field, StringConstraints

from authapi.schemas.envelope import RequestModel, ResponseModel
from authapi.schemas.permissions import Description, PermissionName

RoleName = Annotated[
    str,
    StringConstraints(min_length=2, max_length=63, pattern=r"^[a-z][a-z0-9_-]{1,62}$"),
    Field(examples=["support"]),
]
Rank = Annotated[
    int,
    Field(
        ge=1,
        le=99,
        description="Which of a user's roles is the strongest: `user` has 10, `auditor` 50, `admin` 100.",
        examples=[20],
    ),
]
PermissionNames = Annotated[list[PermissionName], Field(max_length=200, examples=[["users:read"]])]


class RoleResponse(ResponseModel):
    id: UUID
    name: str = Field(examples=["support"])
    description: str
    rank: int
    is_built_in: bool = Field(description="Of a built-in role only `requires_second_factor` can be changed.")
    requires_second_factor: bool = Field(description="In force only in logins with a second factor.")
    permissions: list[str] = Field(examples=[["users:read"]])
    created_at: datetime
    updated_at: datetime


class CreateRoleRequest(RequestModel):
    name: RoleName
    description: Description = ""
    rank: Rank = 20
    permissions: PermissionNames = Field(default_factory=list)
    requires_second_factor: bool = False


class UpdateRoleRequest(RequestModel):
    """Absent fields stay as they are; the name always does: tokens and services know the role by it."""

    description: Description = Field(default_factory=str)
    rank: Rank = Field(default_factory=int)
    permissions: PermissionNames = Field(default_factory=list, description="All that the role shall hold.")
    requires_second_factor: bool = Field(
        default_factory=bool, description="The one field that built-in roles let you change, too."
    )
