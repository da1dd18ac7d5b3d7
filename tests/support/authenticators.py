"""Authenticator apps of the tests' users."""

from datetime import datetime

import httpx
import pyotp

from authapi import clock
from tests.support.accounts import PASSWORD, Account

TOTP = "/api/auth/mfa/totp"


class Authenticator:
    """A user's phone: shows codes by the travelled clock, one step later each time it is asked."""

    def __init__(self, account: Account, secret: str, recovery_codes: list[str]) -> None:
        self.account = account
        self.secret = secret
        self.recovery_codes = recovery_codes
        self._totp = pyotp.TOTP(secret)

    def code(self, at: datetime | None = None) -> str:
        return self._totp.at(at or clock.utc_now())


async def enroll(client: httpx.AsyncClient, account: Account) -> Authenticator:
    started = await client.post(TOTP, json={"password": PASSWORD}, headers=account.headers)
    assert started.status_code == 200, started.text
    data = started.json()["data"]
    assert data["otpauth_uri"].startswith("otpauth://totp/")
    assert data["qr_svg"].startswith("<svg")
    confirmed = await client.post(
        f"{TOTP}/confirm",
        json={"code": pyotp.TOTP(data["secret"]).at(clock.utc_now())},
        headers=account.headers,
    )
    assert confirmed.status_code == 200, confirmed.text
    codes = confirmed.json()["data"]["recovery_codes"]
    assert len(set(codes)) == 10
    return Authenticator(account, data["secret"], codes)
