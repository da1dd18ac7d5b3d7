"""Callers of the administration."""

import httpx
import pytest

from tests.api.admin.support import Caller
from tests.support.accounts import Accounts


@pytest.fixture
async def admin(client: httpx.AsyncClient, accounts: Accounts) -> Caller:
    """An administrator."""
    return Caller(client, await accounts.admin("admin@example.com"))


@pytest.fixture
async def auditor(client: httpx.AsyncClient, accounts: Accounts) -> Caller:
    """Somebody who may read everything and change nothing."""
    return Caller(client, await accounts.with_roles("auditor", email="auditor@example.com"))


@pytest.fixture
async def support(client: httpx.AsyncClient, accounts: Accounts, admin: Caller) -> Caller:
    """Somebody who may change users and roles, with a role of the installation's own."""
    await admin.make_role("support", "users:read", "users:write", "roles:read", "roles:write")
    return Caller(client, await accounts.with_roles("support", email="support@example.com"))
