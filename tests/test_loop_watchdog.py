"""The watchdog in real processes, with a fraction of its time."""

import json
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator

import pytest

SECONDS = 0.4
_PROGRAM = """
import asyncio, re, sys, threading, time
from authapi.logs import configure_logging
from authapi.loop_watchdog import LoopWatchdog

done = []

async def hang(secret):
    time.sleep(30)

async def hang_with_the_interpreter(secret):
    re.match("(a+)+b", "a" * 60)

async def hang_with_the_log(secret):
    threading.Thread(target=sys.stderr.write, args=["x" * 2**20], daemon=True).start()
    time.sleep(30)

async def work(secret):
    # Turns that take long, and threads that use up the CPU meanwhile.
    until = time.monotonic() + 2 * {seconds}
    for _ in range(2):
        threading.Thread(target=lambda: [0 for _ in iter(lambda: time.monotonic() < until, False)]).start()
    while time.monotonic() < until:
        turn = time.monotonic() + {seconds} / 4
        while time.monotonic() < turn:
            pass
        await asyncio.sleep(0)

async def answer_many(secret):
    for _ in range(8):
        time.sleep({seconds} / 4)
        done.append(1)

async def end(secret):
    pass

async def pause(secret):
    # A callback waits while it is suspended, and still does when it goes on.
    for _ in range(10):
        time.sleep({seconds} / 20)

async def main():
    configure_logging(format="json", level="info")
    LoopWatchdog(asyncio.get_running_loop(), progress=lambda: len(done), seconds={seconds}).start()
    await asyncio.sleep(0.05)
    print("ready", flush=True)
    await {what}(secret="hunter2")

asyncio.run(main())
# Shutting down: the loop is closed, the process lives on.
time.sleep({after})
print("done", flush=True)
"""

Start = Callable[..., "subprocess.Popen[str]"]


@pytest.fixture
def start() -> Iterator[Start]:
    started: list[subprocess.Popen[str]] = []

    def start_program(what: str, *, after: float = 0) -> subprocess.Popen[str]:
        program = _PROGRAM.format(what=what, seconds=SECONDS, after=after)
        process = subprocess.Popen(
            [sys.executable, "-c", program], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        started.append(process)
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n", process.communicate()[1]
        return process

    yield start_program
    for process in started:
        process.kill()
        process.communicate()


class TestAHangIsFound:
    def test_the_loop_waits(self, start: Start) -> None:
        process = start("hang")
        began = time.monotonic()
        output, log = process.communicate(timeout=20)
        assert process.returncode == 70
        assert time.monotonic() - began >= SECONDS / 2
        assert output == ""
        (line,) = [json.loads(text) for text in log.splitlines()]
        assert line["level"] == "critical"
        assert line["event"] == "event_loop.hangs"
        # Where it hangs; nothing of what it was given.
        assert line["frames"][0] == "<string>:9 in hang"
        assert "hunter2" not in log

    def test_nothing_else_runs_either(self, start: Start) -> None:
        process = start("hang_with_the_interpreter")
        _, log = process.communicate(timeout=20)
        assert process.returncode == -signal.SIGPROF
        assert "in hang_with_the_interpreter" in log

    def test_the_log_takes_nothing(self, start: Start) -> None:
        assert start("hang_with_the_log").wait(20) == 70


class TestOthersLive:
    def assert_done(self, process: "subprocess.Popen[str]") -> None:
        output, log = process.communicate(timeout=20)
        assert (process.returncode, output, log) == (0, "done\n", "")

    def test_busy(self, start: Start) -> None:
        self.assert_done(start("work"))

    def test_answering_without_a_turn(self, start: Start) -> None:
        self.assert_done(start("answer_many"))

    def test_suspended(self, start: Start) -> None:
        process = start("pause")
        time.sleep(SECONDS / 6)
        process.send_signal(signal.SIGSTOP)
        time.sleep(1.5 * SECONDS)
        process.send_signal(signal.SIGCONT)
        self.assert_done(process)

    def test_the_loop_has_ended(self, start: Start) -> None:
        self.assert_done(start("end", after=1.5 * SECONDS))
