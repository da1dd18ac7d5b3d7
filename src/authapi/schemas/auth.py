"""Bodies of the authentication routes."""

from datetime import datetime
from typing import Literal
from uuid import UUID

from pydantic import Field

from authapi.enums import Factor, TokenDelivery
from authapi.schemas.envelope import FromString, RequestModel, ResponseModel
from authapi.schemas.fields import (
    Code,
    DeviceToken,
    Email,
    FullName,
    OneTimeTokenField,
    Password,
    Phone,
    RefreshToken,
)


class RegisterRequest(RequestModel):
    email: Email
    password: Password
    full_name: FullName
    phone: Phone | None = None


_DEVICE_TOKEN = Field(
    None, description="From an earlier login on this device; lets its owner in while strangers guess."
)


class LoginRequest(RequestModel):
    email: Email
    password: Password
    device_token: DeviceToken | None = _DEVICE_TOKEN
    token_delivery: FromString[TokenDelivery] = Field(
        TokenDelivery.BODY,
        description="`cookie` puts the refresh token into an HttpOnly cookie instead of the body.",
    )


class RefreshRequest(RequestModel):
    refresh_token: RefreshToken | None = Field(None, description="Leave it out where a cookie holds it.")


class ReauthenticateRequest(RequestModel):
    password: Password
    code: Code | None = Field(None, description="Of the second factor, if one is enrolled.")


class MfaLoginRequest(RequestModel):
    mfa_token: OneTimeTokenField
    code: Code
    device_token: DeviceToken | None = _DEVICE_TOKEN
    token_delivery: FromString[TokenDelivery] = Field(
        TokenDelivery.BODY,
        description="`cookie` puts the refresh token into an HttpOnly cookie instead of the body.",
    )


class MfaChallengeResponse(ResponseModel):
    """No tokens yet: a code of one of `factors` completes the login within five minutes."""

    mfa_required: Literal[True] = True
    mfa_token: str
    factors: list[Factor]


class SessionResponse(ResponseModel):
    """A fresh session; `token` repeats `access_token` under the name that older clients read."""

    user_id: UUID
    email: str
    full_name: str
    role: str | None = Field(description="The strongest of the user's roles.")
    token: str
    access_token: str
    token_type: Literal["bearer"] = "bearer"
    expires_in: int = Field(description="Seconds until the access token expires.")
    refresh_token: str | None = Field(description="Null where a cookie holds it.")
    device_token: str | None = Field(description="Send it with the next login. Null where a cookie holds it.")


class RefreshResponse(ResponseModel):
    """The session's next pair."""

    token: str
    access_token: str
    token_type: Literal["bearer"] = "bearer"
    expires_in: int = Field(description="Seconds until the access token expires.")
    refresh_token: str | None = Field(description="Null where a cookie holds it.")


class MeResponse(ResponseModel):
    user_id: UUID
    email: str
    role: str | None
    roles: list[str]
    scopes: list[str]
    session_id: UUID
    amr: list[str] = Field(description="How the user proved their identity (RFC 8176).")
    auth_time: datetime


class SessionInfo(ResponseModel):
    """One login on one device; holds nothing that could be used as a token."""

    id: UUID
    created_at: datetime
    last_used_at: datetime
    expires_at: datetime
    ip: str | None
    user_agent: str | None
    amr: list[str]
    current: bool = Field(description="Whether this request came from it.")


class LogoutAllResponse(ResponseModel):
    ended_sessions: int
