import asyncio
import time
from datetime import timedelta
from pathlib import Path

import pytest
import time_machine

from authapi import clock
from authapi.enums import MailState
from authapi.logs import configure_logging
from authapi.models import MailMessage
from authapi.services import mail_delivery
from authapi.services.mail_delivery import CLAIM_SECONDS, MAX_BACKOFF_SECONDS, MailDelivery, backoff
from tests.mail.conftest import MakeOutbox
from tests.support.outbox import TOKEN
from tests.support.smtp_server import SmtpServer, text_of


class TestHealthyServer:
    async def test_a_committed_mail_arrives_and_is_erased(
        self, make_outbox: MakeOutbox, server: SmtpServer
    ) -> None:
        outbox = make_outbox(server.url)
        await outbox.deliver()
        assert await outbox.enqueue()
        (message,) = await server.wait_for(1)
        assert f"https://auth.example.com/reset-password?token={TOKEN}" in text_of(message)
        assert server.accepted[0].rcpt_tos == ["Ada@example.com"]
        assert server.accepted[0].mail_from == "no-reply@auth.example.com"
        row = await outbox.wait_for(MailState.SENT)
        assert row.message_id == message["Message-ID"]
        assert (row.sealed_message, row.claimed_until, row.last_error, row.attempts) == (None, None, None, 1)
        assert row.sent_at is not None

    async def test_one_that_comes_as_the_last_sender_ends_leaves_at_once_too(
        self, make_outbox: MakeOutbox, server: SmtpServer, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(mail_delivery, "POLL_SECONDS", 30.0)
        outbox = make_outbox(server.url)
        delivery = await outbox.deliver()
        claim, late = delivery._claim, ["late@example.com"]

        async def claim_late() -> MailMessage | None:
            mail = await claim()
            if mail is None and late:
                await outbox.enqueue(late.pop())
                # The loop has looked, and found everybody at work.
                await asyncio.sleep(0.2)
            return mail

        monkeypatch.setattr(delivery, "_claim", claim_late)
        await outbox.enqueue("early@example.com")
        await server.wait_for(2)

    async def test_it_leaves_at_once(self, make_outbox: MakeOutbox, server: SmtpServer) -> None:
        outbox = make_outbox(server.url)
        await outbox.deliver()
        await asyncio.sleep(0.1)
        started = time.monotonic()
        await outbox.enqueue()
        await server.wait_for(1)
        # Not the second of the poll.
        assert time.monotonic() - started < 0.4

    async def test_a_mail_of_another_process_is_found(
        self, make_outbox: MakeOutbox, server: SmtpServer
    ) -> None:
        here, there = make_outbox(server.url), make_outbox(server.url)
        await here.deliver()
        await there.enqueue()
        await server.wait_for(1, seconds=5)

    async def test_a_rolled_back_mail_never_leaves(self, make_outbox: MakeOutbox, server: SmtpServer) -> None:
        outbox = make_outbox(server.url)
        await outbox.deliver()

        async def write_and_fail() -> None:
            async with outbox.runtime.database.unit_of_work() as db:
                assert await outbox.write(db)
                raise ZeroDivisionError

        with pytest.raises(ZeroDivisionError):
            await write_and_fail()
        assert not outbox.runtime.mail_wakeup.is_set()
        assert await outbox.rows() == []

    async def test_two_senders_deliver_each_mail_once(
        self, make_outbox: MakeOutbox, server: SmtpServer
    ) -> None:
        outboxes = [make_outbox(server.url), make_outbox(server.url)]
        for outbox in outboxes:
            await outbox.deliver()
        # No more at a time than a pool has connections, of which the delivery needs some as well; and SQLite
        # has one writer at a time.
        turns = asyncio.Semaphore(2 if outboxes[0].runtime.database.is_sqlite else 8)

        async def enqueue(number: int) -> None:
            async with turns:
                await outboxes[number % 2].enqueue(f"user{number}@example.com")

        await asyncio.gather(*map(enqueue, range(200)))
        await server.wait_for(200, seconds=60)
        await asyncio.sleep(1)
        assert len(server.accepted) == 200
        assert {envelope.rcpt_tos[0] for envelope in server.accepted} == {
            f"user{n}@example.com" for n in range(200)
        }
        assert len({message["Message-ID"] for message in server.messages}) == 200
        rows = await outboxes[0].rows()
        assert {(row.state, row.attempts) for row in rows} == {(MailState.SENT, 1)}
        # Several mails went over each connection.
        assert server.connections < 100


class TestFailures:
    async def test_enqueueing_does_not_wait_for_a_server_that_is_down(
        self, make_outbox: MakeOutbox, server: SmtpServer
    ) -> None:
        await server.stop()
        outbox = make_outbox(server.url)
        await outbox.deliver()
        started = time.monotonic()
        for number in range(20):
            await outbox.enqueue(f"user{number}@example.com")
        assert time.monotonic() - started < 3
        await server.start()
        await server.wait_for(20, seconds=20)

    @pytest.mark.parametrize("mode", ["4xx", "busy", "hang"])
    async def test_what_may_pass_is_tried_again(
        self, make_outbox: MakeOutbox, server: SmtpServer, mode: str
    ) -> None:
        server.mode = mode
        outbox = make_outbox(server.url, timeout=0.3)
        await outbox.deliver()
        await outbox.enqueue()
        row = await outbox.wait_for(MailState.PENDING, last_error=True)
        assert row.claimed_until is None
        assert row.sealed_message is not None
        assert row.last_error is not None
        assert "example.com" not in row.last_error
        server.mode = "ok"
        (message,) = await server.wait_for(1)
        assert message["Message-ID"] == row.message_id

    @pytest.mark.parametrize(("mode", "error"), [("5xx", "550"), ("data 5xx", "554")])
    async def test_what_is_refused_for_good_is_not_tried_again(
        self, make_outbox: MakeOutbox, server: SmtpServer, mode: str, error: str
    ) -> None:
        server.mode = mode
        outbox = make_outbox(server.url)
        await outbox.deliver()
        await outbox.enqueue()
        row = await outbox.wait_for(MailState.DEAD)
        assert row.last_error is not None
        assert row.last_error.endswith(error)
        # For a retry by the operator.
        assert row.sealed_message is not None
        await asyncio.sleep(1.5)
        assert server.attempts <= 1

    async def test_one_refused_recipient_does_not_hold_up_the_others(
        self, make_outbox: MakeOutbox, server: SmtpServer
    ) -> None:
        outbox = make_outbox(server.url)
        server.mode = "5xx"
        await outbox.deliver()
        await outbox.enqueue("nobody@example.com")
        await outbox.wait_for(MailState.DEAD)
        server.mode = "ok"
        await outbox.enqueue("ada@example.com")
        await server.wait_for(1, seconds=3)

    async def test_after_two_days_it_gives_up(self, make_outbox: MakeOutbox, server: SmtpServer) -> None:
        await server.stop()
        outbox = make_outbox(server.url)
        await outbox.enqueue()
        await outbox.change(give_up_at=clock.utc_now() - timedelta(seconds=1))
        await outbox.deliver()
        row = await outbox.wait_for(MailState.DEAD)
        assert row.attempts == 1
        assert row.last_error == "ConnectionRefusedError"

    async def test_a_day_of_failures_is_survived(self, make_outbox: MakeOutbox, server: SmtpServer) -> None:
        await server.stop()
        outbox = make_outbox(server.url)
        await outbox.enqueue()
        await outbox.change(attempts=300)
        delivery = await outbox.deliver()
        row = await outbox.wait_for(MailState.PENDING, last_error=True)
        await delivery.stop()
        left = row.next_attempt_at - clock.utc_now()
        assert timedelta(seconds=280) < left <= timedelta(seconds=300)

    async def test_an_unreadable_mail_waits_for_its_key(
        self, make_outbox: MakeOutbox, server: SmtpServer
    ) -> None:
        outbox = make_outbox(server.url)
        await outbox.enqueue()
        await outbox.change(sealed_message="v1.AAAAAAAA.AAAA")
        await outbox.deliver()
        assert (await outbox.wait_for(MailState.DEAD)).last_error == "SealBroken"

    def test_backoff_doubles_up_to_five_minutes(self) -> None:
        waits = [backoff(attempts).total_seconds() for attempts in range(1, 12)]
        assert waits[:9] == [1, 2, 4, 8, 16, 32, 64, 128, 256]
        assert waits[9:] == [MAX_BACKOFF_SECONDS] * 2
        assert backoff(100_000).total_seconds() == MAX_BACKOFF_SECONDS


class TestClaims:
    async def test_a_start_does_not_wait_for_the_backoff(
        self, make_outbox: MakeOutbox, server: SmtpServer
    ) -> None:
        outbox = make_outbox(server.url)
        await outbox.enqueue()
        await outbox.change(attempts=12, next_attempt_at=clock.utc_now() + timedelta(minutes=5))
        await outbox.deliver()
        await server.wait_for(1, seconds=3)

    async def test_what_a_living_sender_owns_is_left_to_it_until_it_must_be_dead(
        self, make_outbox: MakeOutbox, server: SmtpServer
    ) -> None:
        outbox = make_outbox(server.url)
        await outbox.enqueue()
        await outbox.change(claimed_until=clock.utc_now() + timedelta(seconds=CLAIM_SECONDS))
        await outbox.deliver()
        await asyncio.sleep(1.2)
        assert server.connections == 0
        with time_machine.travel(clock.utc_now() + timedelta(seconds=CLAIM_SECONDS + 1)):
            await server.wait_for(1, seconds=5)

    async def test_stopping_lets_the_mail_under_way_arrive(
        self, make_outbox: MakeOutbox, server: SmtpServer
    ) -> None:
        server.mode = "slow"
        server.delay = 0.5
        outbox = make_outbox(server.url)
        delivery = await outbox.deliver()
        for number in range(12):
            await outbox.enqueue(f"user{number}@example.com")
        await server.wait_for(1)
        await delivery.stop()
        rows = await outbox.rows()
        sent = [row for row in rows if row.state == MailState.SENT]
        assert 1 <= len(sent) < 12
        assert len(server.accepted) == len(sent)
        assert all(row.claimed_until is None for row in rows)

    async def test_stopping_does_not_wait_for_a_server_that_hangs(
        self, make_outbox: MakeOutbox, server: SmtpServer
    ) -> None:
        server.mode = "hang"
        outbox = make_outbox(server.url, timeout=60)
        delivery = await outbox.deliver()
        await outbox.enqueue()
        async with asyncio.timeout(5):
            while not server.attempts:  # noqa: ASYNC110 - the server tells nobody
                await asyncio.sleep(0.02)
        started = time.monotonic()
        await delivery.stop()
        assert time.monotonic() - started < 6
        assert (await outbox.row()).state == MailState.PENDING


class TestSecrets:
    async def test_neither_logs_nor_rows_hold_the_link(
        self, make_outbox: MakeOutbox, server: SmtpServer, tmp_path: Path
    ) -> None:
        log = tmp_path / "log"
        with log.open("w") as stream:
            configure_logging(format="json", level="debug", stream=stream)
            try:
                server.mode = "4xx"
                outbox = make_outbox(server.url)
                delivery = MailDelivery(outbox.runtime)
                await delivery.start()
                await outbox.enqueue()
                row = await outbox.wait_for(MailState.PENDING, last_error=True)
                server.mode = "5xx"
                await outbox.wait_for(MailState.DEAD)
                await delivery.stop()
            finally:
                configure_logging(format="json", level="info")
        text = log.read_text()
        assert "mail.dead" in text
        stored = "".join(str(value) for value in vars(row).values())
        for secret in (TOKEN, "Lovelace", "reset-password?"):
            assert secret not in text
            assert secret not in stored
        assert "da@example.com" not in text
