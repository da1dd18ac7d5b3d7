"""How pages are answered: in the reader's language, under a strict policy, errors as pages too."""

from collections.abc import Callable, Coroutine, Mapping
from functools import partial
from typing import Any

from fastapi import Depends, Request, Response
from fastapi.responses import HTMLResponse

from authapi import errors
from authapi.api.dependencies import RuntimeDep
from authapi.api.route import ApiRoute
from authapi.enums import Locale
from authapi.error_handlers import error_response, render_errors_with
from authapi.errors import AuthApiError
from authapi.languages import choose_locale, negotiate_locale
from authapi.pages.problems import problem_of
from authapi.runtime import Runtime
from authapi.services import mail_links

PAGES_CSP = (
    "default-src 'none'; style-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)
# Where such a link does not work any more, a form offers the next one.
INSTEAD_OF_DEAD_LINKS = {mail_links.VERIFY_EMAIL: "resend_verification"}


class PageRoute(ApiRoute):
    """Has errors answered by a page; must stay the outermost route class."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        handle = super().get_route_handler()

        async def handle_page(request: Request) -> Response:
            render_errors_with(request, partial(_refusal, request))
            return await handle(request)

        return handle_page


def only_from_our_pages(request: Request, runtime: RuntimeDep) -> None:
    """Refuse forms of other sites, though the token is what lets one in; raises `CrossSiteRequest`.

    Our own pages send `Origin: null`, because their referrer policy has no referrer.
    """
    site = request.headers.get("Sec-Fetch-Site")
    if site is not None and site not in {"same-origin", "none"}:
        raise errors.CrossSiteRequest("Sec-Fetch-Site")
    if site is None and request.headers.get("Origin", "null") not in {"null", runtime.settings.base_url}:
        raise errors.CrossSiteRequest("foreign Origin")


SENT_BY_US = [Depends(only_from_our_pages)]


def page(
    request: Request, name: str, *, locale: str = "", status_code: int = 200, **values: Any
) -> HTMLResponse:
    """A page in the browser's language or, if it asks for none of ours, in that of the account."""
    # Late: see authapi.templates.
    from authapi.pages.rendering import render

    runtime: Runtime = request.app.state.runtime
    fallback = choose_locale(locale)
    language: Locale = negotiate_locale(request.headers.get("Accept-Language"), fallback=fallback)
    return HTMLResponse(
        render(name, locale=language, settings=runtime.settings, **values),
        status_code=status_code,
        headers={"Content-Security-Policy": PAGES_CSP, "Content-Language": language.value},
    )


def ask_again_if_refused(request: Request, name: str, **values: Any) -> None:
    """Have errors shown on the page that asked; what was typed as a password is not on it."""
    render_errors_with(request, partial(_refusal, request, name=name, values=values))


def _refusal(
    request: Request,
    error: AuthApiError,
    *,
    status_code: int | None = None,
    headers: Mapping[str, str] | None = None,
    name: str = "refused",
    values: Mapping[str, Any] | None = None,
) -> Response:
    """Status and headers (Retry-After) as everywhere; only the body is a page."""
    rendered = error_response(error, status_code=status_code, headers=headers)
    if isinstance(error, errors.InvalidOneTimeToken):
        name, values = INSTEAD_OF_DEAD_LINKS.get(request.url.path, "refused"), None
    offers_reset = name == "refused" and request.url.path == mail_links.RESET_PASSWORD
    answer = page(
        request,
        name,
        status_code=rendered.status_code,
        problem=problem_of(error),
        offers_reset=offers_reset,
        **(values or {}),
    )
    for header, value in rendered.headers.items():
        if not header.startswith("content-"):
            answer.headers[header] = value
    return answer
