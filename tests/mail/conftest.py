"""A database of its own: other applications of the test session would carry these mails away."""

from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest
from sqlalchemy import delete

from authapi.models import MailMessage
from authapi.runtime import Runtime
from authapi.services.mail_delivery import MailDelivery
from tests.conftest import make_settings
from tests.support.databases import kind_of, migrated_database
from tests.support.outbox import Outbox
from tests.support.smtp_server import SmtpServer, smtp_server

MakeOutbox = Callable[..., Outbox]


@pytest.fixture(scope="session")
async def mail_database_url(
    database_url: str, request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> str:
    """A migrated database of the same kind as `database_url`."""
    return await migrated_database(request, kind_of(database_url), tmp_path_factory.mktemp("mail"))


@pytest.fixture
async def make_outbox(mail_database_url: str, tmp_path: Path) -> AsyncIterator[MakeOutbox]:
    """Builds processes that share an outbox, empty at first: `make_outbox("smtp://…", max_per_hour=5)`."""
    runtimes: list[Runtime] = []
    deliveries: list[MailDelivery] = []

    def make(url: str = "console://", **mail: object) -> Outbox:
        settings = make_settings(
            database_url=mail_database_url,
            data_dir=tmp_path,
            mail={"url": url, "timeout": 2, "from": "The service <no-reply@auth.example.com>", **mail},
            public_url="https://auth.example.com",
        )
        runtimes.append(Runtime.build(settings))
        return Outbox(runtimes[-1], deliveries)

    first = make()
    async with first.runtime.database.unit_of_work() as db:
        await db.execute(delete(MailMessage))
    yield make
    for delivery in deliveries:
        await delivery.stop()
    for runtime in runtimes:
        await runtime.close()


@pytest.fixture
async def server() -> AsyncIterator[SmtpServer]:
    """A mail server in good health."""
    async with smtp_server() as server:
        yield server
