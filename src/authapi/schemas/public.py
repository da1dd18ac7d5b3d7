"""What anybody may read about users who chose to be found."""

from typing import Annotated
from uuid import UUID

from pydantic import Field, StringConstraints

from authapi.schemas.envelope import ResponseModel

SearchText = Annotated[
    str,
    # Two characters that are no spaces at the ends: one letter would list half of the users.
    StringConstraints(strip_whitespace=True, min_length=2, max_length=100, pattern=r"^\s*\S.*\S\s*$"),
    Field(description="A part of the full name, in upper or lower case.", examples=["lovelace"]),
]


class PublicUserResponse(ResponseModel):
    id: UUID
    full_name: str
