"""The public search: what may be asked, and what anybody may read."""

from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field

from authapi.schemas.envelope import ResponseModel


class PublicSearchQuery(BaseModel):
    model_config = ConfigDict(extra="forbid", hide_input_in_errors=True)

    q: str = Field(
        # Two characters at least, spaces around them aside: one letter would list half of the users.
        pattern=r"^ *[^ \x00-\x1f\x7f][^\x00-\x1f\x7f]*[^ \x00-\x1f\x7f] *$",
        max_length=100,
        description="A part of the full name, at least two characters; upper and lower case are alike.",
        examples=["lovelace"],
    )
    cursor: str | None = Field(
        None, max_length=2000, description="`page.next_cursor` of the page before; absent for the first."
    )
    limit: int = Field(20, ge=1, le=100, description="Users on a page.")


class PublicUserResponse(ResponseModel):
    id: UUID
    full_name: str
