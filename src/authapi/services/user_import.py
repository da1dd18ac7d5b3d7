"""User import: accounts of another system, with the password hashes that it has stored.

Nobody needs a new password: the hashes of other systems are verified as they are and replaced at the next
login. An address that has an account is skipped, so that an import that was interrupted is simply run again.
"""

from collections.abc import Callable, Iterable, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from itertools import batched
from typing import Annotated, Any
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, ValidationError
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncSession

from authapi import clock
from authapi.emails import EmailAddress, MalformedEmail, parse_email
from authapi.enums import AuditAction, BuiltInRole
from authapi.languages import negotiate_locale
from authapi.models import Role
from authapi.models.base import new_id
from authapi.models.user import MAX_NAME_CHARACTERS, name_key
from authapi.repositories import roles, user_batches
from authapi.runtime import Runtime
from authapi.security.passwords import UnusableHash
from authapi.services import audit
from authapi.services.role_assignment import MAX_CLAIM_BYTES
from authapi.services.user_files import Line

BATCH = 500
# The same batch again after somebody else has just taken one of its addresses.
ATTEMPTS = 3
PHONE = r"^\+?[0-9 ()./-]{3,31}$"
_EARLIEST = datetime(1970, 1, 1, tzinfo=UTC)
