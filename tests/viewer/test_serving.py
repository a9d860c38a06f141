"""What takes a clock: slow visitors are shown out, and an unused explorer ends."""

from __future__ import annotations

import socket
import threading
import time
from pathlib import Path

import pytest

from dynaflex.viewer import access, serve
from dynaflex.viewer.opened import OpenedRun
from viewer.conftest import free_port


def serving(run: Path, idle: float) -> tuple[threading.Thread, int, list[str]]:
    """An explorer in a thread of this process, which ends by being idle."""
    port, said = free_port(), []
    address = serve.Address(port=port)
    thread = threading.Thread(target=serve.serve, args=(OpenedRun(run), list, address, idle, said.append))
    thread.start()
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=5).close()
            break
        except OSError:
            time.sleep(0.05)
    return thread, port, said


def test_an_unused_explorer_ends(hollow: Path) -> None:
    thread, _, said = serving(hollow, 1.0)
    thread.join(20)
    assert not thread.is_alive() and said[-1].startswith("stopped: nobody used it") and "--idle-hours" in said[-1]


def test_polling_is_not_use(hollow: Path) -> None:
    thread, port, _ = serving(hollow, 2.0)
    for _ in range(20):
        try:
            with socket.create_connection(("127.0.0.1", port), timeout=5) as one:
                one.sendall(f"GET /api/progress HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\n\r\n".encode())
                one.recv(10)
        except OSError:
            break
        time.sleep(0.3)
    thread.join(20)
    assert not thread.is_alive()


def test_a_visitor_who_never_says_what_he_wants_is_shown_out(hollow: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(serve, "_FIRST_REQUEST", 0.5)
    thread, port, _ = serving(hollow, 4.0)
    with socket.create_connection(("127.0.0.1", port), timeout=10) as slow:
        slow.sendall(b"GET / HT")
        assert slow.recv(10) == b""
    thread.join(20)


def test_a_body_that_never_ends_is_given_up(hollow: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(access, "LONGEST_REQUEST", 0.5)
    keys = []
    made = access.Keys.__init__

    def remembered(self: access.Keys, place: str) -> None:
        made(self, place)
        keys.append((self, self.exchange(self.token)))

    monkeypatch.setattr(access.Keys, "__init__", remembered)
    thread, port, _ = serving(hollow, 4.0)
    (own, session) = keys[0]
    head = [
        "POST /api/selections HTTP/1.1", f"Host: 127.0.0.1:{port}", f"Origin: http://127.0.0.1:{port}",
        f"Cookie: {own.cookie}={session}", f"{access.CSRF}: {own.csrf}", "Content-Length: 100", "", "abc",
    ]  # fmt: skip
    with socket.create_connection(("127.0.0.1", port), timeout=10) as slow:
        slow.sendall("\r\n".join(head).encode())
        assert b" 408 " in slow.recv(100)
    thread.join(20)


def test_a_port_that_is_taken_is_said_to_be(hollow: Path) -> None:
    from dynaflex.errors import EnvironmentFault

    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        with pytest.raises(EnvironmentFault, match=r"view\.address"):
            serve.Address(port=taken.getsockname()[1]).listen()


def test_a_socket_that_a_process_left_is_replaced_and_another_file_is_not(tmp_path: Path) -> None:
    from dynaflex.errors import EnvironmentFault

    path = tmp_path / "s"
    left = socket.socket(socket.AF_UNIX)
    left.bind(str(path))
    left.close()
    opened, _ = serve.Address(path=path).listen()
    opened.close()
    path.unlink()
    path.write_text("precious")
    with pytest.raises(EnvironmentFault, match=r"view\.socket"):
        serve.Address(path=path).listen()
    assert path.read_text() == "precious"


@pytest.mark.parametrize("nameless", [KeyError("getpwuid(): uid not found: 54321"), OSError("No username set")])
def test_a_user_without_a_name_is_served(hollow: Path, monkeypatch: pytest.MonkeyPatch, nameless: Exception) -> None:
    def nobody() -> str:
        raise nameless

    monkeypatch.setattr(serve.getpass, "getuser", nobody)
    thread, port, said = serving(hollow, 1.0)
    thread.join(20)
    line = next(line for line in said if "ssh" in line)
    assert f"-L {port}:127.0.0.1:{port} {socket.gethostname()}" in line and "@" not in line
