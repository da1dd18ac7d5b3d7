"""`GET /metrics` for Prometheus; a bare text, for whom the operator has let in."""

import asyncio

from fastapi import APIRouter, Request
from fastapi.responses import PlainTextResponse
from prometheus_client import CONTENT_TYPE_PLAIN_0_0_4
from sqlalchemy.exc import SQLAlchemyError

from authapi import errors
from authapi.api.dependencies import RuntimeDep
from authapi.api.route import ApiRoute
from authapi.client_address import parse_address
from authapi.metrics import Metrics, Outbox
from authapi.rate_limit import limits
from authapi.runtime import Runtime
from authapi.services import mail_administration

router = APIRouter(tags=["operations"], route_class=ApiRoute)

OUTBOX_TIMEOUT_SECONDS = 1.0


@router.get(
    "/metrics",
    summary="Metrics for Prometheus",
    response_class=PlainTextResponse,
    responses={
        200: {"content": {"text/plain": {"example": 'authapi_logins_total{outcome="success"} 42.0\n'}}},
        404: {"description": "Not for callers from this address.", "content": {"application/json": {}}},
    },
)
@limits.service
async def metrics(request: Request, runtime: RuntimeDep) -> PlainTextResponse:
    """Everything that is measured, in Prometheus' text format; answered whatever the database does.

    In production only to `AUTHAPI_METRICS__ALLOWED_IPS`, or unless that is set to the same machine.
    """
    if not _may_see(request, runtime):
        # Neither does anybody else learn that there is something to see (ASVS 13.4.5).
        raise errors.NotFound("metrics are not for this address")
    counted: Metrics = request.app.state.metrics
    body = await counted.render(outbox=await _read_outbox(runtime))
    return PlainTextResponse(body, media_type=CONTENT_TYPE_PLAIN_0_0_4)


def _may_see(request: Request, runtime: Runtime) -> bool:
    settings = runtime.settings
    address = parse_address(request.client.host if request.client else "")
    if settings.metrics.allowed_ips:
        return address is not None and any(address in network for network in settings.metrics.allowed_ips)
    if not settings.is_production:
        return True
    # A proxy on this machine that nobody declared makes the whole internet look local; it says so itself.
    is_forwarded = any(
        name in request.headers for name in ("x-forwarded-for", "forwarded", "x-real-ip", "via")
    )
    return address is not None and address.is_loopback and not is_forwarded


async def _read_outbox(runtime: Runtime) -> Outbox | None:
    try:
        async with asyncio.timeout(OUTBOX_TIMEOUT_SECONDS), runtime.database.reading() as db:
            return Outbox(*await mail_administration.count_unsent(db))
    except (SQLAlchemyError, OSError, TimeoutError):
        return None
