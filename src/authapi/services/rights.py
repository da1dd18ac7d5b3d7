"""What a user may do in a session: the roles in force there, and the permissions they add up to."""

from collections.abc import Collection
from dataclasses import dataclass

from authapi.models import User

SECOND_FACTOR_AMR = "mfa"


@dataclass(frozen=True, slots=True)
class Rights:
    """Names of roles, the strongest first, and of permissions, sorted."""

    roles: tuple[str, ...]
    permissions: tuple[str, ...]


def rights_in_session(user: User, *, amr: Collection[str]) -> Rights:
    """The user's rights in a session that was opened with the factors `amr` (RFC 8176).

    A role that requires a second factor counts only in sessions opened with one. Without, its holder can still log
    in and enroll an authenticator app, and has the role from the next login on (ASVS 6.3.3).
    """
    has_second_factor = SECOND_FACTOR_AMR in amr
    in_force = [role for role in user.roles if has_second_factor or not role.requires_second_factor]
    return Rights(
        roles=tuple(role.name for role in in_force),
        permissions=tuple(sorted({permission.name for role in in_force for permission in role.permissions})),
    )
