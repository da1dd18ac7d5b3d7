"""Content types and transport, on every answer of every route."""

import pytest
from fastapi import FastAPI

from tests.asvs.conftest import Answer
from tests.conftest import http_client

pytestmark = pytest.mark.one_database

KINDS = {
    "application/json",
    "application/openapi+json",
    "image/png",
    "text/css; charset=utf-8",
    "text/html; charset=utf-8",
    "text/javascript; charset=utf-8",
    "text/plain; charset=utf-8",
}


def test_asvs_4_1_1(answers: list[Answer]) -> None:
    """A body has a type, text has its character set (JSON is UTF-8 by RFC 8259)."""
    untyped = [a.request for a in answers if a.response.content and "content-type" not in a.headers]
    assert not untyped
    prometheus = "text/plain; version="
    kinds = {a.headers["content-type"] for a in answers if a.response.content}
    assert {kind for kind in kinds if not kind.startswith(prometheus)} <= KINDS


async def test_asvs_4_1_2(https_app: FastAPI) -> None:
    """A client that forgot the s of https is not led on quietly: that would hide a token sent in the clear."""
    async with http_client(https_app) as client:
        response = await client.get("http://auth.example.org/api/auth/me")
    assert response.status_code == 401
    assert "location" not in response.headers
