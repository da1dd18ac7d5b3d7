"""The pages that mails lead to: plain forms that work without a script.

Opening one changes nothing: mail programs and virus scanners open every link. Pressing its button does. The
token travels in the query of the mail's link, then in the form's body; no answer redirects with it, and
`Referrer-Policy: no-referrer` keeps it from every other request (ASVS 3.4.5).
"""

from typing import Annotated

from fastapi import APIRouter, Form, Query, Request, Response
from fastapi.responses import HTMLResponse, RedirectResponse

from authapi.api import token_cookies
from authapi.api.dependencies import DbSession, RuntimeDep
from authapi.api.page_route import SENT_BY_US, PageRoute, ask_again_if_refused, page
from authapi.enums import OneTimeTokenPurpose
from authapi.pages.stylesheet import STYLESHEET_PATH, stylesheet
from authapi.rate_limit import limits
from authapi.schemas.page_forms import AcceptInvitationForm, EmailForm, ResetPasswordForm, TokenForm
from authapi.services import (
    email_change,
    email_verification,
    invitations,
    mail_links,
    one_time_tokens,
    password_reset,
    user_sessions,
)

FORGOT_PASSWORD = "/forgot-password"
RESEND_VERIFICATION = "/resend-verification"
CHANGE_PASSWORD = "/.well-known/change-password"


TokenQuery = Annotated[str, Query(max_length=200)]

router = APIRouter(include_in_schema=False, route_class=PageRoute)


@router.get(mail_links.VERIFY_EMAIL)
@limits.public
async def verify_email_page(request: Request, db: DbSession, token: TokenQuery = "") -> HTMLResponse:
    """Show when and from where the account was made, and ask whether that was the reader."""
    user = await email_verification.find_account(db, token=token)
    return page(request, "verify_email", locale=user.locale, user=user, token=token)


@router.post(mail_links.VERIFY_EMAIL, dependencies=SENT_BY_US)
@limits.public
async def verify_email_form(
    request: Request, form: Annotated[TokenForm, Form()], db: DbSession
) -> HTMLResponse:
    """Confirm the address."""
    user = await email_verification.verify(db, token=form.token)
    return page(request, "verify_email", locale=user.locale, is_done=True, user=user)


@router.get(RESEND_VERIFICATION)
@limits.public
async def resend_verification_page(request: Request) -> HTMLResponse:
    """Ask for the e-mail address that waits to be confirmed."""
    return page(request, "resend_verification")


@router.post(RESEND_VERIFICATION, dependencies=SENT_BY_US)
@limits.auth
async def resend_verification_form(
    request: Request, form: Annotated[EmailForm, Form()], db: DbSession, runtime: RuntimeDep
) -> HTMLResponse:
    """Mail another link, and say the same for every address."""
    ask_again_if_refused(request, "resend_verification")
    await email_verification.resend(db, runtime, email=form.email)
    return page(request, "resend_verification", is_done=True)


@router.get(mail_links.DISOWN_ACCOUNT)
@limits.public
async def disown_account_page(request: Request, db: DbSession, token: TokenQuery = "") -> HTMLResponse:
    """Ask whether to remove an unverified account."""
    user = await email_verification.find_account(db, token=token)
    return page(request, "disown_account", locale=user.locale, user=user, token=token)


@router.post(mail_links.DISOWN_ACCOUNT, dependencies=SENT_BY_US)
@limits.public
async def disown_account_form(
    request: Request, form: Annotated[TokenForm, Form()], db: DbSession, runtime: RuntimeDep
) -> HTMLResponse:
    """Remove an unverified account that a stranger made."""
    await email_verification.disown(db, runtime, token=form.token)
    return page(request, "disown_account", is_done=True)


@router.get(FORGOT_PASSWORD)
@limits.public
async def forgot_password_page(request: Request) -> HTMLResponse:
    """Ask for the e-mail address."""
    return page(request, "forgot_password")


@router.post(FORGOT_PASSWORD, dependencies=SENT_BY_US)
@limits.auth
async def forgot_password_form(
    request: Request, form: Annotated[EmailForm, Form()], db: DbSession, runtime: RuntimeDep
) -> HTMLResponse:
    """Mail a link, and say the same for every address."""
    ask_again_if_refused(request, "forgot_password")
    await password_reset.request_reset(db, runtime, email=form.email)
    return page(request, "forgot_password", is_done=True)


@router.get(CHANGE_PASSWORD)
@limits.public
async def change_password_address(request: Request) -> RedirectResponse:
    """Tell password managers where a password is changed; the path alone, whatever Host says."""
    return RedirectResponse(FORGOT_PASSWORD, status_code=303)


@router.get(mail_links.RESET_PASSWORD)
@limits.public
async def reset_password_page(request: Request, db: DbSession, token: TokenQuery = "") -> HTMLResponse:
    """Ask for the new password."""
    user = await password_reset.find_account(db, token=token)
    return page(request, "reset_password", locale=user.locale, token=token, email=user.email)


@router.post(mail_links.RESET_PASSWORD, dependencies=SENT_BY_US)
@limits.auth
async def reset_password_form(
    request: Request, form: Annotated[ResetPasswordForm, Form()], db: DbSession, runtime: RuntimeDep
) -> HTMLResponse:
    """Replace the password; this browser is known from now on."""
    user = await password_reset.find_account(db, token=form.token)
    ask_again_if_refused(request, "reset_password", token=form.token, email=user.email)
    device_token = await password_reset.reset(
        db, runtime, token=form.token, new_password=form.new_password.get_secret_value()
    )
    response = page(request, "reset_password", locale=user.locale, is_done=True)
    token_cookies.remember_device(response, runtime.settings, device_token)
    return response


@router.get(mail_links.CONFIRM_EMAIL_CHANGE)
@limits.public
async def confirm_email_change_page(request: Request, db: DbSession, token: TokenQuery = "") -> HTMLResponse:
    """Ask whether to use the new address, and show for which account: a stranger may offer his to the owner."""
    user, new_email = await email_change.find_account(db, token=token)
    return page(request, "confirm_email_change", token=token, user=user, email=new_email)


@router.post(mail_links.CONFIRM_EMAIL_CHANGE, dependencies=SENT_BY_US)
@limits.public
async def confirm_email_change_form(
    request: Request, form: Annotated[TokenForm, Form()], db: DbSession, runtime: RuntimeDep
) -> HTMLResponse:
    """Make the new address the account's."""
    user = await email_change.confirm(db, runtime, token=form.token)
    return page(request, "confirm_email_change", locale=user.locale, is_done=True, email=user.email)


@router.get(mail_links.UNDO_EMAIL_CHANGE)
@limits.public
async def undo_email_change_page(request: Request, db: DbSession, token: TokenQuery = "") -> HTMLResponse:
    """Ask whether to give the account its old address back."""
    found = await one_time_tokens.find(db, purpose=OneTimeTokenPurpose.UNDO_EMAIL_CHANGE, token=token)
    return page(request, "undo_email_change", token=token, email=found.data["email"])


@router.post(mail_links.UNDO_EMAIL_CHANGE, dependencies=SENT_BY_US)
@limits.public
async def undo_email_change_form(
    request: Request, form: Annotated[TokenForm, Form()], db: DbSession, runtime: RuntimeDep
) -> HTMLResponse:
    """Give the account its old address back."""
    user = await email_change.undo(db, runtime, token=form.token)
    return page(request, "undo_email_change", locale=user.locale, is_done=True, email=user.email)


@router.get(mail_links.ACCEPT_INVITATION)
@limits.public
async def accept_invitation_page(request: Request, db: DbSession, token: TokenQuery = "") -> HTMLResponse:
    """Ask for a name and a password."""
    found = await one_time_tokens.find(db, purpose=OneTimeTokenPurpose.ACCEPT_INVITATION, token=token)
    shown = {"token": token, "email": found.data["email"], "full_name": ""}
    return page(request, "accept_invitation", locale=found.data["locale"], **shown)


@router.post(mail_links.ACCEPT_INVITATION, dependencies=SENT_BY_US)
@limits.auth
async def accept_invitation_form(
    request: Request, form: Annotated[AcceptInvitationForm, Form()], db: DbSession, runtime: RuntimeDep
) -> HTMLResponse:
    """Make the account; its owner logs in with the app."""
    found = await one_time_tokens.find(db, purpose=OneTimeTokenPurpose.ACCEPT_INVITATION, token=form.token)
    shown = {"token": form.token, "email": found.data["email"], "full_name": form.full_name}
    ask_again_if_refused(request, "accept_invitation", **shown)
    tokens = await invitations.accept(
        db,
        runtime,
        token=form.token,
        password=form.password.get_secret_value(),
        full_name=form.full_name,
    )
    # A page cannot hand its tokens to the app, and a session that nobody holds has no use.
    await user_sessions.end_session(
        db, runtime, user_id=tokens.user.id, user_session_id=tokens.user_session.id
    )
    return page(request, "accept_invitation", locale=tokens.user.locale, is_done=True, **shown)


@router.get(STYLESHEET_PATH)
@limits.public
async def pages_stylesheet(request: Request) -> Response:
    """The style sheet, for a year: pages ask for it by its digest."""
    headers = {"Cache-Control": "public, max-age=31536000, immutable"}
    return Response(stylesheet()[0], media_type="text/css", headers=headers)
