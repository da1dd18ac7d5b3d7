"""Users of other systems: their hashes, their files, and what is wrong with some of the lines."""

import io
import json
from typing import Any

import httpx
import pytest
from sqlalchemy import event, func, select
from sqlalchemy.exc import IntegrityError

from authapi.models import AuditEvent, PasswordCredential, User
from authapi.repositories import users
from authapi.runtime import Runtime
from authapi.services import user_export, user_import
from authapi.services.user_files import (
    MAX_LINE_BYTES,
    FileFormat,
    Line,
    UnreadableFile,
    read_lines,
    write_header,
    write_lines,
)
from authapi.services.user_import import ImportReport
from tests.conftest import MakeApp
from tests.support.accounts import PASSWORD, Accounts

BCRYPT = "$2b$04$/IAwAG/0fVts.dx4ty6w0uVXPfJpz6xxcgKXO3uJ1dBWt6KfI58Ne"
# The example of github.com/firebase/scrypt.
FIREBASE = (
    "$fbscrypt$v=1,n=14,r=8,p=1,ss=Bw==,"
    "sk=jxspr8Ki0RYycVU8zykbdLGjFQ3McFUH0uiiTvC8pVMXAn210wjLNmdZJzxUECKbm0QsEmYUSDzZvpjeJ9WmXA==$"
    "42xEC+ixf3L2lw==$"
    "lSrfV15cpx95/sZS2W9c9Kp6i/LVgQNDNC/qzrCnh1SAyZvqmZqAjTdn3aoItz+VHjoZilo78198JAdRuid5lQ=="
)
HASHES = {
    BCRYPT: "correct horse",
    FIREBASE: "user1password",
    "pbkdf2_sha256$4$9PFb076F64tP$1fG/toKPrhsBcmiF7cJUxhoxyjhZylkxG/DLmQIp1wc=": "correct horse",
    "$P$5cXKccwBnFbdLYJsZejMFg8r6A0uxi1": "correct horse",
    "{SSHA}GkdukSUYd3yZLe/q19dpcwagQg1jLMWY": "correct horse",
}


def lines(*values: dict[str, Any]) -> list[Line]:
    return [Line(number, value) for number, value in enumerate(values, 1)]


async def run(
    runtime: Runtime, given: list[Line], *, dry_run: bool = False
) -> tuple[ImportReport, dict[int, str]]:
    """The counts, and the reasons by line."""
    reasons: dict[int, str] = {}
    report = await user_import.import_users(
        runtime, given, dry_run=dry_run, on_batch=lambda batch: reasons.update(batch.reasons)
    )
    return report, reasons


def counts(report: ImportReport) -> tuple[int, int, int]:
    return report.imported, report.skipped, report.rejected


async def find(runtime: Runtime, email: str) -> User:
    async with runtime.database.reading() as db:
        user = await users.find_by_email(db, email_canonical=email)
    assert user is not None
    return user


class TestImportUsers:
    @pytest.mark.parametrize("stored", HASHES)
    async def test_the_old_password_works_and_is_hashed_anew(
        self, client: httpx.AsyncClient, runtime: Runtime, stored: str
    ) -> None:
        report, _ = await run(runtime, lines({"email": "ada@example.com", "password_hash": stored}))
        assert counts(report) == (1, 0, 0)
        wrong = {"email": "ada@example.com", "password": "wrong"}
        assert (await client.post("/api/auth/login", json=wrong)).status_code == 401
        for _ in range(2):
            body = {"email": "ada@example.com", "password": HASHES[stored]}
            assert (await client.post("/api/auth/login", json=body)).status_code == 200
        async with runtime.database.reading() as db:
            now_stored = await db.scalar(select(PasswordCredential.password_hash))
        assert (now_stored or "").startswith("$bcrypt-sha256$")

    async def test_every_field_arrives(self, runtime: Runtime) -> None:
        given = {
            "id": "0190a5c0-0000-7000-8000-000000000001",
            "email": "Ada@Example.com",
            "full_name": " Ada Lovelace ",
            "phone": "+44 20 7946 0018",
            "locale": "de-AT",
            "discoverable": True,
            "email_verified": True,
            "roles": ["admin", "auditor"],
            "disabled": True,
            "created_at": "2020-02-29T12:00:00+01:00",
        }
        assert counts((await run(runtime, lines(given)))[0]) == (1, 0, 0)
        user = await find(runtime, "ada@example.com")
        assert str(user.id) == given["id"]
        assert (user.email, user.full_name, user.full_name_key) == (
            "Ada@Example.com",
            "Ada Lovelace",
            "ada lovelace",
        )
        assert (user.phone, user.locale, user.discoverable) == ("+44 20 7946 0018", "de", True)
        assert (user.email_verified, user.is_active, user.role_names) == (True, False, ("admin", "auditor"))
        assert user.created_at.isoformat() == "2020-02-29T11:00:00+00:00"

    async def test_an_address_is_enough(self, client: httpx.AsyncClient, runtime: Runtime) -> None:
        await run(runtime, lines({"email": "ada@example.com"}))
        user = await find(runtime, "ada@example.com")
        assert (user.full_name, user.role_names, user.email_verified) == ("ada", ("user",), False)
        for password in ("", "!", PASSWORD):
            body = {"email": "ada@example.com", "password": password}
            assert (await client.post("/api/auth/login", json=body)).status_code in {401, 422}

    async def test_two_thousand_and_again(self, runtime: Runtime) -> None:
        given = lines(*({"email": f"u{n}@example.com", "password_hash": BCRYPT} for n in range(2000)))
        assert counts((await run(runtime, given[:1200]))[0]) == (1200, 0, 0)
        assert counts((await run(runtime, given))[0]) == (800, 1200, 0)
        assert counts((await run(runtime, given))[0]) == (0, 2000, 0)
        async with runtime.database.reading() as db:
            assert await db.scalar(select(func.count()).select_from(User)) == 2000
            imported = select(AuditEvent).where(AuditEvent.action == "user.imported")
            events = list(await db.scalars(imported.order_by(AuditEvent.id)))
        assert [event.details["count"] for event in events] == [500, 500, 200, 300, 500]

    async def test_a_dry_run_says_the_same_and_writes_nothing(self, runtime: Runtime) -> None:
        await run(runtime, lines({"email": "taken@example.com"}))
        given = [{"email": f"u{n}@example.com"} for n in range(600)]
        given += [{"email": "U5@example.com"}, {"email": "taken@example.com"}, {"email": "no address"}]
        dry, reasons = await run(runtime, lines(*given), dry_run=True)
        assert counts(dry) == (600, 2, 1)
        async with runtime.database.reading() as db:
            assert await db.scalar(select(func.count()).select_from(User)) == 1
        assert (counts((await run(runtime, lines(*given)))[0]), [*reasons]) == (counts(dry), [603])

    async def test_an_account_keeps_its_password(self, accounts: Accounts, runtime: Runtime) -> None:
        account = await accounts.register("ada@example.com")
        report, _ = await run(runtime, lines({"email": "ADA@example.com", "password_hash": BCRYPT}))
        assert counts(report) == (0, 1, 0)
        assert (await accounts.log_in(account)).access_token

    @pytest.mark.parametrize("times", [1, 2, 3])
    async def test_somebody_else_is_faster_with_an_address(self, runtime: Runtime, times: int) -> None:
        engine = runtime.database.engine.sync_engine
        raced: list[str] = []

        def register(_connection: Any, _cursor: Any, statement: str, *_: Any) -> None:
            if statement.startswith("INSERT INTO users") and len(raced) < times:
                raced.append(statement)
                raise IntegrityError("INSERT", None, Exception("taken"))

        given = lines({"email": "ada@example.com"}, {"email": "bob@example.com"})
        event.listen(engine, "before_cursor_execute", register)
        try:
            if times == user_import.ATTEMPTS:
                with pytest.raises(IntegrityError):
                    await run(runtime, given)
            else:
                assert counts((await run(runtime, given))[0]) == (2, 0, 0)
        finally:
            event.remove(engine, "before_cursor_execute", register)
        assert len(raced) == times


class TestRefusedLines:
    @pytest.mark.parametrize(
        ("values", "reason"),
        [
            ({}, "email: is required"),
            ({"email": "no address"}, "email: is no address that could receive mail"),
            ({"email": "Ada <ada@example.com>"}, "email: is no address that could receive mail"),
            ({"email": 7}, "email: must be a string"),
            ({"email": "\ud800@example.com"}, "email: is not valid Unicode text"),
            ({"email": "a@example.com", "pasword_hash": BCRYPT}, "pasword_hash: is not a field of users"),
            ({"email": "a@example.com", "$2b$04$": "x"}, "a field: is not a field of users"),
            (
                {"email": "a@example.com", "full_name": "a\nb"},
                "full_name: must not hold line breaks or other control characters",
            ),
            (
                {"email": "a@example.com", "full_name": "x" * 201},
                "full_name: must have at most 200 characters",
            ),
            ({"email": "a@example.com", "full_name": "  "}, "full_name: must have at least 1 characters"),
            (
                {"email": "a@example.com", "phone": "call me"},
                "phone: must be a number of 3 to 31 digits, spaces and ( ) . / - behind an optional +",
            ),
            ({"email": "a@example.com", "roles": "user"}, "roles: must be a list"),
            ({"email": "a@example.com", "roles": ["user", 7]}, "roles: must be a string"),
            ({"email": "a@example.com", "disabled": "perhaps"}, "disabled: must be true or false"),
            ({"email": "a@example.com", "id": "17"}, "id: must be a UUID"),
            (
                {"email": "a@example.com", "created_at": "soon"},
                "created_at: must be a date and time with an offset (RFC 3339)",
            ),
            (
                {"email": "a@example.com", "created_at": "2999-01-01"},
                "created_at: lies before 1970 or in the future",
            ),
            (
                {"email": "a@example.com", "created_at": "0001-01-01"},
                "created_at: lies before 1970 or in the future",
            ),
            ({"email": "a@example.com", "roles": ["king"]}, "roles: there is no such role; create it first"),
            (
                {"email": "a@example.com", "password_hash": "hunter2 hunter2"},
                "password_hash is not complete, or of no known scheme",
            ),
            (
                {"email": "a@example.com", "password_hash": "$2b$31$" + BCRYPT[7:]},
                "password_hash of bcrypt asks for more work than is allowed",
            ),
            (
                {"email": "a@example.com", "password_hash": FIREBASE.replace("n=14", "n=24")},
                "password_hash of firebase_scrypt asks for more work than is allowed",
            ),
            (
                {"email": "a@example.com", "password_hash": "$authapi-pepper$v=00000000" + BCRYPT},
                "password_hash needs the pepper 00000000, which is not configured",
            ),
        ],
    )
    async def test_its_reason_repeats_nothing_and_the_others_are_taken(
        self, runtime: Runtime, values: dict[str, Any], reason: str
    ) -> None:
        given = lines({"email": "before@example.com"}, values, {"email": "after@example.com"})
        for dry_run in (True, False):
            report, reasons = await run(runtime, given, dry_run=dry_run)
            assert counts(report) == (2, 0, 1)
            assert reasons == {2: reason}

    async def test_a_batch_of_nothing_else(self, runtime: Runtime) -> None:
        report, reasons = await run(runtime, [Line(1, problem="is not UTF-8"), Line(2, {"email": "x"})])
        assert counts(report) == (0, 0, 2)
        assert reasons[1] == "is not UTF-8"

    async def test_an_address_twice_is_taken_once(self, runtime: Runtime) -> None:
        report, _ = await run(runtime, lines({"email": "a@example.com"}, {"email": "A@example.com"}))
        assert counts(report) == (1, 1, 0)

    async def test_an_id_twice(self, runtime: Runtime) -> None:
        one = {"id": "0190a5c0-0000-7000-8000-000000000001"}
        given = lines(one | {"email": "a@example.com"}, one | {"email": "b@example.com"})
        report, reasons = await run(runtime, given)
        assert (counts(report), reasons) == ((1, 0, 1), {2: "id: belongs to another account"})
        assert (await run(runtime, given[1:]))[1] == {2: "id: belongs to another account"}

    async def test_more_roles_than_a_token_carries(
        self, runtime: Runtime, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(user_import, "MAX_CLAIM_BYTES", 20)
        given = lines({"email": "a@example.com", "roles": ["admin"]}, {"email": "b@example.com"})
        report, reasons = await run(runtime, given)
        assert (counts(report), reasons) == ((1, 0, 1), {1: "roles: are too many for an access token"})


def read(text: str | bytes, file_format: FileFormat) -> list[Line]:
    raw = text if isinstance(text, bytes) else text.encode()
    return list(read_lines(io.BytesIO(raw), file_format))


class TestFiles:
    def test_json_lines(self) -> None:
        text = (
            b'\xef\xbb\xbf{"email": "a@example.com", "phone": null}\r\n\n'
            b'{"email": "\xe9"}\n[1]\n{"email": "a", "email": "b"}\nnull\n'
            + b"[" * 50_000
            + b'\n{"email": "p@example.com", "password": "hunter2"}\n'
            + b"x" * (3 * MAX_LINE_BYTES)
            + b'\n{"email": "z@example.com"}'
        )
        found = read(text, FileFormat.JSONL)
        broken = "is not a JSON object, or names a field twice"
        assert [(line.number, line.problem or dict(line.values)) for line in found] == [
            (1, {"email": "a@example.com"}),
            (3, "is not UTF-8"),
            (4, broken),
            (5, broken),
            (6, broken),
            (7, broken),
            (8, "holds a password in plain text; give its hash as password_hash"),
            (9, "is longer than 64 KiB"),
            (10, {"email": "z@example.com"}),
        ]
        assert "hunter2" not in repr(found)

    @pytest.mark.parametrize("delimiter", [",", ";", "\t"])
    def test_csv(self, delimiter: str) -> None:
        rows = [
            "\ufeffemail|full_name|roles|phone",
            'a@example.com|"Lovelace, Ada; ""the first"""|"admin,auditor"|\'+44 20',
            "b@example.com|||",
            'c@example.com|"not closed||',
            "d@example.com|too|many|cells|here",
            "e@example.com|'Ada|user|",
        ]
        found = read("\r\n".join(rows).replace("|", delimiter), FileFormat.CSV)
        assert [line.problem or dict(line.values) for line in found] == [
            {
                "email": "a@example.com",
                "full_name": 'Lovelace, Ada; "the first"',
                "roles": ["admin", "auditor"],
                "phone": "+44 20",
            },
            {"email": "b@example.com"},
            "has a quote that is not closed, or text behind a quoted cell",
            "has 5 cells where the first line has 4",
            {"email": "e@example.com", "full_name": "'Ada", "roles": ["user"]},
        ]

    @pytest.mark.parametrize(
        ("text", "reason"),
        [
            ("", "must name the columns"),
            ("name,mail\n", "must name the columns, some of: id, email"),
            ("email,email\n", "each once"),
            ("email,password\n", "in plain text"),
            ("full_name\n", "email among them"),
            ('email,"phone\n', "quote"),
            ("email,é\n".encode("latin-1"), "not UTF-8"),
            ("email\n".encode("utf-16"), "UTF-16"),
        ],
    )
    def test_a_header_that_cannot_be_used(self, text: str | bytes, reason: str) -> None:
        with pytest.raises(UnreadableFile, match=reason):
            read(text, FileFormat.CSV)

    def test_no_cell_is_a_formula(self) -> None:
        document = {
            "email": "=cmd@example.com",
            "full_name": "+1",
            "phone": "-1",
            "locale": "@x",
            "roles": ["=a", "b"],
            "disabled": True,
            "password_hash": None,
        }
        text = write_header(FileFormat.CSV, [*document]) + write_lines(
            [document], FileFormat.CSV, [*document]
        )
        assert text.splitlines()[1] == "'=cmd@example.com,'+1,'-1,'@x,\"'=a,b\",true,"
        (line,) = read(text, FileFormat.CSV)
        assert line.values == {
            "email": "=cmd@example.com",
            "full_name": "+1",
            "phone": "-1",
            "locale": "@x",
            "roles": ["=a", "b"],
            "disabled": "true",
        }


class TestRoundTrip:
    @pytest.mark.parametrize("file_format", FileFormat)
    async def test_an_export_can_be_imported(self, make_app: MakeApp, file_format: FileFormat) -> None:
        given = [
            {
                "email": f"u{n}@example.com",
                "password_hash": BCRYPT,
                "phone": "+44 20 7946",
                "disabled": n == 3,
            }
            for n in range(1100)
        ]
        given[5] |= {"roles": ["admin", "user"], "full_name": "=1+1", "created_at": "2020-01-01T00:00:00Z"}
        columns = user_export.exported_fields(include_password_hashes=True)

        async def export(runtime: Runtime) -> str:
            text = write_header(file_format, columns)
            pages = user_export.export_users(runtime, include_password_hashes=True)
            async for page in pages:
                text += write_lines(page, file_format, columns)
            return text

        async with make_app() as app:
            await run(app.state.runtime, lines(*given))
            assert await user_export.count_users(app.state.runtime) == 1100
            exported = await export(app.state.runtime)
        async with make_app() as app:
            report, reasons = await run(app.state.runtime, read(exported, file_format))
            assert (counts(report), reasons) == ((1100, 0, 0), {})
            assert await export(app.state.runtime) == exported
            user = await find(app.state.runtime, "u5@example.com")
        assert (user.full_name, user.role_names) == ("=1+1", ("admin", "user"))

    async def test_hashes_only_when_asked_for_and_on_record(self, runtime: Runtime) -> None:
        await run(runtime, lines({"email": "ada@example.com", "password_hash": BCRYPT}))
        for asked in (False, True):
            pages = user_export.export_users(runtime, include_password_hashes=asked)
            documents = [document async for page in pages for document in page]
            assert (BCRYPT in json.dumps(documents)) is asked
        async with runtime.database.reading() as db:
            events = list(await db.scalars(select(AuditEvent).where(AuditEvent.action == "user.exported")))
        assert {event.details["password_hashes"] for event in events} == {False, True}
