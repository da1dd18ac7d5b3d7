"""What runs in a process that serves: the application, and the threads that end the process when it must end.

Apart from `authapi serve`, so that worker processes need not import the command line.
"""

import asyncio
import gc
import multiprocessing
import os
import signal
import threading
from multiprocessing.process import BaseProcess
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from fastapi import FastAPI


def create_served_app() -> "FastAPI":
    """The application for the environment's settings; called by uvicorn in the event loop that will serve it."""
    # As in `serve`, for worker processes; `create_configured_app` switches it on again.
    gc.disable()
    from authapi.http_protocol import PROGRESS
    from authapi.loop_watchdog import LoopWatchdog
    from authapi.main import create_configured_app

    supervisor = multiprocessing.parent_process()
    if supervisor is not None:
        threading.Thread(target=_follow, args=[supervisor], name="follow-supervisor", daemon=True).start()
    app = create_configured_app()
    # A single process of development is left alone: nobody would start another, and breakpoints hold the loop.
    if supervisor is not None or app.state.runtime.settings.is_production:
        watchdog = LoopWatchdog(asyncio.get_running_loop(), progress=lambda: PROGRESS.events)
        watchdog.start()
    return app


def _follow(supervisor: BaseProcess) -> None:
    """End with the supervisor.

    Left behind by one that was killed, workers would hold the port against the next start, and nobody would
    replace them.
    """
    supervisor.join()
    os.kill(os.getpid(), signal.SIGTERM)
