"""What must not tell whether an account exists asks the database the same (ASVS 6.3.8).

The times themselves: `python -m benchmarks.timing_equality`.
"""

from typing import Any

import httpx

from authapi.runtime import Runtime
from tests.support.accounts import PASSWORD, Accounts
from tests.support.statements import statements_of_requests


async def work_for(runtime: Runtime, client: httpx.AsyncClient, path: str, **options: Any) -> list[str]:
    with statements_of_requests(runtime) as statements:
        response = await client.post(path, **options)
    return [str(response.status_code), *statements]


async def test_login_with_the_token_of_a_device_of_ones_own(
    runtime: Runtime, client: httpx.AsyncClient, accounts: Accounts
) -> None:
    stranger, known = await accounts.register(), await accounts.register()
    works = []
    for email in (known.email, "nobody@example.com"):
        body = {"email": email, "password": "Wrong 1", "device_token": stranger.data["device_token"]}
        works.append(await work_for(runtime, client, "/api/auth/login", json=body))
    assert works[0] == works[1]
    assert works[0][0] == "401"
    assert any("FROM known_devices" in statement for statement in works[0])


async def test_change_to_a_taken_address(
    runtime: Runtime, client: httpx.AsyncClient, accounts: Accounts
) -> None:
    caller, known = await accounts.register(), await accounts.register()
    works = []
    for email in (known.email, "nobody@example.com"):
        body = {"new_email": email, "password": PASSWORD}
        works.append(
            await work_for(runtime, client, "/api/auth/email/change", json=body, headers=caller.headers)
        )
    assert works[0] == works[1]
    assert works[0][0] == "202"
