"""SQLAlchemy models, one file a table; importing this package registers them all."""

from authapi.models.audit_event import AuditAnchor, AuditEvent
from authapi.models.base import Base
from authapi.models.known_device import KnownDevice
from authapi.models.login_throttle import LoginThrottle
from authapi.models.mail_message import MailMessage
from authapi.models.one_time_token import OneTimeToken
from authapi.models.password_credential import PasswordCredential
from authapi.models.permission import Permission
from authapi.models.recovery_code import RecoveryCode
from authapi.models.revocation import Revocation, Revoked
from authapi.models.role import Role, role_permissions
from authapi.models.service_client import ServiceClient
from authapi.models.signing_key import SigningKey
from authapi.models.totp_credential import TotpCredential
from authapi.models.user import User, user_roles
from authapi.models.user_session import UserSession

__all__ = [
    "AuditAnchor",
    "AuditEvent",
    "Base",
    "KnownDevice",
    "LoginThrottle",
    "MailMessage",
    "OneTimeToken",
    "PasswordCredential",
    "Permission",
    "RecoveryCode",
    "Revocation",
    "Revoked",
    "Role",
    "ServiceClient",
    "SigningKey",
    "TotpCredential",
    "User",
    "UserSession",
    "role_permissions",
    "user_roles",
]
