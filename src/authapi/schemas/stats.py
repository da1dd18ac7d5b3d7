"""Numbers for administrators."""

from pydantic import Field

from authapi.schemas.envelope import ResponseModel


class ActivityCounts(ResponseModel):
    registrations: int
    logins: int
    failed_logins: int


class StatsResponse(ResponseModel):
    total_users: int
    active_users: int
    disabled_users: int
    users_by_role: dict[str, int] = Field(examples=[{"admin": 1, "auditor": 0, "user": 41}])
    estimated: bool = Field(
        description="Whether any of the numbers is an estimate: on PostgreSQL those above 10,000 are, and may be"
        " some per cent off; smaller ones are exact.",
        examples=[False],
    )
    last_24_hours: ActivityCounts
    last_7_days: ActivityCounts
