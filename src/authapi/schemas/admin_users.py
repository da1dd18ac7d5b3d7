"""Bodies and queries of the administration of users."""

from datetime import datetime
from typing import Annotated
from uuid import UUID

from pydantic import Field

from authapi.enums import Locale, UserSort, UserStatus
from authapi.schemas.envelope import FromString, RequestModel, ResponseModel
from authapi.schemas.fields import Email, FullName, Password, Phone
from authapi.schemas.pagination import PageQuery
from authapi.schemas.roles import RoleName

RoleNames = Annotated[list[RoleName], Field(max_length=50, examples=[["user"]])]


class AdminUserQuery(PageQuery):
    q: str | None = Field(
        None,
        min_length=1,
        max_length=100,
        pattern=r"^[^\x00-\x1f\x7f]*$",
        description="How the e-mail or the full name begins, in upper or lower case; every character stands for"
        " itself. Where the database has pg_trgm, three letters or digits in a row are found anywhere in them.",
        examples=["ada"],
    )
    role: RoleName | None = Field(None, description="Only users with this role.")
    status: UserStatus | None = Field(None, description="Only these; without it deleted users are left out.")
    sort: UserSort = Field(UserSort.CREATED_AT_DESC, description="A minus means the last one first.")


class AdminUserResponse(ResponseModel):
    id: UUID
    email: str = Field(examples=["ada@example.com"])
    email_verified: bool
    full_name: str = Field(examples=["Ada Lovelace"])
    phone: str | None = Field(examples=["+44 20 7946 0018"])
    locale: Locale
    discoverable: bool = Field(description="Whether the public search finds this user by name.")
    status: UserStatus
    role: str | None = Field(description="The strongest of the roles.", examples=["user"])
    roles: list[str] = Field(description="The strongest one first.", examples=[["user"]])
    permissions: list[str] = Field(description="What the roles allow together.", examples=[["users:read"]])
    disabled_at: datetime | None
    created_at: datetime
    updated_at: datetime


class CreateUserRequest(RequestModel):
    email: Email
    full_name: FullName
    phone: Phone | None = None
    password: Password = Field(description="A first one; the user can change it, administrators cannot.")
    roles: RoleNames = Field(default_factory=lambda: ["user"])
    email_verified: bool = Field(False, description="Whether the address is known to be the user's.")


class UpdateUserRequest(RequestModel):
    """Absent fields stay as they are; only `phone` can be null, which removes it."""

    # Factories, because a default of None would also let an explicit null pass. `exclude_unset` leaves out
    # what they make.
    email: Email = Field(default_factory=str)
    full_name: FullName = Field(default_factory=str)
    phone: Phone | None = Field(default_factory=lambda: None)
    locale: FromString[Locale] = Field(default_factory=lambda: Locale.EN)
    discoverable: bool = Field(default_factory=bool)


class ReplaceRolesRequest(RequestModel):
    roles: RoleNames = Field(description="All that the user shall have; the others are removed.")


class InvitationRequest(RequestModel):
    email: Email
    roles: RoleNames = Field(default_factory=lambda: ["user"])
    locale: FromString[Locale] = Field(Locale.EN, description="The language of the mail and the account.")
