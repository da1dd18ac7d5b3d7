"""What each kind of mail must be given to be written."""

from collections.abc import Mapping

from authapi.enums import MailKind

_LINK = frozenset({"full_name", "link", "lifetime"})
_EVENT = frozenset({"full_name", "when", "ip", "user_agent"})

REQUIRED_CONTEXT: Mapping[MailKind, frozenset[str]] = {
    MailKind.VERIFY_EMAIL: _LINK,
    MailKind.ALREADY_REGISTERED: _EVENT,
    MailKind.RESET_PASSWORD: _LINK | _EVENT,
    MailKind.PASSWORD_CHANGED: _EVENT,
    MailKind.CHANGE_EMAIL: _LINK,
    MailKind.EMAIL_CHANGED: _LINK | _EVENT | {"new_email"},
    MailKind.INVITATION: frozenset({"link", "lifetime"}),
    MailKind.ACCOUNT_DELETED: _EVENT,
    MailKind.SESSION_REUSED: _EVENT,
    MailKind.FACTOR_ADDED: _EVENT,
    MailKind.FACTOR_REMOVED: _EVENT,
    MailKind.RECOVERY_CODES_RENEWED: _EVENT,
    MailKind.LOGIN_THROTTLED: _EVENT,
}
"""What `context` must hold: `lifetime` is a timedelta, `when` an aware datetime, `link` an absolute URL, and
the others are texts; `ip` and `user_agent` may be None."""
