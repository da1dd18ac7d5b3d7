"""A served authapi on the test database, and a stand-in for one that misbehaves."""

from collections.abc import AsyncIterator, Iterator

import pytest
from fastapi import FastAPI

from authapi.main import create_app
from tests.conftest import make_settings
from tests.support.served_authapi import served_beside
from tests.support.serving import serve
from tests.verify.troubled_authapi import TroubledAuthapi


@pytest.fixture(scope="session")
async def authapi_url(
    shared_app: FastAPI, database_url: str, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[str]:
    """Another host of the same installation, on a real port."""
    settings = make_settings(database_url=database_url, data_dir=tmp_path_factory.mktemp("host"))
    async with served_beside(create_app(settings)) as url:
        yield url


@pytest.fixture
def troubled() -> Iterator[TroubledAuthapi]:
    """A server that answers as the test wants."""
    stand_in = TroubledAuthapi()
    with serve(stand_in) as url:
        stand_in.url = url
        yield stand_in
