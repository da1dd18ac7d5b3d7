import asyncio
from datetime import timedelta
from pathlib import Path

import pytest
import time_machine

from authapi import clock
from authapi.enums import MailKind, MailState
from authapi.models import User
from authapi.request_context import RequestContext, bind
from authapi.runtime import Runtime
from authapi.services import mail_administration, mail_links, mail_outbox, notifications
from authapi.services.mail_outbox import reseal_mails, sealer, unseal
from tests.conftest import make_settings
from tests.mail.conftest import MakeOutbox
from tests.support.outbox import TOKEN
from tests.support.smtp_server import SmtpServer, text_of


def make_user() -> User:
    return User(
        id=None,
        email="Ada@Example.com",
        email_canonical="ada@example.com",
        full_name="Ada Lovelace",
        locale="de",
    )


class TestEnqueue:
    async def test_the_row_is_sealed_for_its_place(self, make_outbox: MakeOutbox) -> None:
        outbox = make_outbox()
        assert await outbox.enqueue("Ada@example.com")
        row = await outbox.row()
        assert (row.kind, row.recipient, row.state) == (
            "reset_password",
            "ada@example.com",
            MailState.PENDING,
        )
        assert row.message_id == f"<{row.id}@auth.example.com>"
        envelope = unseal(sealer(outbox.runtime), row, sender="a <b@c.example>")
        assert (envelope.recipient, envelope.sender) == ("Ada@example.com", "b@c.example")
        assert TOKEN in envelope.message.decode()

    async def test_a_domain_is_written_as_the_dns_knows_it(self, make_outbox: MakeOutbox) -> None:
        outbox = make_outbox()
        async with outbox.runtime.database.unit_of_work() as db:
            await mail_outbox.enqueue(
                db,
                outbox.runtime,
                kind=MailKind.INVITATION,
                to="Ada@bücher.example",
                recipient_canonical="ada@xn--bcher-kva.example",
                locale="de",
                user_id=None,
                context={"link": "https://auth.example.com/x", "lifetime": timedelta(days=7)},
            )
        envelope = unseal(sealer(outbox.runtime), await outbox.row(), sender="b@c.example")
        assert envelope.recipient == "Ada@xn--bcher-kva.example"

    async def test_an_incomplete_context_is_a_mistake_of_the_caller(self, make_outbox: MakeOutbox) -> None:
        outbox = make_outbox()
        with pytest.raises(KeyError, match="lifetime, link"):
            async with outbox.runtime.database.unit_of_work() as db:
                await mail_outbox.enqueue(
                    db,
                    outbox.runtime,
                    kind=MailKind.INVITATION,
                    to="a@example.com",
                    recipient_canonical="a@example.com",
                    locale="en",
                    user_id=None,
                    context={},
                )
        assert await outbox.rows() == []


class TestCaps:
    async def test_strangers_cannot_fill_a_mailbox(self, make_outbox: MakeOutbox) -> None:
        outbox = make_outbox(max_per_hour=3)
        # The spelling makes no difference: counted is the canonical form.
        results = [await outbox.enqueue(to) for to in ("a@example.com", "A@example.com") * 2]
        assert results == [True, True, True, False]
        assert len(await outbox.rows()) == 3
        assert await outbox.enqueue("b@example.com")
        assert await outbox.enqueue("a@example.com", kind=MailKind.VERIFY_EMAIL)
        with time_machine.travel(clock.utc_now() + timedelta(hours=1, seconds=1)):
            assert await outbox.enqueue("a@example.com")

    async def test_what_happened_is_told_more_often(self, make_outbox: MakeOutbox) -> None:
        outbox = make_outbox(max_per_hour=1)
        results = [await outbox.enqueue("a@example.com", kind=MailKind.PASSWORD_CHANGED) for _ in range(12)]
        assert results == [True] * 10 + [False] * 2

    async def test_many_at_once_are_counted_too(self, make_outbox: MakeOutbox) -> None:
        outboxes = [make_outbox(max_per_hour=5), make_outbox(max_per_hour=5)]
        results = await asyncio.gather(*(outboxes[n % 2].enqueue("a@example.com") for n in range(16)))
        assert sum(results) == 5
        assert len(await outboxes[0].rows()) == 5

    async def test_a_capped_mail_wakes_nobody(self, make_outbox: MakeOutbox) -> None:
        outbox = make_outbox(max_per_hour=1)
        await outbox.enqueue()
        outbox.runtime.mail_wakeup.clear()
        assert not await outbox.enqueue()
        assert not outbox.runtime.mail_wakeup.is_set()

    def test_every_kind_has_a_cap(self, runtime: Runtime) -> None:
        caps = {kind: mail_outbox.max_per_hour(runtime, kind) for kind in MailKind}
        assert caps[MailKind.LOGIN_THROTTLED] == 5
        assert caps[MailKind.PASSWORD_CHANGED] == 50


class TestNotifications:
    async def test_when_and_from_where(self, make_outbox: MakeOutbox, server: SmtpServer) -> None:
        outbox = make_outbox(server.url)
        await outbox.deliver()
        caller = RequestContext(ip="2001:db8::7", user_agent="Mozilla/5.0 (Macintosh)")
        with bind(caller), time_machine.travel("2026-03-01T23:30:00Z", tick=True):
            async with outbox.runtime.database.unit_of_work() as db:
                assert await notifications.notify(
                    db, outbox.runtime, user=make_user(), kind=MailKind.PASSWORD_CHANGED
                )
            (message,) = await server.wait_for(1)
        assert message["Subject"] == "Ihr Passwort wurde geändert"
        assert message["To"] == "Ada@example.com"
        text = text_of(message)
        assert "Wann: 1. März 2026, 23:30 UTC\n" in text
        assert "IP-Adresse: 2001:db8::7\n" in text
        assert "Gerät: Mozilla/5.0 (Macintosh)\n" in text

    async def test_outside_of_a_request(self, make_outbox: MakeOutbox) -> None:
        outbox = make_outbox()
        async with outbox.runtime.database.unit_of_work() as db:
            await notifications.notify(db, outbox.runtime, user=make_user(), kind=MailKind.ACCOUNT_DELETED)
        envelope = unseal(sealer(outbox.runtime), await outbox.row(), sender="b@c.example")
        text = text_of(envelope.parse())
        assert "Wann: " in text
        assert "IP-Adresse" not in text

    async def test_its_own_values_go_first(self, make_outbox: MakeOutbox) -> None:
        outbox = make_outbox()
        async with outbox.runtime.database.unit_of_work() as db:
            await notifications.notify(
                db, outbox.runtime, user=make_user(), kind=MailKind.SESSION_REUSED, ip="192.0.2.99"
            )
        envelope = unseal(sealer(outbox.runtime), await outbox.row(), sender="b@c.example")
        assert "IP-Adresse: 192.0.2.99" in text_of(envelope.parse())


class TestLinks:
    def test_made_of_the_settings_only(self, runtime: Runtime) -> None:
        link = mail_links.link(runtime, mail_links.VERIFY_EMAIL, token="authapi_ott_a&b=c/+")
        assert link == f"{runtime.settings.base_url}/verify-email?token=authapi_ott_a%26b%3Dc%2F%2B"


class TestSecretRotation:
    async def test_mails_survive_a_change_of_the_secret_key(
        self, make_outbox: MakeOutbox, mail_database_url: str, tmp_path: Path
    ) -> None:
        outbox = make_outbox()
        await outbox.enqueue()
        old = outbox.runtime.settings.secret_key
        assert old is not None
        runtimes = [
            Runtime.build(
                make_settings(
                    database_url=mail_database_url,
                    data_dir=tmp_path,
                    secret_key="another key for tests, and long enough",
                    secret_key_previous=previous,
                )
            )
            for previous in ([old.get_secret_value()], [])
        ]
        async with runtimes[0].database.unit_of_work() as db:
            assert await reseal_mails(db, runtimes[0]) == (1, 1)
            assert await reseal_mails(db, runtimes[0]) == (0, 1)
        envelope = unseal(sealer(runtimes[1]), await outbox.row(), sender="b@c.example")
        assert TOKEN in envelope.message.decode()
        async with outbox.runtime.database.unit_of_work() as db:
            # What no key opens is left for the key to come back.
            assert await reseal_mails(db, outbox.runtime) == (0, 1)
        for runtime in runtimes:
            await runtime.close()


class TestRetry:
    async def test_a_dead_mail_is_sent_after_all(self, make_outbox: MakeOutbox, server: SmtpServer) -> None:
        server.mode = "5xx"
        outbox = make_outbox(server.url)
        await outbox.deliver()
        await outbox.enqueue()
        dead = await outbox.wait_for(MailState.DEAD)
        server.mode = "ok"
        async with outbox.runtime.database.unit_of_work() as db:
            assert await mail_administration.retry(db, ids=[dead.id]) == [dead.id]
        (message,) = await server.wait_for(1, seconds=3)
        assert message["Message-ID"] == dead.message_id
        row = await outbox.wait_for(MailState.SENT)
        assert row.give_up_at > dead.give_up_at

    async def test_sent_mails_and_those_in_hand_are_left_alone(self, make_outbox: MakeOutbox) -> None:
        outbox = make_outbox()
        await outbox.enqueue()
        for values in (
            {"state": MailState.SENT, "claimed_until": None},
            {"state": MailState.PENDING, "claimed_until": clock.utc_now() + timedelta(seconds=30)},
        ):
            await outbox.change(**values)
            async with outbox.runtime.database.unit_of_work() as db:
                assert await mail_administration.retry(db) == []
