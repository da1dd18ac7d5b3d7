"""What every paged list is asked with."""

from pydantic import BaseModel, ConfigDict, Field


class PageQuery(BaseModel):
    """Base of query strings; unknown parameters are refused: a misspelt filter would show everything."""

    model_config = ConfigDict(extra="forbid", hide_input_in_errors=True)

    cursor: str | None = Field(
        None,
        min_length=1,
        max_length=2000,
        description="`page.next_cursor` of the page before; absent for the first. The rest must be the same.",
    )
    limit: int = Field(25, ge=1, le=100, description="Rows on a page.")
