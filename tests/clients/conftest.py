"""A served authapi on the test database, for clients that need a real port."""

from collections.abc import AsyncIterator

import pytest
from fastapi import FastAPI

from authapi.main import create_app
from tests.conftest import make_settings
from tests.support.served_authapi import served_beside


@pytest.fixture(scope="session")
async def server_url(
    shared_app: FastAPI, database_url: str, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[str]:
    """Another host of the same installation as `runtime` and `accounts`."""
    settings = make_settings(database_url=database_url, data_dir=tmp_path_factory.mktemp("host"))
    async with served_beside(create_app(settings)) as url:
        yield url
