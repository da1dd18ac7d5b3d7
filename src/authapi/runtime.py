"""What a running process holds: settings, database, hashing threads, keys. Built once, handed to services."""

from dataclasses import dataclass

from authapi.database import Database
from authapi.hashing import Hasher
from authapi.secret_keys import load_derived_keys
from authapi.security.derived_keys import DerivedKeys
from authapi.settings import Settings
from authapi.token_authority import TokenAuthority


@dataclass(frozen=True, slots=True)
class Runtime:
    """The tools of the use cases; the command line and the HTTP application each build one."""

    settings: Settings
    database: Database
    derived_keys: DerivedKeys
    hasher: Hasher
    tokens: TokenAuthority

    @classmethod
    def build(cls, settings: Settings) -> "Runtime":
        """Wire the tools without touching the network; raises `InvalidSettings`."""
        return cls(
            settings=settings,
            database=Database(
                settings.database_url,
                pool_size=settings.database.pool_size,
                timeout=settings.database.timeout,
            ),
            derived_keys=load_derived_keys(settings),
            hasher=Hasher(settings.password),
            tokens=TokenAuthority(
                issuer=settings.issuer,
                audience=settings.access_token.audience,
                lifetime=settings.access_token.lifetime,
            ),
        )

    async def close(self) -> None:
        """Stop the threads and close the connections."""
        self.hasher.close()
        await self.database.close()
