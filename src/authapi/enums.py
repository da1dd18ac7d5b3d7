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
    # No answer tells whether an address has an account; users must verify theirs before they can log in.
    VERIFY_FIRST = "verify_first"
    CLOSED = "closed"


class SigningAlgorithm(StrEnum):
    ES256 = "ES256"
    RS256 = "RS256"
    HS256 = "HS256"


class TokenDelivery(StrEnum):
    """Where a refresh token goes: into the body, or into a cookie that scripts cannot read."""

    BODY = "body"
    COOKIE = "cookie"


class OneTimeTokenPurpose(StrEnum):
    """What a one-time token is good for; it opens no other door."""

    # Decides once about a new account: confirmed, or removed because "this was not me".
    VERIFY_EMAIL = "verify_email"
    RESET_PASSWORD = "reset_password"
    CHANGE_EMAIL = "change_email"
    UNDO_EMAIL_CHANGE = "undo_email_change"
    ACCEPT_INVITATION = "accept_invitation"
    # Not mailed: what a login returns instead of tokens when a second factor is enrolled.
    LOGIN_SECOND_FACTOR = "login_second_factor"


class MailKind(StrEnum):
    """The mails that authapi sends; each has a template of this name."""

    VERIFY_EMAIL = "verify_email"
    # To the owner of an address that somebody tried to register again.
    ALREADY_REGISTERED = "already_registered"
    RESET_PASSWORD = "reset_password"
    PASSWORD_CHANGED = "password_changed"
    CHANGE_EMAIL = "change_email"
    EMAIL_CHANGED = "email_changed"
    INVITATION = "invitation"
    ACCOUNT_DELETED = "account_deleted"
    SESSION_REUSED = "session_reused"
    FACTOR_ADDED = "factor_added"
    FACTOR_REMOVED = "factor_removed"
    RECOVERY_CODES_RENEWED = "recovery_codes_renewed"
    LOGIN_THROTTLED = "login_throttled"


class MailState(StrEnum):
    """Where a mail of the outbox stands; `dead` ones wait for `authapi mail retry`."""

    PENDING = "pending"
    SENT = "sent"
    DEAD = "dead"


class Factor(StrEnum):
    """Kinds of second factors."""

    TOTP = "totp"
    RECOVERY_CODE = "recovery_code"


class BuiltInRole(StrEnum):
    ADMIN = "admin"
    AUDITOR = "auditor"
    USER = "user"


class UserStatus(StrEnum):
    ACTIVE = "active"
    DISABLED = "disabled"
    DELETED = "deleted"


class Locale(StrEnum):
    """Languages that people can choose for what authapi writes to them."""

    EN = "en"
    DE = "de"
    FR = "fr"
    ES = "es"
    HI = "hi"


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
    REVOCATIONS_READ = "revocations:read"

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
    Permission.REVOCATIONS_READ: "Follow which sessions and users were revoked",
}


class RevocationReason(StrEnum):
    """Why a session ended before its time."""

    LOGOUT = "logout"
    LOGOUT_ALL = "logout_all"
    ENDED_BY_USER = "ended_by_user"
    ENDED_BY_ADMIN = "ended_by_admin"
    TOO_MANY_SESSIONS = "too_many_sessions"
    REFRESH_TOKEN_REUSED = "refresh_token_reused"
    USER_DISABLED = "user_disabled"
    USER_DELETED = "user_deleted"
    PASSWORD_CHANGED = "password_changed"
    # A client handed the token back (RFC 7009).
    TOKEN_REVOKED = "token_revoked"
    # The client to which the session belonged was revoked itself.
    CLIENT_REVOKED = "client_revoked"
    EMAIL_CHANGE_UNDONE = "email_change_undone"
    RESET_FORCED = "reset_forced"


class Outcome(StrEnum):
    SUCCESS = "success"
    FAILURE = "failure"


class AuditAction(StrEnum):
    """What an audit event records, named `object.verb` in the past tense."""

    USER_REGISTERED = "user.registered"
    # Somebody tried to register an address that has an account.
    USER_REGISTERED_AGAIN = "user.registered_again"
    # "This was not me": the owner of the address removed the unverified account.
    USER_DISOWNED = "user.disowned"
    USER_EMAIL_VERIFICATION_REQUESTED = "user.email.verification_requested"
    USER_EMAIL_VERIFIED = "user.email.verified"
    USER_PASSWORD_RESET_REQUESTED = "user.password.reset_requested"
    USER_PASSWORD_RESET = "user.password.reset"
    USER_LOGIN_SUCCEEDED = "user.login.succeeded"
    USER_LOGIN_FAILED = "user.login.failed"
    SECOND_FACTOR_FAILED = "user.second_factor.failed"
    SECOND_FACTOR_ADDED = "user.second_factor.added"
    SECOND_FACTOR_REMOVED = "user.second_factor.removed"
    SECOND_FACTOR_RESET = "user.second_factor.reset"
    RECOVERY_CODES_RENEWED = "user.recovery_codes.renewed"
    USER_LOGIN_THROTTLED = "user.login.throttled"
    USER_REAUTHENTICATED = "user.reauthenticated"
    USER_REAUTHENTICATION_FAILED = "user.reauthentication.failed"
    SESSION_REFRESH_REUSE_DETECTED = "session.refresh.reuse_detected"
    SESSION_REVOKED = "session.revoked"
    USER_PROFILE_CHANGED = "user.profile.changed"
    USER_CREATED = "user.created"
    USER_IMPORTED = "user.imported"
    USER_EXPORTED = "user.exported"
    USER_UPDATED = "user.updated"
    USER_DELETED = "user.deleted"
    USER_DELETION_REFUSED = "user.deletion.refused"
    USER_DISABLED = "user.disabled"
    USER_ENABLED = "user.enabled"
    USER_ROLES_CHANGED = "user.roles.changed"
    USER_PASSWORD_CHANGED = "user.password.changed"
    USER_PASSWORD_CHANGE_REFUSED = "user.password.change_refused"
    USER_EMAIL_CHANGE_REQUESTED = "user.email.change_requested"
    USER_EMAIL_CHANGE_REFUSED = "user.email.change_refused"
    USER_EMAIL_CHANGED = "user.email.changed"
    USER_EMAIL_CHANGE_UNDONE = "user.email.change_undone"
    USER_INVITED = "user.invited"
    USER_DATA_EXPORTED = "user.data.exported"
    USER_ERASED = "user.erased"
    USER_UNLOCKED = "user.unlocked"
    USER_LOGGED_OUT_BY_ADMIN = "user.logged_out_by_admin"
    USER_RESET_FORCED = "user.password.reset_forced"
    USER_EMAIL_MARKED_VERIFIED = "user.email.marked_verified"
    USER_PASSWORD_REHASHED = "user.password.rehashed"
    ROLE_CREATED = "role.created"
    ROLE_UPDATED = "role.updated"
    ROLE_DELETED = "role.deleted"
    PERMISSION_CREATED = "permission.created"
    PERMISSION_UPDATED = "permission.updated"
    PERMISSION_DELETED = "permission.deleted"
    ACCESS_DENIED = "access.denied"
    USERS_LISTED = "admin.users.listed"
    USER_READ = "admin.user.read"
    ROLES_LISTED = "admin.roles.listed"
    ROLE_READ = "admin.role.read"
    PERMISSIONS_LISTED = "admin.permissions.listed"
    PERMISSION_READ = "admin.permission.read"
    AUDIT_EVENTS_LISTED = "admin.audit_events.listed"
    STATISTICS_READ = "admin.statistics.read"
    SIGNING_KEY_CREATED = "signing_key.created"
    SECRETS_RESEALED = "secret_key.rotated"
    INSTALLATION_MOVED = "installation.moved"
    TOKEN_REVOKED = "token.revoked"
    CLIENT_CREATED = "service_client.created"
    CLIENT_REVOKED = "service_client.revoked"
    CLIENT_AUTHENTICATION_FAILED = "service_client.authentication.failed"
