from datetime import timedelta

from pydantic import SecretStr

from authapi import clock
from authapi.enums import SigningAlgorithm
from authapi.models import SigningKey
from authapi.repositories import signing_keys
from authapi.runtime import Runtime
from authapi.services.key_listing import KeyState, list_keys

HOUR = timedelta(hours=1)


def key(
    kid: str, *, age: timedelta, ends_in: timedelta | None = None, algorithm: str = "ES256"
) -> SigningKey:
    """A row that is never opened."""
    now = clock.utc_now()
    return SigningKey(
        kid=kid,
        algorithm=algorithm,
        sealed_private_key="sealed",
        activates_at=now - age,
        verifies_until=None if ends_in is None else now + ends_in,
    )


async def listed(runtime: Runtime, *rows: SigningKey) -> dict[str, KeyState]:
    """The states by kid; the rows are not kept."""
    async with runtime.database.reading() as db:
        for row in await signing_keys.list_all(db):
            await db.delete(row)
        for row in rows:
            await signing_keys.add(db, row)
        return {item.kid: item.state for item in await list_keys(db, runtime)}


class TestListKeys:
    async def test_the_life_of_a_key(self, runtime: Runtime) -> None:
        states = await listed(
            runtime,
            key("d", age=-HOUR),
            key("c", age=HOUR),
            key("b", age=2 * HOUR, ends_in=HOUR),
            key("a", age=3 * HOUR, ends_in=-HOUR),
        )
        assert states == {
            "d": KeyState.NEXT,
            "c": KeyState.CURRENT,
            "b": KeyState.RETIRED,
            "a": KeyState.EXPIRED,
        }

    async def test_under_hs256_the_setting_signs(self, runtime: Runtime) -> None:
        access_token = runtime.settings.access_token.model_copy(
            update={
                "algorithm": SigningAlgorithm.HS256,
                "secret": SecretStr("Vq0k5mYtT1zR8sN3bE7wXc2LpJ9hUgAf"),
            }
        )
        settings = runtime.settings.model_copy(update={"access_token": access_token})
        other = Runtime.build(settings)
        try:
            states = await listed(other, key("stored", age=HOUR))
        finally:
            await other.close()
        assert list(states.values()) == [KeyState.CURRENT, KeyState.RETIRED]
        assert states["stored"] is KeyState.RETIRED
