"""What one line of an import says about a user, checked."""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any
from uuid import UUID

from pydantic import BaseModel, ConfigDict, StringConstraints, ValidationError

from authapi import clock
from authapi.emails import EmailAddress, MalformedEmail, parse_email
from authapi.enums import BuiltInRole
from authapi.errors import FieldError
from authapi.field_errors import field_errors
from authapi.field_limits import FULL_NAME_PATTERN, MAX_NAME_CHARACTERS, PHONE_PATTERN
from authapi.languages import negotiate_locale
from authapi.models.base import new_id
from authapi.models.user import name_key
from authapi.runtime import Runtime
from authapi.security.passwords import UnusableHash

_FIELD_NAME = re.compile(r"[a-z_]{1,32}")
_FORMATS = {
    "full_name": "must not hold line breaks or other control characters",
    "phone": "must be a number of 3 to 31 digits, spaces and ( ) . / - behind an optional +",
}
_EARLIEST = datetime(1970, 1, 1, tzinfo=UTC)


class LineRefused(Exception):
    """A line cannot become a user; the text says why and never repeats a value."""


@dataclass(frozen=True, slots=True)
class ImportedUser:
    """A user to be: the row without its defaults, its hash if there is one, and the names of its roles."""

    row: Mapping[str, Any]
    password_hash: str | None = field(repr=False)
    role_names: frozenset[str]

    @property
    def id(self) -> UUID:
        user_id: UUID = self.row["id"]
        return user_id

    @property
    def email_canonical(self) -> str:
        email: str = self.row["email_canonical"]
        return email


class _Values(BaseModel):
    model_config = ConfigDict(extra="forbid", hide_input_in_errors=True, str_strip_whitespace=True)

    id: UUID | None = None
    email: str
    full_name: Annotated[
        str | None,
        StringConstraints(min_length=1, max_length=MAX_NAME_CHARACTERS, pattern=FULL_NAME_PATTERN),
    ] = None
    phone: Annotated[str | None, StringConstraints(pattern=PHONE_PATTERN)] = None
    locale: str | None = None
    discoverable: bool = False
    email_verified: bool = False
    roles: frozenset[str] = frozenset({BuiltInRole.USER.value})
    disabled: bool = False
    created_at: datetime | None = None
    password_hash: str | None = None


def check_user(runtime: Runtime, values: Mapping[str, Any]) -> ImportedUser:
    """The user that the values of a line describe; raises `LineRefused`.

    Without `password_hash` the person sets a password by the mail for forgotten ones. A language that authapi
    does not speak becomes English, a missing name the local part of the address.
    """
    try:
        given = _Values.model_validate(values)
    except ValidationError as error:
        first = error.errors(include_input=False, include_url=False)[0]
        raise LineRefused(_explain(first["type"], field_errors([first])[0])) from None
    address = _check_address(runtime, given.email)
    now = clock.utc_now()
    created_at = _check_instant(given.created_at, now)
    full_name = given.full_name or address.display.rpartition("@")[0][:MAX_NAME_CHARACTERS]
    row = {
        "id": given.id or new_id(),
        "email": address.display,
        "email_canonical": address.canonical,
        "email_verified_at": now if given.email_verified else None,
        "full_name": full_name,
        "full_name_key": name_key(full_name),
        "phone": given.phone,
        "locale": negotiate_locale(given.locale).value,
        "discoverable": given.discoverable,
        "disabled_at": now if given.disabled else None,
        "created_at": created_at,
        "updated_at": now,
    }
    return ImportedUser(row, _check_hash(runtime.hasher.scheme_of, given.password_hash), given.roles)


def _explain(kind: str, wrong: FieldError) -> str:
    name = str(wrong.loc[0])
    if not _FIELD_NAME.fullmatch(name):
        name = "a field"
    if kind == "extra_forbidden":
        return f"{name}: is not a field of users"
    if kind == "string_pattern_mismatch":
        return f"{name}: {_FORMATS[name]}"
    what = wrong.message.removeprefix("This ").removeprefix("field ").removesuffix(".")
    return f"{name}: {what}"


def _check_address(runtime: Runtime, text: str) -> EmailAddress:
    try:
        return parse_email(text, allow_special_domains=runtime.settings.email.allow_special_domains)
    except MalformedEmail:
        raise LineRefused("email: is no address that could receive mail") from None


def _check_instant(given: datetime | None, now: datetime) -> datetime:
    if given is None:
        return now
    if given.tzinfo is None:
        given = given.replace(tzinfo=UTC)
    if not _EARLIEST <= given <= now + timedelta(days=1):
        raise LineRefused("created_at: lies before 1970 or in the future")
    return given


def _check_hash(scheme_of: Callable[[str], str], password_hash: str | None) -> str | None:
    if not password_hash:
        return None
    try:
        scheme_of(password_hash)
    except UnusableHash as reason:
        raise LineRefused(f"password_hash {reason}") from None
    return password_hash
