"""Queries of the audit trail, and its events."""

import re
from datetime import UTC, datetime
from typing import Annotated, Any
from uuid import UUID

from pydantic import AfterValidator, AwareDatetime, BeforeValidator, Field, IPvAnyAddress

from authapi.enums import AuditAction, Outcome
from authapi.schemas.envelope import ResponseModel
from authapi.schemas.pagination import PageQuery


def _to_utc(value: datetime) -> datetime:
    try:
        return value.astimezone(UTC)
    except OverflowError:
        raise ValueError("before the year 1 or after the year 9999 in UTC") from None


def _not_a_number(value: object) -> object:
    # pydantic would read one as Unix time.
    if isinstance(value, str) and re.fullmatch(r"\s*[-+]?[0-9.]+\s*", value):
        raise ValueError("not an instant with an offset")
    return value


Instant = Annotated[AwareDatetime, BeforeValidator(_not_a_number), AfterValidator(_to_utc)]


class AuditEventQuery(PageQuery):
    action: AuditAction | None = Field(None, examples=["user.login.failed"])
    actor_id: UUID | None = Field(None, description="The user who did it.")
    subject_id: UUID | None = Field(None, description="The user to whom it was done.")
    outcome: Outcome | None = None
    ip: IPvAnyAddress | None = Field(None, description="The client's address.", examples=["203.0.113.7"])
    since: Instant | None = Field(None, description="This instant or later, with an offset (RFC 3339).")
    until: Instant | None = Field(None, description="Before this instant.")


class AuditEventResponse(ResponseModel):
    id: UUID
    occurred_at: datetime
    action: str = Field(examples=["user.login.failed"])
    outcome: str = Field(examples=["failure"])
    reason: str | None = Field(examples=["wrong_password"])
    actor_id: UUID | None
    subject_id: UUID | None
    user_session_id: UUID | None
    ip: str | None
    user_agent: str | None = Field(description="Chosen by the client.")
    request_id: str | None
    details: dict[str, Any]
