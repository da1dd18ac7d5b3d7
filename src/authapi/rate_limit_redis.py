"""Counts spent requests in Redis, for all workers and hosts together."""

from redis.asyncio import BlockingConnectionPool, Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import RedisError

from authapi.rate_limit_storage import Spending

SOCKET_TIMEOUT = 1.0
"""Seconds after which a connection that does not answer is given up; no request waits for that."""

# Redis's clock is the only one, so workers and hosts with wrong clocks count alike.
# KEYS: the log, newest first. ARGV: limit, window in ms.
# Returns: allowed, remaining, ms until the oldest leaves.
SPEND = """
local limit, window = tonumber(ARGV[1]), tonumber(ARGV[2])
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local newest = tonumber(redis.call('LINDEX', KEYS[1], 0))
if newest and newest > now + 1000 then
  -- The clock was set back. Everything counts as spent now: the limit is neither reset nor frozen.
  local count = redis.call('LLEN', KEYS[1])
  redis.call('DEL', KEYS[1])
  for _ = 1, count do redis.call('LPUSH', KEYS[1], string.format('%.0f', now)) end
  redis.call('PEXPIRE', KEYS[1], window)
end
local oldest = tonumber(redis.call('LINDEX', KEYS[1], -1))
while oldest and oldest <= now - window do
  redis.call('RPOP', KEYS[1])
  oldest = tonumber(redis.call('LINDEX', KEYS[1], -1))
end
local count = redis.call('LLEN', KEYS[1])
if count >= limit then return {0, 0, oldest + window - now} end
redis.call('LPUSH', KEYS[1], string.format('%.0f', now))
redis.call('PEXPIRE', KEYS[1], window)
return {1, limit - count - 1, (oldest or now) + window - now}
"""


class RedisStorage:
    """Counts in Redis, for all workers and hosts together, in one round trip.

    Raises:
        ValueError: `url` is none that Redis understands; the message does not repeat it, it holds a password.
    """

    def __init__(self, url: str) -> None:
        try:
            pool = BlockingConnectionPool.from_url(
                url,
                # Bounded: a frozen Redis must not use up the file descriptors.
                max_connections=16,
                timeout=SOCKET_TIMEOUT,
                socket_timeout=SOCKET_TIMEOUT,
                socket_connect_timeout=SOCKET_TIMEOUT,
                retry=Retry(NoBackoff(), 0),
            )
            # Nothing is sent; an unknown option in the URL shows now instead of under load.
            pool.make_connection()  # type: ignore[no-untyped-call]  # untyped in redis
        except (ValueError, TypeError):
            raise ValueError(
                "AUTHAPI_RATE_LIMIT__STORAGE_URL must be memory:// or redis://[:password@]host[:port][/db]"
            ) from None
        self._client = Redis.from_pool(pool)
        self._spend = self._client.register_script(SPEND)

    async def spend(self, key: str, *, limit: int, window: int) -> Spending:
        """As `Storage`; raises `OSError` or `TimeoutError` when Redis does not answer as it should."""
        try:
            is_allowed, remaining, reset_after_ms = await self._spend(
                keys=[f"authapi:limit:{key}"], args=[limit, window * 1000]
            )
        except RedisError as error:
            raise OSError(f"{type(error).__name__}: {error}") from error
        return Spending(
            is_allowed=bool(is_allowed), limit=limit, remaining=remaining, reset_after=reset_after_ms / 1000
        )

    async def close(self) -> None:
        await self._client.aclose()
