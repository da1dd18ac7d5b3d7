"""FastAPI's OpenTelemetry support, should an operator switch it on: what it is told to leave out."""

from pathlib import Path

import pytest
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from authapi import main
from authapi.main import create_app
from authapi.services import login
from authapi.settings import Settings
from authapi.telemetry import TELEMETRY, carries_query
from tests.conftest import MakeApp, http_client
from tests.support.accounts import PASSWORD, Accounts


class TestConfiguration:
    def test_it_is_the_apps(self, tmp_path: Path) -> None:
        configured = create_app(Settings(data_dir=tmp_path))._telemetry
        assert configured["logs"] is False
        assert configured["exclude"] is carries_query
        # Nothing is sent anywhere unless the environment asks for it.
        assert configured["auto_configure"] is False

    def test_a_query_is_never_exported(self) -> None:
        assert carries_query({"type": "http", "query_string": b"token=secret"})
        assert not carries_query({"type": "http", "query_string": b""})


async def test_spans_hold_neither_tokens_nor_messages(
    make_app: MakeApp, monkeypatch: pytest.MonkeyPatch
) -> None:
    exporter = InMemorySpanExporter()
    provider = TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    monkeypatch.setattr(main, "TELEMETRY", {**TELEMETRY, "tracer_provider": provider})
    async with make_app() as app, http_client(app) as client:
        account = await Accounts(client, app.state.runtime).register()
        await client.get("/api/auth/me", headers=account.headers)
        await client.get("/api/auth/me", headers=account.headers)
        await client.get("/verify-email", params={"token": "canary"})
        await client.post("/api/auth/refresh", json={"refresh_token": account.data["refresh_token"]})

        async def fail(*_: object, **__: object) -> None:
            raise RuntimeError(f"canary {PASSWORD}")

        monkeypatch.setattr(login, "log_in", fail)
        body = {"email": account.email, "password": PASSWORD}
        assert (await client.post("/api/auth/login", json=body)).status_code == 500
    spans = exporter.get_finished_spans()
    names = [span.name for span in spans]
    assert {"POST /api/auth/register", "POST /api/auth/refresh", "POST /api/auth/login"} <= set(names)
    assert names.count("GET /api/auth/me") == 2
    assert not [name for name in names if "verify-email" in name]
    secret = ("canary", PASSWORD, account.access_token, account.data["refresh_token"], account.email)
    assert not [text for text in (span.to_json() for span in spans) for part in secret if part in text]
