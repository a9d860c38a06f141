"""The requirements on a viewer that others can reach, V1 to V6: strangers are refused."""

from __future__ import annotations

import errno
import os
import shutil
import socket
import stat
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from viewer.conftest import Explorer, contents, selection

Start = Callable[..., Explorer]


def test_V1_only_loopback_answers(explorer: Explorer) -> None:
    # All of 127/8 is this machine, but only one address of it was bound.
    for host in ("127.0.0.2", socket.gethostbyname(socket.gethostname())):
        if host != "127.0.0.1":
            with pytest.raises(ConnectionError):
                explorer.ask("/", host=host)


def test_V1_another_host_warns_and_keeps_the_token(hollow: Path, start: Start) -> None:
    elsewhere = start(hollow, "--host", "127.0.0.3")
    assert elsewhere.ask("/", host="127.0.0.3")[0] == 403
    elsewhere.process.terminate()
    elsewhere.process.wait(30)
    time.sleep(0.2)
    assert any("warning: anybody who reaches 127.0.0.3" in line for line in elsewhere.lines)


def test_V1_every_interface_at_once_is_refused(hollow: Path, command: Callable[..., Any]) -> None:
    outcome = command("view", hollow, "--host", "0.0.0.0")
    assert outcome.code == 2 and "[view.host]" in outcome.error_line()


def test_V2_the_token_works_once_and_becomes_a_cookie(hollow: Path, start: Start) -> None:
    fresh = start(hollow)
    assert len(fresh.token) >= 43  # 256 bits in base64
    tokens = ("/?token=", f"/?token={fresh.token[:-1]}", "/?token=%C3%A9")
    for path in ("/", "/api/run", "/api/parts", "/static/app.js", *tokens):
        assert fresh.ask(path)[0] == 403, path
    assert fresh.ask(f"/?token={fresh.token}&token={fresh.token}")[0] == 403
    status, _, headers = fresh.ask(f"/?token={fresh.token}")
    assert status == 303 and headers["location"] == "/" and headers["referrer-policy"] == "no-referrer"
    cookie = headers["set-cookie"]
    assert "HttpOnly" in cookie and "SameSite=strict" in cookie and fresh.token not in cookie
    assert fresh.ask(f"/?token={fresh.token}")[0] == 403
    again = fresh.ask(f"/?token={fresh.token}", headers={"Cookie": cookie.split(";")[0]})
    assert again[0] == 403
    other = start(hollow)
    assert other.ask("/api/run", headers={"Cookie": cookie.split(";")[0]})[0] == 403


def test_V3_a_socket_is_private(hollow: Path, start: Start) -> None:
    folder = Path(tempfile.mkdtemp())
    try:
        folder.chmod(0o755)
        path = folder / "view.sock"
        explorer = start(hollow, "--socket", path, "--port", 9123)
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        assert any(f"9123:{path}" in line for line in explorer.lines) or f"9123:{path}" in _later(explorer)
        for host, expected in (("localhost:9123", b"403"), ("localhost:9124", b"403"), ("view.example:9123", b"421")):
            with socket.socket(socket.AF_UNIX) as own:
                own.connect(str(path))
                own.sendall(f"GET /api/run HTTP/1.1\r\nHost: {host}\r\n\r\n".encode())
                assert expected in own.recv(100)
        if os.getuid() == 0:
            assert connects_as(65534, path) == errno.EACCES
        explorer.process.terminate()
        explorer.process.wait(30)
        assert not path.exists()
    finally:
        shutil.rmtree(folder)


def connects_as(user: int, path: Path) -> int:
    """How a process of another user fares that opens a socket: 0, or the error."""
    child = os.fork()
    if child == 0:
        os.setuid(user)
        with socket.socket(socket.AF_UNIX) as stranger:
            os._exit(stranger.connect_ex(str(path)))
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def _later(explorer: Explorer) -> str:
    time.sleep(1.0)
    return "".join(explorer.lines)


HOSTS = ("evil.example", "evil.example:{port}", "localhost.evil.example:{port}", "127.0.0.1:{port}.evil.example",
         "localhost:{port}@evil.example", "127.0.0.1.evil.example", "127.0.0.2:{port}", "2130706433:{port}",
         "localhost.", "LOCALHOST:{port}", "[::1", "::1", "0.0.0.0:{port}", "localhost:", "localhost:x", "localhost:٣",
         "localhost:1:1", "localhost:123456", " ", "")  # fmt: skip


@pytest.mark.parametrize("host", HOSTS)
def test_V4_the_host_is_a_name_of_loopback(explorer: Explorer, host: str) -> None:
    host = host.format(port=explorer.port).encode().decode("latin-1")
    status, body, _ = explorer.ask("/api/run", headers=explorer.mine(Host=host))
    assert status in (400, 421) and explorer.key.encode() not in body


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "[::1]"])
@pytest.mark.parametrize("port", ["", ":{port}", ":1", ":9000", ":65535"])
def test_V4_any_port_may_have_been_forwarded(explorer: Explorer, host: str, port: str) -> None:
    host += port.format(port=explorer.port)
    assert explorer.ask("/api/run", headers=explorer.mine(Host=host))[0] == 200
    # To write, the page has to be the one that was opened there; what it writes here is refused for being empty.
    for origin, expected in ((f"http://{host}", 400), ("http://localhost:9001", 403), (f"http://{host}.evil", 403)):
        given = {**explorer.writing(), "Host": host, "Origin": origin}
        assert explorer.ask("/api/selections", "POST", selection("none", []), given)[0] == expected


def test_V4_who_is_refused_hears_which_port_to_forward(explorer: Explorer) -> None:
    for headers in ({"Host": "node17.cluster:8642"}, {"Host": "localhost:9000"}):
        status, body, _ = explorer.ask("/", headers=headers)
        assert status in (403, 421) and f"127.0.0.1:{explorer.port}".encode() in body
        assert str(Path.home()).encode() not in body and b"/tmp" not in body


ORIGINS = ("null", "http://localhost:{port}.evil.com", "https://127.0.0.1:{port}", "http://127.0.0.1", "http://evil",
           "http://127.0.0.1:{port}/", "http://localhost:{port}", "http://127.0.0.1:{port} http://e", "")  # fmt: skip


@pytest.mark.parametrize("origin", ORIGINS)
def test_V5_the_origin_is_exact(explorer: Explorer, hollow: Path, origin: str) -> None:
    before = contents(hollow)
    headers = {**explorer.writing(), "Origin": origin.format(port=explorer.port)}
    assert explorer.ask("/api/selections", "POST", selection("a", [1]), headers)[0] == 403
    assert contents(hollow) == before


@pytest.mark.parametrize("site", ["cross-site", "same-site", "nonsense"])
def test_V5_another_site_is_refused(explorer: Explorer, site: str) -> None:
    assert explorer.ask("/api/run", headers={**explorer.mine(), "Sec-Fetch-Site": site})[0] == 403
    assert explorer.ask("/api/selections", "POST", b"", {**explorer.writing(), "Sec-Fetch-Site": site})[0] == 403


@pytest.mark.parametrize("origin", [None, "null", "http://localhost:5000.evil.com", "http://127.0.0.1:{port}"])
def test_V5_no_websocket_opens(explorer: Explorer, origin: str | None) -> None:
    upgrade = {"Upgrade": "websocket", "Connection": "Upgrade", "Sec-WebSocket-Version": "13",
               "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ=="}  # fmt: skip
    given = {} if origin is None else {"Origin": origin.format(port=explorer.port)}
    assert explorer.ask("/api/selections", headers={**explorer.mine(), **upgrade, **given})[0] != 101


def test_V6_writing_needs_a_key_and_reading_never_writes(explorer: Explorer, hollow: Path) -> None:
    before = contents(hollow)
    without = {name: value for name, value in explorer.writing().items() if name != "X-Dynaflex-Key"}
    for headers in (
        without,
        {**without, "X-Dynaflex-Key": "x"},
        {**without, "Content-Type": "application/x-www-form-urlencoded"},
        {name: value for name, value in explorer.writing().items() if name != "Origin"},
        {name: value for name, value in explorer.writing().items() if name != "Cookie"},
    ):
        for path in ("/api/selections", "/api/counterparts", "/api/averages", "/api/archive"):
            assert explorer.ask(path, "POST", selection("forged", [1]), headers)[0] == 403
    assert explorer.ask("/api/counterparts", headers=explorer.mine())[0] == 405
    for method in ("PUT", "DELETE", "PATCH", "OPTIONS", "TRACE", "CONNECT"):
        assert explorer.ask("/api/selections", method, b"", explorer.writing())[0] in (400, 405)
    for name in ("run", "parts", "columns", "curves", "progress", "selections", "verdicts"):
        explorer.ask(f"/api/{name}", headers=explorer.mine())
    for path in ("/api/dense_path?half=1&frames=9", "/api/places?half=1&x=component1&y=latent2&z=1,2,3"):
        assert explorer.ask(path, headers=explorer.mine())[0] == 200
    assert contents(hollow) == before
