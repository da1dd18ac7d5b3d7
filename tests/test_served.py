"""Which processes watch over themselves."""

import json
import subprocess
import sys
from pathlib import Path

from tests.cli.test_server import PRODUCTION
from tests.support.command import clean_environment

_PROGRAM = """
import asyncio, gc, json, os, sys, threading
from authapi.served import create_served_app

async def threads():
    create_served_app()
    assert gc.isenabled()
    return [thread.name for thread in threading.enumerate()]

development = asyncio.run(threads())
os.environ.update(json.loads(sys.argv[1]))
print(json.dumps([development, asyncio.run(threads())]))
"""


def test_a_single_process_is_watched_in_production_only(tmp_path: Path) -> None:
    """Nobody would start another one in development, where a breakpoint holds the loop."""
    done = subprocess.run(
        [sys.executable, "-c", _PROGRAM, json.dumps(PRODUCTION)],
        cwd=tmp_path,
        env=clean_environment(),
        capture_output=True,
        text=True,
        check=True,
    )
    development, production = json.loads(done.stdout)
    assert "loop-watchdog" not in development
    assert "loop-watchdog" in production
