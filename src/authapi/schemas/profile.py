"""Bodies of the routes on one's own profile."""

from datetime import datetime
from uuid import UUID

from pydantic import Field

from authapi.enums import Locale
from authapi.schemas.envelope import FromString, RequestModel, ResponseModel
from authapi.schemas.fields import FullName, Password, Phone


class ProfileResponse(ResponseModel):
    id: UUID
    email: str
    email_verified: bool
    full_name: str
    phone: str | None
    locale: Locale
    discoverable: bool = Field(description="Whether the public search finds this user by name.")
    created_at: datetime
    updated_at: datetime


class ReplaceProfileRequest(RequestModel):
    full_name: FullName
    phone: Phone | None
    locale: FromString[Locale]
    discoverable: bool


class UpdateProfileRequest(RequestModel):
    """Absent fields stay as they are; only `phone` can be null, which removes it."""

    # Factories, because a default of None would also let an explicit null pass. `exclude_unset` leaves out
    # what they make.
    full_name: FullName = Field(default_factory=str)
    phone: Phone | None = Field(default_factory=lambda: None)
    locale: FromString[Locale] = Field(default_factory=lambda: Locale.EN)
    discoverable: bool = Field(default_factory=bool)


class DeleteProfileRequest(RequestModel):
    password: Password


class AccountEventResponse(ResponseModel):
    """A security event of the caller's own account."""

    id: UUID
    occurred_at: datetime
    action: str = Field(examples=["user.login.succeeded"])
    outcome: str = Field(examples=["success"])
    reason: str | None
    user_session_id: UUID | None
    ip: str | None
    user_agent: str | None
