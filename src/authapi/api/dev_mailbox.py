"""`/dev/mail`: the mails that this process has sent, for whoever develops on this machine.

The mails hold live links, so production does not have these routes, and development shows them to nobody
else: not to other hosts, and not to a web page whose name was made to point here (DNS rebinding).
"""

import base64
import hashlib
from functools import cache
from ipaddress import ip_address
from typing import Annotated

from fastapi import APIRouter, Depends, FastAPI, Query, Request
from fastapi.responses import HTMLResponse
from jinja2 import Environment, PackageLoader

from authapi import errors
from authapi.api.route import ApiRoute, add_routes
from authapi.client_address import parse_address
from authapi.emails import MAX_EMAIL_CHARACTERS
from authapi.mail.mailbox import CAPACITY, Mailbox, SentMail
from authapi.rate_limit import limits
from authapi.schemas.dev_mailbox import SentMailResponse
from authapi.schemas.envelope import ApiResponse

MAX_WAIT_SECONDS = 30
STYLE = """
:root { color-scheme: light dark; }
body { font: 16px/1.5 system-ui, sans-serif; margin: 2rem auto; max-width: 60rem; padding: 0 1rem; }
table { border-collapse: collapse; }
th, td { border-bottom: 1px solid #8886; padding: .3rem 1rem .3rem 0; text-align: left; vertical-align: top; }
td, pre { overflow-wrap: anywhere; white-space: pre-wrap; }
"""
_STYLE_HASH = base64.b64encode(hashlib.sha256(STYLE.encode()).digest()).decode()
_NOTHING = "default-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
PAGE_CSP = f"{_NOTHING}; style-src 'sha256-{_STYLE_HASH}'"
# The mail's own styles, and nothing else of it.
MAIL_CSP = f"{_NOTHING}; style-src 'unsafe-inline'; sandbox"


async def only_from_here(request: Request) -> None:
    """Let in callers on this machine that call it by one of its own names; others see nothing: `NotFound`."""
    client = request.client.host if request.client else ""
    forwarded = [hop for line in request.headers.getlist("x-forwarded-for") for hop in line.split(",")]
    if (
        not all(map(_is_loopback, [client, *forwarded]))
        # A proxy that tells in other ways for whom it asks is not one that we know to read.
        or any(name in request.headers for name in ("forwarded", "x-real-ip"))
        or not _is_local_name(request.url.hostname or "")
    ):
        raise errors.NotFound


async def get_mailbox(request: Request) -> Mailbox:
    """The mailbox of this process."""
    mailbox: Mailbox = request.app.state.mailbox
    return mailbox


MailboxDep = Annotated[Mailbox, Depends(get_mailbox)]

router = APIRouter(
    prefix="/dev/mail",
    include_in_schema=False,
    route_class=ApiRoute,
    dependencies=[Depends(only_from_here)],
)


@router.get("")
@limits.service
async def mailbox_page(request: Request, mailbox: MailboxDep) -> HTMLResponse:
    """List the mails, the newest first."""
    return _page(mails=list(reversed(mailbox.find_all())))


@router.get("/messages")
@limits.service
async def mailbox_messages(
    request: Request,
    mailbox: MailboxDep,
    to: Annotated[str | None, Query(max_length=MAX_EMAIL_CHARACTERS)] = None,
    after: Annotated[int, Query(ge=0)] = 0,
    wait: Annotated[float, Query(ge=0, le=MAX_WAIT_SECONDS, allow_inf_nan=False)] = 0,
) -> ApiResponse[list[SentMailResponse]]:
    """Mails to an address with a higher number than `after`; waits up to `wait` seconds for the first one."""
    mails = (
        await mailbox.wait(to=to, after=after, seconds=wait) if wait else mailbox.find_all(to=to, after=after)
    )
    return ApiResponse(
        message="These mails were sent.", data=[SentMailResponse.model_validate(mail) for mail in mails]
    )


@router.get("/{number}")
@limits.service
async def mailbox_message_page(request: Request, mailbox: MailboxDep, number: int) -> HTMLResponse:
    """Show one mail: its headers and its text, with links that work."""
    return _page(mail=_get_mail(mailbox, number))


@router.get("/{number}/html")
@limits.service
async def mailbox_html_part(request: Request, mailbox: MailboxDep, number: int) -> HTMLResponse:
    """Show the HTML part of a mail as it is."""
    return HTMLResponse(_get_mail(mailbox, number).html, headers={"Content-Security-Policy": MAIL_CSP})


def mount_dev_mailbox(app: FastAPI, mailbox: Mailbox) -> None:
    """Add the routes to an app; never to that of production."""
    app.state.mailbox = mailbox
    add_routes(app, router)


def _get_mail(mailbox: Mailbox, number: int) -> SentMail:
    mail = mailbox.find(number)
    if mail is None:
        raise errors.NotFound
    return mail


def _page(**values: object) -> HTMLResponse:
    html = _environment().get_template("mailbox.html").render(style=STYLE, capacity=CAPACITY, **values)
    return HTMLResponse(html, headers={"Content-Security-Policy": PAGE_CSP})


@cache
def _environment() -> Environment:
    return Environment(
        loader=PackageLoader("authapi", "mail/templates"),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
    )


def _is_loopback(text: str) -> bool:
    address = parse_address(text)
    return address is not None and address.is_loopback


def _is_local_name(name: str) -> bool:
    if name.lower() == "localhost":
        return True
    try:
        return ip_address(name).is_loopback
    except ValueError:
        return False
