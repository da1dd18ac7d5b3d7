"""FastAPI's OpenTelemetry support, should an operator switch it on: what it is told to leave out."""

import importlib
import importlib.util
from pathlib import Path
from typing import Any

import pytest
from fastapi import FastAPI

from authapi.main import create_app
from authapi.settings import Settings
from authapi.telemetry import TELEMETRY, carries_query
from tests.conftest import http_client


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


async def test_spans_hold_neither_tokens_nor_messages() -> None:
    if importlib.util.find_spec("opentelemetry.sdk") is None:
        pytest.skip("spans were not looked at: the extra is not installed; pip install 'authapi[otel]'")
    sdk: Any = importlib.import_module("opentelemetry.sdk.trace")
    export: Any = importlib.import_module("opentelemetry.sdk.trace.export")
    in_memory: Any = importlib.import_module("opentelemetry.sdk.trace.export.in_memory_span_exporter")
    exporter = in_memory.InMemorySpanExporter()
    provider = sdk.TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(export.SimpleSpanProcessor(exporter))
    configuration: Any = {**TELEMETRY, "tracer_provider": provider}
    app = FastAPI(telemetry=configuration)

    @app.post("/fail")
    async def fail(body: dict[str, Any]) -> None:
        raise RuntimeError(f"canary {body}")

    @app.get("/verify-email")
    async def page() -> None: ...

    async with http_client(app) as client:
        await client.get("/verify-email", params={"token": "canary"})
        assert exporter.get_finished_spans() == ()
        await client.get("/verify-email")
        with pytest.raises(RuntimeError):
            await client.post(
                "/fail", json={"password": "canary"}, headers={"Authorization": "Bearer canary"}
            )
    spans = exporter.get_finished_spans()
    assert {span.name for span in spans} >= {"GET /verify-email", "POST /fail"}
    assert not [text for text in (span.to_json() for span in spans) if "canary" in text]
