"""Links that a mail carries: the public URL of the settings, a page, and a one-time token."""

from urllib.parse import urlencode

from authapi.runtime import Runtime

VERIFY_EMAIL = "/verify-email"
RESET_PASSWORD = "/reset-password"
CONFIRM_EMAIL_CHANGE = "/confirm-email-change"
UNDO_EMAIL_CHANGE = "/undo-email-change"
ACCEPT_INVITATION = "/accept-invitation"
DISOWN_ACCOUNT = "/disown-account"


def link(runtime: Runtime, page: str, *, token: str) -> str:
    """`AUTHAPI_PUBLIC_URL` + `page` + `?token=…`; `page` is one of this module's constants.

    Never made of the request: a client chooses its Host header, and would so choose whose server gets the
    token of somebody else's mail (Supabase Auth GHSA-3529-5m8x-rpv3).
    """
    return f"{runtime.settings.base_url}{page}?{urlencode({'token': token})}"
