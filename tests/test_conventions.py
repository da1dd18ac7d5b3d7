"""The rules of the house, as tests whose messages teach."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from fastapi import FastAPI
from fastapi.routing import APIRoute, iter_route_contexts

from authapi import errors
from authapi.main import create_app
from authapi.rate_limit import limits
from authapi.settings import Settings
from tests.support import documents

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "src" / "authapi"
SOURCES = sorted(PACKAGE.rglob("*.py"))

# Routes that anybody may call. A route that is neither guarded nor listed here fails a test.
PUBLIC_ROUTES = {
    "accept_invitation",
    "confirm_email_change",
    "undo_email_change",
    "login_mfa",
    "accept_invitation_form",
    "accept_invitation_page",
    "change_password_address",
    "confirm_email_change_form",
    "confirm_email_change_page",
    "disown_account_form",
    "disown_account_page",
    "forgot_password",
    "forgot_password_form",
    "forgot_password_page",
    "pages_stylesheet",
    "resend_verification",
    "resend_verification_form",
    "resend_verification_page",
    "reset_password",
    "reset_password_form",
    "reset_password_page",
    "undo_email_change_form",
    "undo_email_change_page",
    "verify_email",
    "verify_email_form",
    "verify_email_page",
    "basic_login",
    "docs_asset",
    # These four authenticate a service client instead of a user.
    "introspect",
    "list_revocations",
    "revoke",
    "token",
    "jwks",
    "server_metadata",
    "live",
    "login",
    "logout",
    # Development only, to callers on the same machine only.
    "mailbox_html_part",
    "mailbox_message_page",
    "mailbox_messages",
    "mailbox_page",
    # In production to addresses that the operator has named.
    "metrics",
    "openapi_document",
    "ready",
    "redoc",
    "refresh",
    "register",
    "search_users",
    "swagger_ui",
}
# Plain Starlette routes, which the document describes by hand.
GATEWAY_OPERATIONS = {"validate", "verify"}
# Dependencies that let nobody in without a credential.
GUARDS = {"get_principal", "guard"}


@pytest.fixture(scope="module")
def plain_app(tmp_path_factory: pytest.TempPathFactory) -> FastAPI:
    """The application, not started: its routes are all that is looked at."""
    return create_app(Settings(data_dir=tmp_path_factory.mktemp("data")))


def api_routes(app: FastAPI) -> Iterator[APIRoute]:
    for context in iter_route_contexts(app.routes):
        if isinstance(context.original_route, APIRoute):
            yield context.original_route


def guards_of(route: APIRoute) -> set[str]:
    pending, names = [route.dependant], set()
    while pending:
        dependant = pending.pop()
        names.add(getattr(dependant.call, "__name__", ""))
        pending.extend(dependant.dependencies)
    return names & GUARDS


def places(pattern: str, *, allowed: set[str]) -> list[str]:
    """Where sources match `pattern`, outside of the files that may, by their paths in the package."""
    return [
        f"{path.relative_to(ROOT)}:{number}: {line.strip()}"
        for path in SOURCES
        if str(path.relative_to(PACKAGE)) not in allowed
        for number, line in enumerate(path.read_text().splitlines(), 1)
        if re.search(pattern, line)
    ]


class TestRoutes:
    def test_every_route_is_guarded_or_public_by_name(self, plain_app: FastAPI) -> None:
        open_routes = {route.name for route in api_routes(plain_app) if not guards_of(route)} - PUBLIC_ROUTES
        assert not open_routes, f"guard them or list them in PUBLIC_ROUTES: {sorted(open_routes)}"
        gone = PUBLIC_ROUTES - {route.name for route in api_routes(plain_app)}
        assert not gone, f"take them from PUBLIC_ROUTES: {sorted(gone)}"

    def test_every_route_declares_a_limit(self, plain_app: FastAPI) -> None:
        unlimited = {r.name for r in api_routes(plain_app) if limits.limit_name(r.endpoint) is None}
        assert not unlimited, f"add @limits.<name> below the route's decorator: {sorted(unlimited)}"

    def test_operation_ids_are_function_names_and_unique(self, plain_app: FastAPI) -> None:
        operations = [
            operation for path in plain_app.openapi()["paths"].values() for operation in path.values()
        ]
        ids = [operation["operationId"] for operation in operations]
        assert len(set(ids)) == len(ids)
        assert set(ids) <= {route.endpoint.__name__ for route in api_routes(plain_app)} | GATEWAY_OPERATIONS
        assert all(operation.get("summary") for operation in operations)

    def test_no_two_schemas_share_a_name(self, plain_app: FastAPI) -> None:
        """FastAPI would then publish the names of both with the modules they are in."""
        names = plain_app.openapi()["components"]["schemas"]
        assert [name for name in names if "__schemas__" in name] == []

    def test_every_string_that_is_sent_has_a_bound(self, plain_app: FastAPI) -> None:
        schemas = plain_app.openapi()["components"]["schemas"]
        unbounded = [
            f"{name}.{field}"
            for name, schema in schemas.items()
            if name.endswith(("Request", "Form"))
            for field, value in schema.get("properties", {}).items()
            for option in value.get("anyOf", [value])
            if option.get("type") == "string"
            and not {"maxLength", "enum", "const"} & option.keys()
            and option.get("format") not in {"uuid", "date-time"}
        ]
        assert not unbounded, f"give them a max_length: {unbounded}"

    def test_no_answer_has_a_field_named_like_a_stored_secret(self, plain_app: FastAPI) -> None:
        schemas = plain_app.openapi()["components"]["schemas"]
        leaks = [
            f"{name}.{field}"
            for name, schema in schemas.items()
            if not name.endswith(("Request", "Form")) and not name.startswith("Body_")
            for field in schema.get("properties", {})
            if re.search(r"password|hash|sealed|pepper", field)
        ]
        assert not leaks


class TestSources:
    def test_commits_happen_in_one_file(self) -> None:
        found = places(r"\.commit\(", allowed={"database.py"})
        assert not found, f"services flush; database.py commits: {found}"

    def test_the_wall_clock_is_read_in_one_file(self) -> None:
        found = places(r"datetime\.(now|utcnow)\(|time\.time\(", allowed={"clock.py"})
        assert not found, f"use authapi.clock.utc_now(): {found}"

    def test_no_statement_is_made_of_text(self) -> None:
        found = places(r"\btext\(f\"|\.execute\(f\"", allowed=set())
        assert not found, f"use SQLAlchemy expressions or bound parameters: {found}"

    def test_nothing_dangerous_is_called(self) -> None:
        pattern = (
            r"\b(eval|exec)\(|\bpickle\b|yaml\.load\(|\bmarshal\b|os\.system\(|shell=True|import random\b"
        )
        found = places(pattern, allowed=set())
        assert not found

    def test_files_are_short(self) -> None:
        # Catalogues: one concept each, however many entries.
        sources = [path for path in SOURCES if path.name not in {"errors.py", "enums.py"}]
        long = {p.name: n for p in sources if (n := len(p.read_text().splitlines())) > 320}
        assert not long, f"look for the second concept inside: {long}"


class TestErrors:
    def test_codes_are_unique(self) -> None:
        codes = [e.code for e in documents.error_classes() if "code" in vars(e)]
        assert len(codes) == len(set(codes))

    def test_every_class_is_in_the_tree_of_the_docstring(self) -> None:
        lines = (errors.__doc__ or "").splitlines()
        drawn = {
            name
            for line in lines
            if re.match(" *[├│└]", line)
            for name in re.findall("[A-Z][A-Za-z0-9]+", line)
        }
        defined = {error.__name__ for error in documents.error_classes()}
        assert drawn == defined, "the tree in the docstring of errors.py names other classes than the module"

    def test_the_table_is_current(self) -> None:
        assert documents.ERRORS.read_text() == documents.error_table(), (
            "run: python -m tests.support.documents"
        )


class TestReadme:
    def test_every_setting_is_in_the_table(self) -> None:
        readme = documents.README.read_text()
        assert documents.with_settings_table(readme) == readme, "run: python -m tests.support.documents"

    def test_every_file_it_names_exists(self) -> None:
        readme = documents.README.read_text()
        links = re.findall(r"\]\(([\w./-]+)\)", readme) + re.findall(
            r"`(src/[\w./-]+|alembic/[\w/]+)`", readme
        )
        missing = [link for link in links if not (ROOT / link).exists()]
        assert not missing
