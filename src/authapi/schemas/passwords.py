"""Bodies of the password routes."""

from pydantic import Field

from authapi.schemas.envelope import RequestModel, ResponseModel
from authapi.schemas.fields import Email, OneTimeTokenField, Password


class ForgotPasswordRequest(RequestModel):
    email: Email


class ResetPasswordRequest(RequestModel):
    token: OneTimeTokenField
    new_password: Password


class ResetPasswordResponse(ResponseModel):
    device_token: str = Field(
        description="Send it with the next login: it gets you in while strangers guess your password."
    )
