"""Closed sets of values that are stored, sent or configured."""

from enum import StrEnum


class Environment(StrEnum):
    DEVELOPMENT = "development"
    PRODUCTION = "production"


class PasswordPolicy(StrEnum):
    CLASSIC = "classic"
    NIST = "nist"


class RegistrationMode(StrEnum):
    OPEN = "open"
    CLOSED = "closed"


class SigningAlgorithm(StrEnum):
    ES256 = "ES256"
    RS256 = "RS256"
    HS256 = "HS256"


class BuiltInRole(StrEnum):
    ADMIN = "admin"
    AUDITOR = "auditor"
    USER = "user"


class UserStatus(StrEnum):
    ACTIVE = "active"
    DISABLED = "disabled"


class UserSort(StrEnum):
    """Orders of the admin's user list; a leading minus means descending."""

    CREATED_AT = "created_at"
    CREATED_AT_DESC = "-created_at"
    EMAIL = "email"
    EMAIL_DESC = "-email"


class Permission(StrEnum):
    """Permissions that authapi's own routes ask for; installations may add others for their services."""

    USERS_READ = "users:read"
    USERS_WRITE = "users:write"
    ROLES_READ = "roles:read"
    ROLES_WRITE = "roles:write"
    AUDIT_READ = "audit:read"
    STATS_READ = "stats:read"

    @property
    def description(self) -> str:
        """What the permission allows, for people."""
        return _PERMISSION_DESCRIPTIONS[self]


_PERMISSION_DESCRIPTIONS = {
    Permission.USERS_READ: "List and read users",
    Permission.USERS_WRITE: "Create, change, disable and delete users, assign their roles",
    Permission.ROLES_READ: "List roles and permissions",
    Permission.ROLES_WRITE: "Create, change and delete roles and permissions",
    Permission.AUDIT_READ: "Read the audit trail",
    Permission.STATS_READ: "Read statistics",
}


class Outcome(StrEnum):
    SUCCESS = "success"
    FAILURE = "failure"


class AuditAction(StrEnum):
    """What an audit event records, named `object.verb` in the past tense."""

    USER_REGISTERED = "user.registered"
    USER_LOGIN_SUCCEEDED = "user.login.succeeded"
    USER_LOGIN_FAILED = "user.login.failed"
    USER_PROFILE_CHANGED = "user.profile.changed"
    USER_CREATED = "user.created"
    USER_UPDATED = "user.updated"
    USER_DELETED = "user.deleted"
    USER_DISABLED = "user.disabled"
    USER_ENABLED = "user.enabled"
    USER_ROLES_CHANGED = "user.roles.changed"
    USER_PASSWORD_REHASHED = "user.password.rehashed"
    ROLE_CREATED = "role.created"
    ROLE_UPDATED = "role.updated"
    ROLE_DELETED = "role.deleted"
    PERMISSION_CREATED = "permission.created"
    PERMISSION_UPDATED = "permission.updated"
    PERMISSION_DELETED = "permission.deleted"
    ACCESS_DENIED = "access.denied"
    ADMIN_LISTED = "admin.read"
    SIGNING_KEY_CREATED = "signing_key.created"
