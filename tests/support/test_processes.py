"""The life of the servers: started as any user, never outliving the session, directories removed."""

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support import postgres_binaries
from tests.support import redis_server as redis_module
from tests.support.processes import Account, has_ended, scratch_directory

ROOT = Path(__file__).resolve().parents[2]
NEEDS_ROOT = pytest.mark.skipif(os.geteuid() != 0, reason="only root can become nobody")

# Arguments: the folder of postgres, then perhaps a uid and gid to become.
# Prints the directory and the pids, then waits for a line.
START_BOTH = """
import asyncio, os, pathlib, sys, asyncpg, redis
from tests.support.postgres import start_postgres
from tests.support.processes import running_children, scratch_directory
from tests.support.redis_server import start_redis

async def select(dsn):
    connection = await asyncpg.connect(dsn)
    try:
        return await connection.fetchval("SELECT 1")
    finally:
        await connection.close()

def run(binaries, then):
    with (
        scratch_directory() as directory,
        start_postgres(directory, binaries=binaries) as postgres,
        start_redis(directory) as cache,
    ):
        assert asyncio.run(select(postgres.dsn())) == 1
        with redis.Redis.from_url(cache.url) as client:
            assert client.ping()
        pids = [postgres.process.pid, *running_children(postgres.process.pid), cache.process.pid]
        then(directory, *pids)

def report(*words):
    print(*words, flush=True)
    sys.stdin.readline()

binaries, *ids = sys.argv[1:]
if ids:
    # Python itself may lie under /root: a first round loads whatever it imports late.
    run(pathlib.Path(binaries), then=lambda *_: None)
    os.setgroups([])
    os.setgid(int(ids[1]))
    os.setuid(int(ids[0]))
run(pathlib.Path(binaries), then=report)
"""


@contextlib.contextmanager
def session_in_a_child(
    *, account: Account | None = None, binaries: Path | None = None, path: Path | None = None
) -> Iterator["subprocess.Popen[str]"]:
    """Run START_BOTH in a process of its own, which becomes `account` after its imports."""
    binaries = binaries or postgres_binaries.find_binaries()
    ids = [str(account.uid), str(account.gid)] if account else []
    variables = {postgres_binaries.URL_VARIABLE, redis_module.URL_VARIABLE, "TMPDIR"}
    environment = {name: value for name, value in os.environ.items() if name not in variables}
    environment |= {"PYTHONPATH": str(ROOT), "HOME": "/"}
    if path is not None:
        environment["PATH"] = f"{path}{os.pathsep}{environment['PATH']}"
    with subprocess.Popen(
        [sys.executable, "-B", "-c", START_BOTH, str(binaries), *ids],
        cwd="/",
        env=environment,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as child:
        try:
            yield child
        finally:
            child.kill()


class TestSession:
    @NEEDS_ROOT
    def test_both_start_as_an_ordinary_user(self) -> None:
        with scratch_directory() as tools:
            # The checkout may lie under /root: give nobody what he can reach.
            binaries = postgres_binaries.reachable_binaries(
                postgres_binaries.find_binaries(), account=Account.nobody(), directory=tools
            )
            shutil.copy(redis_module.find_binary(), tools / "redis-server")
            with session_in_a_child(account=Account.nobody(), binaries=binaries, path=tools) as child:
                out, err = child.communicate("\n", timeout=120)
        assert child.returncode == 0, err
        directory, *pids = out.split()
        assert not Path(directory).exists()
        assert all(has_ended(int(pid)) for pid in pids)

    @pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="no death signal on this system")
    def test_no_server_outlives_a_killed_session(self) -> None:
        with session_in_a_child() as child:
            assert child.stdout is not None
            line = child.stdout.readline()
            assert line, child.communicate(timeout=10)[1]
            directory, *pids = line.split()
            assert not any(has_ended(int(pid)) for pid in pids)
            child.send_signal(signal.SIGKILL)
            child.communicate(timeout=10)
        deadline = time.monotonic() + 15
        while not all(has_ended(int(pid)) for pid in pids) and time.monotonic() < deadline:
            time.sleep(0.1)
        assert all(has_ended(int(pid)) for pid in pids)
        shutil.rmtree(directory)  # a later session would do it after an hour

    def test_directories_of_killed_sessions_are_removed_later(self) -> None:
        with scratch_directory() as abandoned:
            # A session that was killed leaves the directory and a lock that nobody holds.
            (abandoned / "lock").rename(abandoned / "held")
            (abandoned / "lock").touch()
            with scratch_directory():
                assert abandoned.exists()
            two_hours_ago = time.time() - 7200
            os.utime(abandoned, (two_hours_ago, two_hours_ago))
            with scratch_directory():
                assert not abandoned.exists()

    def test_a_directory_in_use_is_kept_however_old(self) -> None:
        with scratch_directory() as used:
            os.utime(used, (0, 0))
            with scratch_directory():
                assert used.exists()
