"""Server processes of the test session: started on a free port, frozen, killed, never left behind."""

import atexit
import contextlib
import fcntl
import functools
import os
import pwd
import shutil
import signal
import socket
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypedDict

START_SECONDS = 60.0
STOP_SECONDS = 20.0
SCRATCH_PREFIX = "authapi-test-"
ABANDONED_AFTER_SECONDS = 3600.0


class ServerError(Exception):
    """A server of the test session could not be found, started or stopped; the message says what to do."""


@dataclass(frozen=True)
class Account:
    """A system account that a server runs under, because PostgreSQL refuses to run as root."""

    uid: int
    gid: int

    @classmethod
    def nobody(cls) -> "Account":
        entry = pwd.getpwnam("nobody")
        return cls(uid=entry.pw_uid, gid=entry.pw_gid)


class RunAs(TypedDict, total=False):
    """The arguments of subprocess that give up root."""

    user: int
    group: int
    extra_groups: list[int]


def run_as(account: Account | None) -> RunAs:
    """Return what makes subprocess run as `account`, without root's supplementary groups."""
    return RunAs(user=account.uid, group=account.gid, extra_groups=[]) if account else RunAs()


def server_environment() -> dict[str, str]:
    """Return an environment without the PG* and locale variables of whoever runs the tests."""
    return {"PATH": os.environ.get("PATH", os.defpath), "LC_ALL": "C", "TZ": "UTC"}


def free_port() -> int:
    """Return a TCP port of 127.0.0.1 that was free a moment ago; whoever binds it must be ready to retry."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@functools.cache
def _death_signal_wrapper() -> tuple[str, ...]:
    """Return a command prefix that kills the server when this process dies, or nothing where there is none.

    atexit does not run after SIGKILL. `preexec_fn` would do it too, but Python 3.12 warns when it forks a
    process with threads, and every xdist worker has some.
    """
    setpriv = shutil.which("setpriv")
    if setpriv is None:
        return ()
    prefix = (setpriv, "--pdeathsig", "KILL", "--")
    supported = subprocess.run([*prefix, "true"], check=False, capture_output=True).returncode == 0
    return prefix if supported else ()


@contextlib.contextmanager
def scratch_directory() -> Iterator[Path]:
    """Yield a directory that every account can pass through and only its owner can list; removed afterwards.

    pytest's tmp_path is 0700 all the way up, where a server running as nobody cannot reach its data.
    Directories of sessions that were killed are removed an hour later: their lock is free.
    """
    directory = Path(tempfile.mkdtemp(prefix=SCRATCH_PREFIX, dir="/tmp" if os.geteuid() == 0 else None))
    directory.chmod(0o711)
    with (directory / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        _remove_abandoned(directory.parent)
        try:
            yield directory
        finally:
            shutil.rmtree(directory, ignore_errors=True)


def _remove_abandoned(parent: Path) -> None:
    for directory in parent.glob(f"{SCRATCH_PREFIX}*"):
        with contextlib.suppress(OSError):  # somebody else's, or just removed by its owner
            if time.time() - directory.stat().st_mtime < ABANDONED_AFTER_SECONDS:
                continue
            with (directory / "lock").open("r+") as lock:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                shutil.rmtree(directory, ignore_errors=True)


def _processes() -> Iterator[tuple[int, int, str]]:
    """Yield (pid, parent pid, state) of every process."""
    if Path("/proc/self/stat").exists():
        yield from _linux_processes()
        return
    listing = subprocess.run(
        ["ps", "-A", "-o", "pid=,ppid=,state="], check=True, capture_output=True, text=True
    )
    for line in listing.stdout.splitlines():
        pid, parent, state = line.split(None, 2)
        yield int(pid), int(parent), state


def _linux_processes() -> Iterator[tuple[int, int, str]]:
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            # The command name in parentheses may itself hold spaces and parentheses.
            state, parent = stat.read_text().rpartition(")")[2].split()[:2]
            yield int(stat.parent.name), int(parent), state


def running_children(pid: int) -> list[int]:
    """Return the direct children of `pid` that have not ended."""
    return [child for child, parent, state in _processes() if parent == pid and not state.startswith("Z")]


def has_ended(pid: int) -> bool:
    """Return whether a process is gone, or dead and only not yet reaped by whoever inherited it."""
    return not any(other == pid and not state.startswith("Z") for other, _, state in _processes())


def _send(pids: Sequence[int], signal_number: int) -> None:
    for pid in pids:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal_number)


class ServerProcess:
    """One server on 127.0.0.1 and every process that it forks.

    `command` builds the argument list for a port; `is_ready(pid, port)` tells whether that process answers.
    """

    def __init__(
        self,
        *,
        name: str,
        command: Callable[[int], Sequence[str]],
        is_ready: Callable[[int, int], bool],
        directory: Path,
        account: Account | None = None,
        stop_signal: signal.Signals = signal.SIGTERM,
    ) -> None:
        self.name = name
        self.port = 0
        self._command = command
        self._is_ready = is_ready
        self._directory = directory
        self._log = directory / f"{name}.log"
        self._account = account
        self._stop_signal = stop_signal
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int:
        if self._process is None:
            raise ServerError(f"{self.name} is not running")
        return self._process.pid

    def start(self) -> None:
        """Start the server and wait until it answers; the first start chooses a port, later ones keep it."""
        attempts = 1 if self.port else 5
        for attempt in range(1, attempts + 1):
            port = self.port or free_port()
            try:
                self._start_on(port)
            except ServerError:
                # Another worker may have taken the port between the probe and the bind.
                if attempt == attempts:
                    raise
            else:
                self.port = port
                return

    def _start_on(self, port: int) -> None:
        # The kernel sends the death signal when the starting thread ends: only the main one may ask for it.
        in_main_thread = threading.current_thread() is threading.main_thread()
        prefix = _death_signal_wrapper() if in_main_thread else ()
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                [*prefix, *self._command(port)],
                cwd=self._directory,
                env=server_environment(),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                # Ctrl-C in the terminal must reach the tests, which still need the server to clean up.
                start_new_session=True,
                **run_as(self._account),
            )
        atexit.register(self.kill)
        deadline = time.monotonic() + START_SECONDS
        while not self._is_ready(self._process.pid, port):
            code = self._process.poll()
            if code is not None or time.monotonic() > deadline:
                self.kill()
                reason = (
                    f"ended with code {code}" if code is not None else f"not ready in {START_SECONDS:.0f} s"
                )
                raise ServerError(f"{self.name} did not start ({reason}). Its log ends:\n{self._log_tail()}")
            time.sleep(0.02)

    def _log_tail(self) -> str:
        return self._log.read_text(errors="replace")[-3000:]

    def stop(self) -> None:
        """Shut the server down in an orderly way, disconnecting its clients; kill it if it does not obey."""
        if self._process is None:
            return
        self.thaw()
        _send([self.pid], self._stop_signal)
        try:
            self._process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self.kill()
        else:
            self._forget()

    def kill(self) -> None:
        """End the server and its children with SIGKILL, as a power cut would; return when all are gone."""
        if self._process is None:
            return
        # Stopped first, so that it cannot fork between the listing and the signal.
        _send([self.pid], signal.SIGSTOP)
        children = running_children(self.pid)
        _send([self.pid, *children], signal.SIGKILL)
        self._process.wait(STOP_SECONDS)
        deadline = time.monotonic() + STOP_SECONDS
        while not all(has_ended(child) for child in children):
            if time.monotonic() > deadline:
                raise ServerError(f"{self.name}: children of the killed server do not end: {children}")
            time.sleep(0.02)
        self._forget()

    def _forget(self) -> None:
        self._process = None
        atexit.unregister(self.kill)

    def restart(self) -> None:
        """Stop the server if it runs and start it again on the same port with the same data."""
        self.stop()
        self.start()

    def freeze(self) -> None:
        """Stop every process of the server with SIGSTOP: connections stay open and nothing answers."""
        _send([self.pid], signal.SIGSTOP)
        _send(running_children(self.pid), signal.SIGSTOP)

    def thaw(self) -> None:
        """Let a frozen server go on; does nothing to a running one."""
        _send([*running_children(self.pid), self.pid], signal.SIGCONT)
