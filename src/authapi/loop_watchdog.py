"""Ends a process whose event loop hangs, so that its supervisor or container runtime starts another one.

uvicorn's supervisor pings a thread of each worker. That finds workers that are frozen, and those in which nothing
of Python runs, but the thread goes on answering while the loop waits for a lock or for a call that blocks.
"""

import asyncio
import faulthandler
import os
import signal
import sys
import threading
import time
import traceback
from collections.abc import Callable

import structlog

# More than the 5 s that uvicorn gives a worker, which then has the first word; found and ended within 10 s.
HANG_SECONDS = 8.0
# Count how often this thread wakes, not wall time: while the process is suspended (SIGSTOP, a paused machine)
# neither this thread nor the loop runs, so suspension never looks like a hang.
TURNS = 8
# The pipe that the log goes to may be what everything waits for.
REPORT_SECONDS = 0.5
# Any but uvicorn's 3, at which its supervisor gives up, and 0.
EXIT_CODE = 70

logger = structlog.stdlib.get_logger("authapi.loop_watchdog")


class LoopWatchdog:
    """Watches, from a thread, whether a loop still runs callbacks; ends with the loop.

    The process ends with code 70 once a callback has waited for `seconds` in which `progress` stayed the same, the
    number of things that the loop has done: thousands of requests at once keep it busy. It ends with SIGPROF
    after `seconds` on every core in which not even the thread could run: an endless regular expression lets
    nobody else have the interpreter. Needs to be made in the loop's thread.
    """

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        *,
        progress: Callable[[], int] = lambda: 0,
        seconds: float = HANG_SECONDS,
    ) -> None:
        self._loop = loop
        self._progress = progress
        self._loop_thread = threading.get_ident()
        self._seconds = seconds

    def start(self) -> None:
        """Watch from now on."""
        if sys.platform != "win32" and sys.stderr is not None:
            # Writes without the interpreter where each thread is: names of functions and files, no values.
            faulthandler.register(signal.SIGPROF, chain=True)
        threading.Thread(target=self._watch, name="loop-watchdog", daemon=True).start()

    def _watch(self) -> None:
        turn = self._seconds / TURNS
        while not self._loop.is_closed():
            has_run = threading.Event()
            try:
                self._loop.call_soon_threadsafe(has_run.set)
            except RuntimeError:
                break
            turns, progress = 0, self._progress()
            while turns < TURNS:
                self._allow_cpu_seconds(self._seconds * (os.cpu_count() or 1))
                if has_run.wait(turn):
                    break
                before, progress = progress, self._progress()
                turns = turns + 1 if progress == before else 0
            else:
                if not self._loop.is_closed():
                    self._end_process()
            time.sleep(turn)
        self._allow_cpu_seconds(0)

    @staticmethod
    def _allow_cpu_seconds(seconds: float) -> None:
        """The process ends if its threads use up so many together before the next call; 0 is without end."""
        if sys.platform != "win32":
            # Not of time: a process that is suspended or starved uses no CPU.
            signal.setitimer(signal.ITIMER_PROF, seconds)

    def _end_process(self) -> None:
        report = threading.Thread(target=self._report, daemon=True)
        report.start()
        report.join(REPORT_SECONDS)
        os._exit(EXIT_CODE)

    def _report(self) -> None:
        frame = sys._current_frames().get(self._loop_thread)
        # Without the text of the lines, let alone values.
        stack = traceback.StackSummary.extract(traceback.walk_stack(frame), lookup_lines=False)
        logger.critical(
            "event_loop.hangs",
            pid=os.getpid(),
            seconds=self._seconds,
            # The innermost first.
            frames=[f"{called.filename}:{called.lineno} in {called.name}" for called in stack],
        )
