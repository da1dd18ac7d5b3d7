"""Bodies of the administration of permissions."""

from datetime import datetime
from typing import Annotated
from uuid import UUID

from pydantic import Field, StringConstraints

from authapi.schemas.envelope import RequestModel, ResponseModel

# A permission is also an OAuth2 scope, which has no spaces (RFC 6749 section 3.3).
PermissionName = Annotated[
    str,
    StringConstraints(min_length=3, max_length=64, pattern=r"^[a-z][a-z0-9-]*(:[a-z][a-z0-9-]*)+$"),
    Field(examples=["invoices:read"]),
]
Description = Annotated[
    str,
    StringConstraints(strip_whitespace=True, max_length=200, pattern=r"^[^\x00-\x1f\x7f]*$"),
    Field(examples=["Read invoices"]),
]


class PermissionResponse(ResponseModel):
    id: UUID
    name: str = Field(examples=["invoices:read"])
    description: str
    is_built_in: bool = Field(description="Built-in permissions guard authapi's own routes.")
    created_at: datetime
    updated_at: datetime


class CreatePermissionRequest(RequestModel):
    name: PermissionName
    description: Description = ""


class UpdatePermissionRequest(RequestModel):
    """The name stays, because tokens and services know the permission by it."""

    description: Description
