"""Who may call what (ASVS 8.2.1): every route of the application against every kind of caller.

A request carries no body and an id that nobody has: a caller who is let in gets 200, 404 or 422, and changes
nothing. A route that is missing from the table fails the test: say there who may call it.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass

import httpx
import pytest
from fastapi import FastAPI
from fastapi.routing import iter_route_contexts

from authapi.api.gateway import ANY_METHOD
from tests.support.accounts import Account, Accounts

SOME_ID = "01981d5a-6c0e-7cc3-98c4-dc0c0c07398f"
CALLERS = ("anonymous", "user", "auditor", "admin", "disabled")

# What each caller gets, in the order of CALLERS; "in" is an answer of the route itself: 2xx, 404, 409, 422.
EVERYBODY = ("in", "in", "in", "in", "in")
LOGGED_IN = (401, "in", "in", "in", 401)
READERS = (401, 403, "in", "in", 401)
ADMINS = (401, 403, 403, "in", 401)
# What these ask for comes in the body, the cookie or Basic credentials, and none is sent.
OWN_CREDENTIAL = (401, 401, 401, 401, 401)
# RFC 6749 section 5.2: without a grant_type the request itself is wrong.
TOKEN_ENDPOINT = (400, 400, 400, 400, 400)
# Without a token 401, with one that is no longer good 403: so it is promised to its callers.
VALIDATE = (401, "in", "in", "in", 403)

LINKS_WITHOUT_TOKEN = (400, 400, 400, 400, 400)
PAGES_OF_MAILS = (
    "/verify-email",
    "/disown-account",
    "/reset-password",
    "/confirm-email-change",
    "/undo-email-change",
    "/accept-invitation",
)

TABLE: dict[str, tuple[str | int, ...]] = {
    "POST /api/auth/register": EVERYBODY,
    "POST /api/auth/login": EVERYBODY,
    "POST /api/auth/login/mfa": EVERYBODY,
    "POST /api/auth/token": TOKEN_ENDPOINT,
    "POST /api/auth/refresh": OWN_CREDENTIAL,
    "POST /api/auth/logout": LOGGED_IN,
    "POST /api/auth/logout-all": LOGGED_IN,
    "POST /api/auth/reauthenticate": LOGGED_IN,
    "POST /api/auth/introspect": OWN_CREDENTIAL,
    "POST /api/auth/revoke": OWN_CREDENTIAL,
    "GET /api/auth/me": LOGGED_IN,
    "GET /api/auth/sessions": LOGGED_IN,
    "POST /api/auth/password/change": LOGGED_IN,
    "POST /api/auth/email/change": LOGGED_IN,
    "POST /api/auth/email/change/confirm": EVERYBODY,
    "POST /api/auth/email/change/undo": EVERYBODY,
    "POST /api/auth/invitation/accept": EVERYBODY,
    "GET /api/profile/export": LOGGED_IN,
    "POST /api/admin/invitations": ADMINS,
    "POST /api/admin/users/{user_id}/logout": ADMINS,
    "POST /api/admin/users/{user_id}/unlock": ADMINS,
    "POST /api/admin/users/{user_id}/password-reset": ADMINS,
    "POST /api/admin/users/{user_id}/verify-email": ADMINS,
    "POST /api/admin/users/{user_id}/mfa-reset": ADMINS,
    "DELETE /api/auth/sessions/{session_id}": LOGGED_IN,
    "POST /api/auth/mfa/totp": LOGGED_IN,
    "POST /api/auth/mfa/totp/confirm": LOGGED_IN,
    "DELETE /api/auth/mfa/totp": LOGGED_IN,
    "POST /api/auth/mfa/recovery-codes": LOGGED_IN,
    "GET /api/auth/revocations": ADMINS,
    "GET /api/profile": LOGGED_IN,
    "PUT /api/profile": LOGGED_IN,
    "PATCH /api/profile": LOGGED_IN,
    "DELETE /api/profile": LOGGED_IN,
    "GET /api/profile/activity": LOGGED_IN,
    "GET /api/public/search": EVERYBODY,
    "GET /metrics": EVERYBODY,
    "GET /api/admin/users": READERS,
    "POST /api/admin/users": ADMINS,
    "GET /api/admin/users/{user_id}": READERS,
    "PATCH /api/admin/users/{user_id}": ADMINS,
    "DELETE /api/admin/users/{user_id}": ADMINS,
    "POST /api/admin/users/{user_id}/disable": ADMINS,
    "POST /api/admin/users/{user_id}/enable": ADMINS,
    "PUT /api/admin/users/{user_id}/roles": ADMINS,
    "GET /api/admin/roles": READERS,
    "POST /api/admin/roles": ADMINS,
    "GET /api/admin/roles/{role_id}": READERS,
    "PATCH /api/admin/roles/{role_id}": ADMINS,
    "DELETE /api/admin/roles/{role_id}": ADMINS,
    "GET /api/admin/permissions": READERS,
    "POST /api/admin/permissions": ADMINS,
    "GET /api/admin/permissions/{permission_id}": READERS,
    "PATCH /api/admin/permissions/{permission_id}": ADMINS,
    "DELETE /api/admin/permissions/{permission_id}": ADMINS,
    "GET /api/admin/audit-events": READERS,
    "GET /api/admin/stats": READERS,
    "GET /health/live": EVERYBODY,
    "HEAD /health/live": EVERYBODY,
    "GET /health/ready": EVERYBODY,
    "HEAD /health/ready": EVERYBODY,
    "POST /login": OWN_CREDENTIAL,
    "POST /validate": VALIDATE,
    "GET /verify": LOGGED_IN,
    "HEAD /verify": LOGGED_IN,
    **dict.fromkeys((f"{method} /verify/{{original:path}}" for method in ANY_METHOD), LOGGED_IN),
    "GET /.well-known/jwks.json": EVERYBODY,
    "HEAD /.well-known/jwks.json": EVERYBODY,
    "GET /.well-known/oauth-authorization-server": EVERYBODY,
    "HEAD /.well-known/oauth-authorization-server": EVERYBODY,
    "GET /openapi.json": EVERYBODY,
    "HEAD /openapi.json": EVERYBODY,
    "GET /dev/mail": EVERYBODY,
    "GET /dev/mail/messages": EVERYBODY,
    "GET /dev/mail/{number}": EVERYBODY,
    "GET /dev/mail/{number}/html": EVERYBODY,
    "POST /api/auth/email/verify": EVERYBODY,
    "POST /api/auth/email/verify/resend": EVERYBODY,
    "POST /api/auth/password/forgot": EVERYBODY,
    "POST /api/auth/password/reset": EVERYBODY,
    "GET /forgot-password": EVERYBODY,
    "POST /forgot-password": EVERYBODY,
    "GET /resend-verification": EVERYBODY,
    "POST /resend-verification": EVERYBODY,
    "GET /pages/pages.css": EVERYBODY,
    "GET /.well-known/change-password": EVERYBODY,
    # The token in the mail is the credential: without one the link does not work.
    **dict.fromkeys((f"GET {page}" for page in PAGES_OF_MAILS), LINKS_WITHOUT_TOKEN),
    **dict.fromkeys((f"POST {page}" for page in PAGES_OF_MAILS), EVERYBODY),
    "GET /docs": EVERYBODY,
    "GET /redoc": EVERYBODY,
    "GET /docs/assets/{name}": EVERYBODY,
}
ENDING_SESSIONS = {"/api/auth/logout", "/api/auth/logout-all"}


@dataclass(frozen=True)
class Answer:
    caller: str
    expected: str | int
    status: int

    @property
    def is_right(self) -> bool:
        if self.expected == "in":
            return self.status < 500 and self.status not in {400, 401, 403, 405, 429}
        return self.status == self.expected


def routes(app: FastAPI) -> Iterator[str]:
    for context in iter_route_contexts(app.routes):
        for method in context.methods or ():
            yield f"{method} {context.path}"


def test_the_table_holds_every_route(shared_app: FastAPI) -> None:
    existing = set(routes(shared_app))
    missing, gone = existing - TABLE.keys(), TABLE.keys() - existing
    assert not missing, f"add to TABLE who may call them: {sorted(missing)}"
    assert not gone, f"these routes are gone, remove them from TABLE: {sorted(gone)}"


@pytest.fixture
async def disabled(client: httpx.AsyncClient, accounts: Accounts) -> Account:
    """Somebody who was disabled after his login, by an administrator."""
    account, admin = await accounts.register(), await accounts.admin()
    response = await client.post(f"/api/admin/users/{account.id}/disable", headers=admin.headers)
    assert response.status_code == 200, response.text
    return account


async def test_every_cell(
    client: httpx.AsyncClient, accounts: Accounts, app: FastAPI, disabled: Account
) -> None:
    people = {
        "user": await accounts.register(),
        "auditor": await accounts.with_roles("auditor"),
        "admin": await accounts.admin(),
    }
    wrong: list[str] = []
    for route in sorted(TABLE.keys() & set(routes(app))):
        method, path = route.split(" ", 1)
        headers = {name: account.headers for name, account in people.items()}
        headers["disabled"] = disabled.headers
        for caller, expected in zip(CALLERS, TABLE[route], strict=True):
            response = await client.request(
                method, re.sub(r"{[^}]+}", SOME_ID, path), headers=headers.get(caller)
            )
            answer = Answer(caller, expected, response.status_code)
            if not answer.is_right:
                wrong.append(f"{route}: {answer}")
        if path in ENDING_SESSIONS:
            people = {name: await accounts.log_in(account) for name, account in people.items()}
    assert not wrong, "\n".join(wrong)
