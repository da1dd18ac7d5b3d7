"""Bodies of the second-factor routes."""

from pydantic import Field

from authapi.schemas.envelope import RequestModel, ResponseModel
from authapi.schemas.fields import Code, Password


class EnrollTotpRequest(RequestModel):
    password: Password


class ConfirmTotpRequest(RequestModel):
    code: Code


class RemoveTotpRequest(RequestModel):
    password: Password
    code: Code


class RenewRecoveryCodesRequest(RequestModel):
    password: Password


class TotpEnrollmentResponse(ResponseModel):
    """Shown this once."""

    secret: str = Field(description="In base32, for typing in by hand.")
    otpauth_uri: str = Field(description="What the QR code holds.")
    qr_svg: str = Field(description="An SVG document.")


class RecoveryCodesResponse(ResponseModel):
    """Shown this once; each works once."""

    recovery_codes: list[str]
