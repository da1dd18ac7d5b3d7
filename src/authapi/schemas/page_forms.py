"""Forms of the pages that mails lead to."""

from authapi.schemas.envelope import RequestModel
from authapi.schemas.fields import Email, FullName, OneTimeTokenField, Password


class TokenForm(RequestModel):
    token: OneTimeTokenField


class EmailForm(RequestModel):
    email: Email


class ResetPasswordForm(RequestModel):
    token: OneTimeTokenField
    new_password: Password


class AcceptInvitationForm(RequestModel):
    token: OneTimeTokenField
    full_name: FullName
    password: Password
