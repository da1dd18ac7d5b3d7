"""Bodies of the e-mail routes."""

from authapi.schemas.envelope import RequestModel
from authapi.schemas.fields import Email, OneTimeTokenField


class VerifyEmailRequest(RequestModel):
    token: OneTimeTokenField


class ResendVerificationRequest(RequestModel):
    email: Email
