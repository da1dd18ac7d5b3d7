"""What a running process holds: settings, database, hashing threads, keys. Built once, handed to services."""

import asyncio
from dataclasses import dataclass, field

from authapi.batches import Batches
from authapi.breached_passwords import BreachedPasswords
from authapi.database import Database
from authapi.hashing import Hasher
from authapi.observer import Observer
from authapi.repositories.user_sessions import RotatedSession, Rotation
from authapi.revocation_set import RevocationSet
from authapi.secret_keys import load_derived_keys
from authapi.security.derived_keys import DerivedKeys
from authapi.security.opaque_tokens import DeviceTokenCodec, RefreshTokenCodec
from authapi.settings import Settings
from authapi.token_authority import TokenAuthority
from authapi.turns import Turns

# What one transaction rotates. Beyond some dozens it takes as long for each one more.
MOST_ROTATIONS = 50


@dataclass(frozen=True, slots=True)
class Runtime:
    """The tools of the use cases; the command line and the HTTP application each build one."""

    settings: Settings
    database: Database
    derived_keys: DerivedKeys
    hasher: Hasher
    breached_passwords: BreachedPasswords
    registrations: Turns
    rotations: Batches[Rotation, RotatedSession | None]
    revocations: RevocationSet
    tokens: TokenAuthority
    refresh_tokens: RefreshTokenCodec
    device_tokens: DeviceTokenCodec
    # Set after a mail was committed to the outbox, so that it leaves at once.
    mail_wakeup: asyncio.Event = field(default_factory=asyncio.Event)
    observer: Observer = field(default_factory=Observer)

    @classmethod
    def build(cls, settings: Settings, *, observer: Observer | None = None) -> "Runtime":
        """Wire the tools without touching the network; raises `InvalidSettings`."""
        observer = observer or Observer()
        derived_keys = load_derived_keys(settings)
        revocations = RevocationSet(max_staleness=settings.revocation.max_staleness)
        return cls(
            settings=settings,
            database=Database.of(settings),
            derived_keys=derived_keys,
            hasher=Hasher(settings.password, observer=observer),
            breached_passwords=BreachedPasswords(settings.password),
            registrations=Turns(),
            rotations=Batches(size=MOST_ROTATIONS, most=settings.database.pool_size),
            revocations=revocations,
            tokens=TokenAuthority(
                issuer=settings.issuer,
                audience=settings.access_token.audience,
                lifetime=settings.access_token.lifetime,
                revocations=revocations,
            ),
            refresh_tokens=RefreshTokenCodec(derived_keys),
            device_tokens=DeviceTokenCodec(derived_keys),
            observer=observer,
        )

    async def close(self) -> None:
        """Stop the threads and close the connections."""
        self.hasher.close()
        await self.database.close()
