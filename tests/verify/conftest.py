"""A served authapi on the test database, and a stand-in for one that misbehaves."""

from collections.abc import Iterator

import pytest
from fastapi import FastAPI

from authapi.main import create_app
from tests.conftest import make_settings
from tests.support.serving import serve
from tests.verify.troubled_authapi import TroubledAuthapi


@pytest.fixture(scope="session")
def authapi_url(
    shared_app: FastAPI, database_url: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[str]:
    """Another host of the same installation, on a real port."""
    settings = make_settings(database_url=database_url, data_dir=tmp_path_factory.mktemp("host"))
    with serve(create_app(settings)) as url:
        yield url


@pytest.fixture
def troubled() -> Iterator[TroubledAuthapi]:
    """A server that answers as the test wants."""
    stand_in = TroubledAuthapi()
    with serve(stand_in) as url:
        stand_in.url = url
        yield stand_in
