"""Field types that several requests share."""

from typing import Annotated

from pydantic import Field, SecretStr, StringConstraints

from authapi.emails import MAX_EMAIL_CHARACTERS
from authapi.field_limits import FULL_NAME_PATTERN, MAX_NAME_CHARACTERS, MAX_PHONE_CHARACTERS, PHONE_PATTERN

# The service checks the address itself, because the accepted domains are a setting.
Email = Annotated[
    str,
    Field(
        min_length=3,
        max_length=MAX_EMAIL_CHARACTERS,
        examples=["ada@example.com"],
        json_schema_extra={"format": "email"},
    ),
]
# Length in code points is the policy's business; 1,024 bytes are enforced there too.
Password = Annotated[SecretStr, Field(min_length=1, max_length=1024, examples=["correct Horse 7 battery"])]
FullName = Annotated[
    str,
    StringConstraints(
        strip_whitespace=True, min_length=1, max_length=MAX_NAME_CHARACTERS, pattern=FULL_NAME_PATTERN
    ),
    Field(examples=["Ada Lovelace"]),
]
Phone = Annotated[
    str,
    StringConstraints(strip_whitespace=True, max_length=MAX_PHONE_CHARACTERS, pattern=PHONE_PATTERN),
    Field(examples=["+44 20 7946 0018"]),
]
RefreshToken = Annotated[
    str,
    Field(min_length=1, max_length=200, examples=["authapi_rt_AQGh_UgszwgfcYexaf5aWWG3..."]),
]
DeviceToken = Annotated[
    str,
    Field(min_length=1, max_length=200, examples=["authapi_dt_AQGh_UgszwgfcYexaf5aWWG3..."]),
]
OneTimeTokenField = Annotated[
    str,
    Field(min_length=1, max_length=200, examples=["authapi_ott_mBvO3hbT7f0Wm2pGdNQv5Yk8..."]),
]
Code = Annotated[
    str,
    Field(
        min_length=6,
        max_length=40,
        pattern=r"^[0-9A-Za-z -]+$",
        description="Six digits of the authenticator app, or a recovery code.",
        examples=["287082"],
    ),
]
