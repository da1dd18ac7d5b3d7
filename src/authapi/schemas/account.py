"""Bodies of the routes with which users change what protects and names their account."""

from authapi.schemas.envelope import RequestModel
from authapi.schemas.fields import Email, FullName, OneTimeTokenField, Password


class ChangePasswordRequest(RequestModel):
    current_password: Password
    new_password: Password


class ChangeEmailRequest(RequestModel):
    new_email: Email
    password: Password


class OneTimeTokenRequest(RequestModel):
    token: OneTimeTokenField


class AcceptInvitationRequest(RequestModel):
    token: OneTimeTokenField
    password: Password
    full_name: FullName
