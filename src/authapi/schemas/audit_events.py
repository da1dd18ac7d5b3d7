"""Queries of the audit trail, and its events."""

from datetime import datetime
from typing import Any
from uuid import UUID

from pydantic import AwareDatetime, Field, IPvAnyAddress

from authapi.enums import AuditAction, Outcome
from authapi.schemas.envelope import ResponseModel
from authapi.schemas.pages import PageQuery


class AuditEventQuery(PageQuery):
    action: AuditAction | None = Field(None, examples=["user.login.failed"])
    actor_id: UUID | None = Field(None, description="The user who did it.")
    subject_id: UUID | None = Field(None, description="The user to whom it was done.")
    outcome: Outcome | None = None
    ip: IPvAnyAddress | None = Field(None, description="The client's address.", examples=["203.0.113.7"])
    since: AwareDatetime | None = Field(None, description="This instant or later, with an offset (RFC 3339).")
    until: AwareDatetime | None = Field(None, description="Before this instant.")


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
