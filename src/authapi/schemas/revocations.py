"""The revocation feed."""

from datetime import datetime
from typing import Annotated
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field

from authapi.schemas.envelope import ResponseModel

# A request holds a socket for so long, and no database connection.
MAX_WAIT_SECONDS = 30


class RevocationsQuery(BaseModel):
    model_config = ConfigDict(extra="forbid", hide_input_in_errors=True)

    since: str | None = Field(
        None, max_length=200, description="The `cursor` of the last answer; everything if left out."
    )
    wait: Annotated[float, Field(ge=0, le=MAX_WAIT_SECONDS, allow_inf_nan=False)] = Field(
        0, description="Seconds to wait for news before answering that there are none."
    )


class RevokedSession(ResponseModel):
    """Refuse tokens whose `sid` is this session."""

    session_id: UUID
    expires_at: datetime = Field(description="By then the last of its tokens has expired; forget it.")


class RevokedSubject(ResponseModel):
    """Refuse tokens with this `sub` whose `iat` is not after the whole second of `not_before`."""

    subject: str = Field(description="The id of a user or of a service client.")
    not_before: datetime
    expires_at: datetime = Field(description="By then the last of its tokens has expired; forget it.")


class RevocationsResponse(ResponseModel):
    revocations: list[RevokedSession | RevokedSubject] = Field(
        description="What came since the cursor; an entry may come twice."
    )
    cursor: str = Field(description="Ask for what comes next with it; opaque.")
