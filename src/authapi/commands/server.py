"""`authapi serve`: checks everything that could go wrong, then serves with uvicorn."""

import asyncio
import gc
import ipaddress
import multiprocessing
import multiprocessing.connection
import os
import signal
import socket
import sys
import threading
from contextlib import ExitStack, suppress
from types import FrameType
from typing import TYPE_CHECKING, Annotated, NoReturn

import typer

from authapi.commands import output
from authapi.commands.environment import database_failures, migrate
from authapi.commands.failures import CommandFailed, ExitCode, reporting_failures
from authapi.commands.lifespan import Lifespan
from authapi.commands.shared_metrics import shared_metrics
from authapi.settings import Settings, load_settings

if TYPE_CHECKING:
    import uvicorn

APPLICATION = "authapi.served:create_served_app"
BACKLOG = 2048
# Below the ten seconds after which Docker kills; what a slow database still holds up then is cut off.
SHUTDOWN_SECONDS = 8
KEEP_ALIVE_SECONDS = 5
# What the system keeps for a client that does not read; Linux would let it grow to megabytes for each of thousands.
SEND_BUFFER_BYTES = 128 * 1024
# One for each connection (http_protocol.py), and then some.
DESCRIPTORS = 8192 + 256


def serve(
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="0 takes any free port.")] = 5001,
    workers: Annotated[int, typer.Option(min=1, max=256, help="Processes that serve.")] = 1,
    insecure_bind: Annotated[
        bool, typer.Option("--insecure-bind", help="In development, allow other addresses than loopback.")
    ] = False,
) -> None:
    """Serve over HTTP until SIGTERM or Ctrl-C; exit 3 if that cannot start.

    Development brings the database schema up to date first; production wants `authapi db upgrade` beforehand.
    """
    # Hardly anything that importing creates is garbage; looking for some takes a fifth of the start.
    gc.disable()
    from authapi.logs import configure_logging

    # uvicorn shuts down in good order and then raises the signal again, of which the process would die.
    signal.signal(signal.SIGTERM, _exit_in_peace)
    with ExitStack() as until_stopped:
        with reporting_failures(ExitCode.NOT_STARTED):
            settings = load_settings()
            _refuse_unsafe(settings, host=host, workers=workers, insecure_bind=insecure_bind)
            sockets = bind(host, port)
            port = sockets[0].getsockname()[1]
            if not settings.is_production and settings.public_url is None:
                # The workers read their settings from the environment.
                os.environ["AUTHAPI_PUBLIC_URL"] = f"http://127.0.0.1:{port}"
                settings = load_settings()
            configure_logging(format=settings.log.format, level=settings.log.level)
            if not settings.is_production:
                asyncio.run(migrate(settings))
            if workers > 1:
                asyncio.run(rehearse(settings))
            until_stopped.enter_context(shared_metrics(settings, workers=workers))
            _raise_descriptor_limit()
            if workers == 1:
                _run_here(settings, sockets)
                return
            _open(settings, sockets)
        if not _run_workers(sockets, workers=workers):
            output.error("the service could not start; the log above says why")
            raise typer.Exit(ExitCode.NOT_STARTED)


def bind(host: str, port: int) -> list[socket.socket]:
    """Sockets bound to every address of `host`, not yet listening; raises `CommandFailed`.

    Bound here and not in uvicorn, which would end with exit code 0 when several workers cannot.
    """
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    except socket.gaierror as error:
        raise CommandFailed(f"--host {host}: {error.strerror}") from None
    with ExitStack() as on_failure:
        sockets: list[socket.socket] = []
        for family, kind, protocol, _, address in found:
            listener = on_failure.enter_context(socket.socket(family, kind, protocol))
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            # Connections inherit it.
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SEND_BUFFER_BYTES)
            if family == socket.AF_INET6:
                # "::" means every address, of IPv4 too.
                listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, host != "::")
            try:
                listener.bind((address[0], port, *address[2:]))
            except OSError as error:
                raise _cannot_listen(host, port, error) from None
            # With port 0 the first address chooses for all of them.
            port = listener.getsockname()[1]
            sockets.append(listener)
        on_failure.pop_all()
    return sockets


def _open(settings: Settings, sockets: list[socket.socket]) -> None:
    """From now on connections wait until a worker takes them, and people may know."""
    for listener in sockets:
        try:
            listener.listen(BACKLOG)
        except OSError as error:
            host, port, *_ = listener.getsockname()
            raise _cannot_listen(host, port, error) from None
        listener.set_inheritable(True)
    if settings.docs_enabled:
        output.result(f"API documentation: {settings.base_url}/docs")


def _cannot_listen(host: str, port: int, error: OSError) -> CommandFailed:
    return CommandFailed(f"cannot listen on {host} port {port}: {error.strerror}; try another --port")


def _refuse_unsafe(settings: Settings, *, host: str, workers: int, insecure_bind: bool) -> None:
    from authapi.production_checks import production_problems

    if settings.is_production:
        problems = production_problems(settings, workers=workers)
        if problems:
            raise CommandFailed(*problems)
    elif not insecure_bind and not _is_loopback(host):
        raise CommandFailed(
            f"--host {host}: development listens on loopback only; "
            "set AUTHAPI_ENVIRONMENT=production, or add --insecure-bind"
        )


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


async def rehearse(settings: Settings) -> None:
    """Start and stop the application once, before several workers do.

    Whatever would make a worker fail is found here, where it becomes one line and an exit code.
    """
    from authapi.main import create_app

    app = create_app(settings, is_rehearsal=True)
    with database_failures(settings):
        async with app.router.lifespan_context(app):
            pass


def _raise_descriptor_limit() -> None:
    """Allow this process and its workers as many connections as the system lets them have.

    Services are often started with 1024 descriptors, which a single host can use up. Comes before the import
    of the protocol, whose limit follows from it.
    """
    if sys.platform == "win32":
        return
    import resource

    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != resource.RLIM_INFINITY and soft < DESCRIPTORS:
        allowed = DESCRIPTORS if hard == resource.RLIM_INFINITY else min(DESCRIPTORS, hard)
        resource.setrlimit(resource.RLIMIT_NOFILE, (allowed, hard))


def _uvicorn_config(workers: int) -> "uvicorn.Config":
    import uvicorn

    from authapi.http_protocol import BoundedHttpProtocol

    return uvicorn.Config(
        APPLICATION,
        factory=True,
        workers=workers,
        http=BoundedHttpProtocol,
        ws="none",
        # One process starts the application by itself.
        lifespan="on" if workers > 1 else "off",
        log_config=None,
        # The middleware writes it; uvicorn's would hold query strings.
        access_log=False,
        server_header=False,
        # Any local client could choose its address; AUTHAPI_PROXY__TRUSTED decides instead.
        proxy_headers=False,
        backlog=BACKLOG,
        timeout_keep_alive=KEEP_ALIVE_SECONDS,
        timeout_graceful_shutdown=SHUTDOWN_SECONDS,
    )


def _run_here(settings: Settings, sockets: list[socket.socket]) -> None:
    """Serve in this process; raises what keeps the application from starting."""
    import uvicorn

    class Server(uvicorn.Server):
        async def serve(self, sockets: list[socket.socket] | None = None) -> None:
            self.config.load()
            self.application = Lifespan(self.config.loaded_app)
            with database_failures(settings):
                await self.application.start()
            _open(settings, sockets or [])
            await super().serve(sockets)

        async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
            await super().shutdown(sockets)
            if not self.force_exit:
                await self.application.stop()

    with suppress(KeyboardInterrupt):
        Server(_uvicorn_config(workers=1)).run(sockets)


def _run_workers(sockets: list[socket.socket], *, workers: int) -> bool:
    """Serve in worker processes; tells whether they could start."""
    from uvicorn.config import STARTUP_FAILURE
    from uvicorn.supervisors import Multiprocess

    class UntilAWorkerEnds(threading.Event):
        def wait(self, timeout: float | None = None) -> bool:
            for process in supervisor.processes:
                # Close our copy of the worker's pipe end; otherwise pinging a dead worker blocks for 5 s.
                process.child_conn.close()
            if not self.is_set():
                ended = [process.process.sentinel for process in supervisor.processes]
                multiprocessing.connection.wait(ended, timeout)
            return self.is_set()

    class Supervisor(Multiprocess):
        def terminate_all(self) -> None:
            # Left open here, they would go on queueing connections that no worker accepts.
            for listener in self.sockets:
                listener.close()
            super().terminate_all()

    supervisor = Supervisor(_uvicorn_config(workers), sockets)
    # It looks after its workers twice a second, and now as soon as one of them has ended.
    supervisor.should_exit = UntilAWorkerEnds()
    supervisor.run()
    return all(process.exitcode != STARTUP_FAILURE for process in supervisor.processes)


def _exit_in_peace(_signal: int, _frame: FrameType | None) -> NoReturn:
    raise SystemExit(ExitCode.OK)
