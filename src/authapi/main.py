"""Wires the application: middleware, routes, error handling and what must happen at start and stop."""

import asyncio
import gc
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from importlib import import_module
from typing import Any

from fastapi import FastAPI, Request
from fastapi.security.utils import get_authorization_scheme_param

from authapi import __version__
from authapi.api import (
    account,
    admin,
    auth,
    docs,
    email,
    gateway,
    gateway_document,
    health,
    metrics,
    mfa,
    openapi_corrections,
    pages,
    passwords,
    profile,
    public,
    revocations,
    sessions,
    token_cookies,
    tokens,
    well_known,
)
from authapi.api.dependencies import find_verified, verified_token
from authapi.api.route import add_routes
from authapi.api.shortcuts import GatewayShortcut, MeShortcut
from authapi.background import finish
from authapi.client_address import TrustedProxies
from authapi.error_handlers import install_error_handlers
from authapi.logs import configure_logging
from authapi.mail.mailbox import Mailbox
from authapi.metrics import Metrics
from authapi.middleware.body_limit import BodyLimitMiddleware
from authapi.middleware.client_address import ClientAddressMiddleware
from authapi.middleware.cors import CorsMiddleware
from authapi.middleware.metrics import MetricsMiddleware
from authapi.middleware.request_context import RequestContextMiddleware
from authapi.middleware.security_headers import SecurityHeadersMiddleware
from authapi.middleware.unhandled_errors import UnhandledErrorsMiddleware
from authapi.migrations import assert_migrated
from authapi.rate_limit import RateLimits
from authapi.runtime import Runtime
from authapi.security.signing_keys import assert_cryptography_backend
from authapi.services.audit_chain import sealing_task
from authapi.services.housekeeping import housekeeping_task
from authapi.services.key_keeper import KeyKeeper
from authapi.services.mail_delivery import MailDelivery
from authapi.services.revocation_follower import RevocationFollower
from authapi.settings import InvalidSettings, Settings, load_settings
from authapi.telemetry import TELEMETRY

EXPOSED_HEADERS = [
    "X-Request-ID",
    "Retry-After",
    "X-RateLimit-Limit",
    "X-RateLimit-Remaining",
    "X-RateLimit-Reset",
    "WWW-Authenticate",
]
TAGS = [
    {"name": "auth", "description": "Create an account, log in, see who you are."},
    {"name": "sessions", "description": "Stay logged in, log out, see your devices."},
    {"name": "account", "description": "Change what protects and names the account."},
    {"name": "second factors", "description": "Authenticator app and recovery codes."},
    {"name": "tokens", "description": "The standard OAuth2 surface."},
    {"name": "gateway", "description": "For reverse proxies and services in front of which authapi stands."},
    {"name": "users", "description": "Your own profile."},
    {"name": "public", "description": "What anybody may ask."},
    {"name": "admin", "description": "Users, roles, the audit trail. Needs permissions."},
    {"name": "operations", "description": "Probes and metrics."},
]


def create_app(settings: Settings, *, is_rehearsal: bool = False) -> FastAPI:
    """The ASGI application for these settings. With `is_rehearsal` no warm-up runs.

    Nothing is connected before the start of its lifespan, which raises `SchemaBehind` if the database lacks
    migrations. Raises `InvalidSettings`, also for a limit that cannot be read.
    """
    assert_cryptography_backend()
    counted = Metrics()
    runtime = Runtime.build(settings, observer=counted)
    app = FastAPI(
        title="authapi",
        version=__version__,
        summary="Accounts, sessions and tokens for your services.",
        openapi_tags=TAGS,
        lifespan=_lifespan,
        docs_url=None,
        redoc_url=None,
        openapi_url=None,
        # A redirect would be built from the request's Host header, which the client chooses.
        redirect_slashes=False,
        telemetry=TELEMETRY,
    )
    app.state.runtime = runtime
    app.state.is_rehearsal = is_rehearsal
    try:
        app.state.rate_limits = RateLimits(
            settings.rate_limit,
            identify=_identify,
            on_refused=counted.rate_limited,
        )
    except ValueError as error:
        raise InvalidSettings([str(error)]) from None
    app.state.metrics = counted
    counted.watch(runtime, app.state.rate_limits)
    install_error_handlers(app)
    gateway.mount_gateway(app)
    add_routes(
        app,
        auth.router,
        sessions.router,
        account.router,
        email.router,
        passwords.router,
        mfa.router,
        tokens.router,
        revocations.router,
        well_known.router,
        profile.router,
        public.router,
        *admin.routers,
        health.router,
        metrics.router,
        pages.router,
    )
    _amend_document(app, gateway_document.add_gateway_operations)
    _amend_document(app, openapi_corrections.corrected)
    mailbox = None if settings.is_production else Mailbox()
    if mailbox is not None:
        from authapi.api import dev_mailbox

        dev_mailbox.mount_dev_mailbox(app, mailbox)
    app.state.mail_delivery = MailDelivery(runtime, on_sent=mailbox.put if mailbox else None)
    if settings.docs_enabled:
        docs.mount_docs(app)
        _amend_document(app, docs.add_bearer_alternative)
    _add_middleware(app, settings, counted)
    return app


def create_configured_app() -> FastAPI:
    """The application for the environment's settings; `served.py` calls this in each process that serves."""
    settings = load_settings()
    configure_logging(format=settings.log.format, level=settings.log.level)
    app = create_app(settings)
    # What is loaded by now stays for good. Left out of every later collection, it shortens the pauses.
    gc.freeze()
    gc.enable()
    return app


@asynccontextmanager
async def _lifespan(app: FastAPI) -> AsyncIterator[None]:
    runtime: Runtime = app.state.runtime
    follower = RevocationFollower(runtime)
    keeper = KeyKeeper(runtime)
    sealing = sealing_task(runtime)
    housekeeping = housekeeping_task(runtime)
    publishing = app.state.metrics.publishing_task()
    warming: asyncio.Task[None] | None = None
    try:
        await assert_migrated(runtime.database)
        await keeper.start()
        await follower.start()
        await app.state.mail_delivery.start()
        sealing.start()
        housekeeping.start()
        if app.state.metrics.is_shared:
            publishing.start()
        if not app.state.is_rehearsal:
            warming = asyncio.create_task(_warm_up(runtime), name="warm-up")
        yield
    finally:
        await finish(warming)
        await publishing.stop()
        await housekeeping.stop()
        await sealing.stop()
        await app.state.mail_delivery.stop()
        await keeper.stop()
        await follower.stop()
        await app.state.rate_limits.close()
        await runtime.close()


async def _warm_up(runtime: Runtime) -> None:
    """Warm up in the background: doing it before serving would lengthen the start by a third."""
    await runtime.hasher.warm()
    for renders in ("authapi.mail.rendering", "authapi.pages.rendering"):
        await asyncio.to_thread(import_module, renders)


def _add_middleware(app: FastAPI, settings: Settings, counted: Metrics) -> None:
    # The last one added is the outermost. The catch-all for exceptions sits inside the layers that add
    # request id, security and CORS headers, so that a 500 carries them too.
    app.add_middleware(BodyLimitMiddleware)
    app.add_middleware(MeShortcut)
    app.add_middleware(UnhandledErrorsMiddleware)
    app.add_middleware(
        CorsMiddleware,
        allow_origins=settings.cors.allowed_origins,
        allow_origin_regex=None if settings.is_production else token_cookies.LOCALHOST_ORIGIN.pattern,
        allow_methods=["GET", "POST", "PUT", "PATCH", "DELETE"],
        allow_headers=["Authorization", "Content-Type", "X-Request-ID"],
        allow_credentials=True,
        expose_headers=EXPOSED_HEADERS,
        max_age=600,
    )
    app.add_middleware(SecurityHeadersMiddleware, https=settings.is_https)
    app.add_middleware(RequestContextMiddleware)
    app.add_middleware(MetricsMiddleware, metrics=counted)
    app.add_middleware(ClientAddressMiddleware, trusted=TrustedProxies(map(str, settings.proxy.trusted)))
    app.add_middleware(
        GatewayShortcut, runtime=app.state.runtime, metrics=counted, rate_limits=app.state.rate_limits
    )


def _identify(request: Request) -> str | None:
    """The user whose limit a request counts against; raises `InvalidAccessToken` for a token that fails."""
    if (verified := find_verified(request)) is not None:
        return verified.claims.sub
    scheme, token = get_authorization_scheme_param(request.headers.get("Authorization"))
    if scheme.lower() != "bearer":
        return None
    return verified_token(request, token).claims.sub


def _amend_document(app: FastAPI, amend: Callable[[dict[str, Any]], dict[str, Any]]) -> None:
    """Have `amend` change the OpenAPI document that the app writes, after earlier amendments."""
    original = app.openapi
    # Replacing the method is how FastAPI wants its document extended.
    app.openapi = lambda: amend(original())  # type: ignore[method-assign]
