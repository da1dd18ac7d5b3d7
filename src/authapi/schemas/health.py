"""Bodies of the probes."""

from typing import Literal

from authapi.schemas.envelope import ResponseModel


class HealthResponse(ResponseModel):
    status: Literal["ok", "database_unreachable", "schema_behind"]
