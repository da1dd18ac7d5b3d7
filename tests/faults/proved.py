"""Faults that the test suite proves: which tests these are."""

import asyncio
import re
import sys

from tests.faults.table import Status

# By number: the fault, and the tests that are run for it.
PROVED: dict[str, tuple[str, tuple[str, ...]]] = {
    "F11": (
        "PgBouncer in front, with fewer connections than requests; no connection left on the server",
        ("tests/test_pgbouncer.py", "tests/flows/test_readiness.py"),
    ),
    "F12": ("Redis is down", ("tests/test_rate_limit_redis.py::TestOutage",)),
    "F13": ("Redis is frozen", ("tests/test_rate_limit_redis.py::TestFrozen",)),
    "F14": (
        "Redis is restarted empty, or killed",
        (
            "tests/test_rate_limit_redis.py::TestShared",
            "tests/races/test_processes.py::TestRestart",
        ),
    ),
    "F15": (
        "the mail server is down, slow or refuses",
        ("tests/mail/test_mail_delivery.py", "tests/mail/test_killed.py", "tests/mail/test_transport.py"),
    ),
    "F17": (
        "clocks differ or step",
        (
            "tests/test_rate_limit_storage.py",
            "tests/security/test_access_tokens.py",
            "tests/flows/test_key_rotation.py",
        ),
    ),
    "F18": ("one address registers many times at once", ("tests/races/test_registration_races.py",)),
    "F19": ("a refresh token is used many times at once", ("tests/races/test_refresh_races.py",)),
    "F20": ("the answer to a refresh is lost", ("tests/services/test_token_refresh.py",)),
    "F21": (
        "a migration meets a lock; a release serves on a newer schema",
        ("tests/test_migrations.py::TestLocks", "tests/test_migrations.py::TestSchemaState"),
    ),
    "F22": (
        "a migration is killed, or started twice",
        ("tests/test_migrations.py::TestInterrupted", "tests/test_migrations.py::TestUpgrade"),
    ),
    "F23": (
        "oversized bodies, heads and addresses",
        ("tests/middleware/test_body_limit.py", "tests/test_http_protocol.py"),
    ),
    "F25": (
        "malformed JSON, UTF-8, NaN, NUL",
        ("tests/api/test_hostile_bodies.py", "tests/test_strict_json.py"),
    ),
    "F26": ("huge numbers and dates", ("tests/api/test_hostile_bodies.py",)),
    "F27": (
        "line breaks and forged headers",
        (
            "tests/test_client_address.py",
            "tests/api/test_foreign_hosts.py",
            "tests/test_logs.py",
            "tests/mail/test_transport.py",
        ),
    ),
    "F28": (
        "deeply nested JSON and tokens",
        ("tests/security/test_strict_json.py", "tests/security/test_hostile_tokens.py"),
    ),
    "F32": ("the time of an answer tells who has an account", ("tests/api/test_equal_work.py",)),
    "F33": (
        "ways around the limits",
        ("tests/test_rate_limit.py", "tests/test_client_address.py"),
    ),
    "F34": ("a stranger tries to lock a user out", ("tests/api/test_login_throttle.py",)),
    "F35": ("keys and secrets rotate under load", ("tests/flows/test_key_rotation.py",)),
    "F36": ("the service of breached passwords is away", ("tests/test_breached_passwords.py",)),
    "F37": ("four processes write to SQLite and are killed", ("tests/races/test_sqlite_writers.py",)),
    "F40": (
        "a start that cannot succeed",
        ("tests/cli/test_server.py::TestCannotStart", "tests/test_production_checks.py"),
    ),
    "F41": ("backup and restore", ("tests/flows/test_backup_restore.py",)),
}


async def run_proved(number: str) -> tuple[str, Status, str]:
    """Run the tests of a number; returns its fault, what came of it and a summary."""
    fault, tests = PROVED[number]
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--tb=line", "--show-capture=no"),
        *tests,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    output, _ = await process.communicate()
    lines = output.decode(errors="replace").strip().splitlines()
    summary = re.sub(r" in [\d.]+s.*", "", lines[-1].strip("= ")) if lines else "no output"
    if process.returncode:
        failed = [line for line in lines if line.startswith(("FAILED", "ERROR"))]
        return fault, Status.FAILED, f"{summary}: {'; '.join(failed)}"
    status = Status.PASSED if "passed" in summary else Status.SKIPPED
    return fault, status, f"{summary} in the test suite"
