"""Listening: on loopback or on a private socket, to a few connections, until nobody needs it any more."""

from __future__ import annotations

import asyncio
import getpass
import os
import socket
import stat
import time
from asyncio import Transport
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import FrameType

import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol

from dynaflex.errors import EnvironmentFault, UsageError
from dynaflex.viewer.access import Guard, Keys
from dynaflex.viewer.opened import OpenedRun, Verdicts
from dynaflex.viewer.server import explorer

PORT = 8642
LOOPBACK = ("127.0.0.1", "::1", "localhost")
CONNECTIONS = 32
_FIRST_REQUEST = 15.0
_OFTEN = 30.0


@dataclass(frozen=True)
class Address:
    """Where to listen: at ``port`` of ``host``, or on a Unix socket at ``path`` that is reached through ``port``."""

    host: str = "127.0.0.1"
    port: int | None = None
    path: Path | None = None

    def listen(self) -> tuple[socket.socket, int]:
        """The socket, already listening, and the port under which a browser knows it.

        Without a port, it is 8642, or a free one where that is taken.

        Raises:
            UsageError: the host stands for every interface.
            EnvironmentFault: nobody can listen there.
        """
        if self.path is not None:
            return _private_socket(self.path), self.port or PORT
        if self.host in ("", "0.0.0.0", "::", "*"):
            raise UsageError(
                "view.host", "name one host: every interface at once is not served", found=self.host,
                fix="leave out --host and forward the port with ssh",
            )  # fmt: skip
        for port in (self.port,) if self.port is not None else (PORT, 0):
            try:
                family, kind, _, _, where = socket.getaddrinfo(self.host, port, type=socket.SOCK_STREAM)[0]
            except OSError as error:
                reason = error
                continue
            opened = socket.socket(family, kind)
            try:
                opened.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                opened.bind(where)
                opened.listen()
                return opened, int(opened.getsockname()[1])
            except OSError as error:
                opened.close()
                reason = error
        raise EnvironmentFault(
            "view.address", f"cannot listen there: {reason.strerror or reason}",
            found=f"{self.host}:{self.port or PORT}", fix="choose another --port",
        ) from reason  # fmt: skip

    def hosts(self, port: int) -> frozenset[str]:
        """The Host headers, beside those of loopback, that mean this address."""
        if self.path is not None or self.host in LOOPBACK:
            return frozenset()
        return frozenset({f"{_bracketed(self.host)}:{port}"})

    def forwarded(self, port: int) -> str:
        """What an ssh connection has to forward a port to."""
        return str(self.path.resolve()) if self.path is not None else f"{_bracketed(self.host)}:{port}"


def serve(run: OpenedRun, verdicts: Verdicts, address: Address, idle: float, say: Callable[[str], None]) -> None:
    """Serve the explorer until it is stopped, or ``idle`` seconds after somebody last did something.

    Raises:
        UsageError, EnvironmentFault: nobody can listen at the address.
    """
    opened, port = address.listen()
    keys = Keys(f"{socket.gethostname()}:{address.forwarded(port)}")
    name = "127.0.0.1" if address.path is not None or address.host in LOOPBACK else _bracketed(address.host)

    def link() -> str:
        return f"http://{name}:{port}/?token={keys.token}"

    guard = Guard(
        explorer(run, keys, verdicts),
        keys,
        address.hosts(port),
        # Whoever is refused may be another page: no path, no name of a user.
        "its socket" if address.path is not None else address.forwarded(port),
        lambda: say(f"opened; for another browser:\n  {link()}"),
    )
    for line in _greeting(address, port, link()):
        say(line)
    config = uvicorn.Config(
        guard, http=_Protocol, ws="none", lifespan="off", log_level="critical", access_log=False, server_header=False,
        timeout_keep_alive=30, timeout_graceful_shutdown=3, h11_max_incomplete_event_size=16384, proxy_headers=False,
    )  # fmt: skip
    try:
        unused = asyncio.run(_until_idle(_Server(config), opened, guard, idle))
    finally:
        opened.close()
        if address.path is not None:
            address.path.unlink(missing_ok=True)
    say(f"stopped: nobody used it for {idle / 3600.0:g} hours (--idle-hours)" if unused else "stopped")


async def _until_idle(server: uvicorn.Server, opened: socket.socket, guard: Guard, idle: float) -> bool:
    """Serve; true if it ended because nobody used it."""

    async def watch() -> None:
        while time.monotonic() - guard.last_use < idle:
            await asyncio.sleep(min(_OFTEN, idle / 4))
        server.should_exit = True

    watching = asyncio.create_task(watch())
    try:
        await server.serve(sockets=[opened])
    finally:
        watching.cancel()
    return watching.done() and not watching.cancelled()


class _Server(uvicorn.Server):
    """A server that a signal stops, and that leaves tidying up to whoever started it."""

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Stop, and the second time at once; the signal ends here, uvicorn would raise it again."""
        self.force_exit = self.should_exit
        self.should_exit = True


class _Protocol(H11Protocol):
    """HTTP/1.1 to a few connections, each of which says soon what it wants."""

    def connection_made(self, transport: Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        if len(self.connections) > CONNECTIONS:
            transport.abort()
            return
        self._silence = self.loop.call_later(_FIRST_REQUEST, self._hang_up)

    def connection_lost(self, exc: Exception | None) -> None:
        if hasattr(self, "_silence"):
            self._silence.cancel()
        super().connection_lost(exc)

    def _hang_up(self) -> None:
        if self.cycle is None:
            self.transport.close()


def _greeting(address: Address, port: int, link: str) -> list[str]:
    lines = [
        f"open: {link}",
        f"from another machine, first: ssh -N -L {port}:{address.forwarded(port)} {_account()}",
        f"to stop: Ctrl-C here, or kill {os.getpid()}",
    ]
    if address.path is None and address.host not in LOOPBACK:
        lines[1] = (
            f"warning: anybody who reaches {address.host} can try to connect, and what is sent is not encrypted; "
            "without --host, only this machine can"
        )
    return lines


def _account() -> str:
    """This machine as ssh names it, with the user where he has a name: in containers he may have none."""
    try:
        return f"{getpass.getuser()}@{socket.gethostname()}"
    except (KeyError, OSError):
        return socket.gethostname()


def _bracketed(host: str) -> str:
    """A host as addresses with a port have it."""
    return f"[{host}]" if ":" in host else host


def _private_socket(path: Path) -> socket.socket:
    """A Unix socket that only its owner can open; one that a process left behind is replaced."""
    opened = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        if path.exists() and stat.S_ISSOCK(path.stat().st_mode) and not _answers(path):
            path.unlink()
        before = os.umask(0o177)
        try:
            opened.bind(str(path))
            opened.listen()
        finally:
            os.umask(before)
    except OSError as error:
        opened.close()
        raise EnvironmentFault(
            "view.socket", f"no socket can be made there: {error.strerror or error}", file=path,
            fix="name a path that does not exist, in a folder of yours, of fewer than 100 characters",
        ) from error  # fmt: skip
    return opened


def _answers(path: Path) -> bool:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as asking:
        try:
            asking.connect(str(path))
        except OSError:
            return False
    return True
