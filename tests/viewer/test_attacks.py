"""The requirements on a viewer that others can reach, V1 to V15: every attack is refused."""

from __future__ import annotations

import ast
import errno
import hashlib
import os
import re
import shutil
import signal
import socket
import stat
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import dynaflex.viewer
from viewer.conftest import Explorer, make_hollow, selection

SOURCE = Path(dynaflex.viewer.__file__).parent
Start = Callable[..., Explorer]


def contents(folder: Path) -> dict[str, str]:
    """Every file below a folder and its hash."""
    files = (path for path in sorted(folder.rglob("*")) if path.is_file())
    return {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


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
        for host, expected in (("localhost:9123", b"403"), ("localhost:9124", b"421")):
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


HOSTS = ("evil.example", "127.0.0.1", "127.0.0.1:1", "localhost.evil.example:{port}", "127.0.0.1:{port}.evil.example",
         "LOCALHOST:{port}", "[::1]", "0.0.0.0:{port}", "")  # fmt: skip


@pytest.mark.parametrize("host", HOSTS)
def test_V4_the_host_is_exact(explorer: Explorer, host: str) -> None:
    status, body, _ = explorer.ask("/api/run", headers=explorer.mine(Host=host.format(port=explorer.port)))
    assert status in (400, 421) and explorer.key.encode() not in body


def test_V4_loopback_names_are_served(explorer: Explorer) -> None:
    for host in ("127.0.0.1", "localhost", "[::1]"):
        assert explorer.ask("/api/run", headers=explorer.mine(Host=f"{host}:{explorer.port}"))[0] == 200


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
        assert explorer.ask("/api/selections", "POST", selection("forged", [1]), headers)[0] == 403
    for method in ("PUT", "DELETE", "PATCH", "OPTIONS", "TRACE", "CONNECT"):
        assert explorer.ask("/api/selections", method, b"", explorer.writing())[0] in (400, 405)
    for name in ("run", "parts", "columns", "curves", "progress", "selections", "verdicts"):
        explorer.ask(f"/api/{name}", headers=explorer.mine())
    for path in ("/api/dense_path?half=1&frames=9", "/api/places?half=1&x=pc0&y=z1&z=1,2,3"):
        assert explorer.ask(path, headers=explorer.mine())[0] == 200
    assert contents(hollow) == before


NAMES = (
    "../config.json", "..%2fconfig.json", "%2e%2e/config.json", "%252e%252e%252fconfig.json", "..\\config.json",
    "/etc/passwd", "%2fetc%2fpasswd", "config.json%00.js", "/proc/self/environ", "%2fproc%2fself%2fenviron", "a" * 4000,
    "a" * 20000, "....//config.json", "app.js/../../scene.py", "link", "%c0%ae%c0%ae/config.json", "?", "app.js/",
)  # fmt: skip


@pytest.mark.parametrize("name", NAMES, ids=lambda name: name[:30])
@pytest.mark.parametrize("place", ["/static/", "/api/column/", "/api/map/", "/"])
def test_V7_nothing_is_found_by_path(explorer: Explorer, hollow: Path, name: str, place: str) -> None:
    if place == "/" and name in ("?", "/"):
        return
    link = hollow / "link"
    link.unlink(missing_ok=True)
    link.symlink_to("/etc/passwd")
    try:
        status, body, _ = explorer.ask(place + name, headers=explorer.mine())
    finally:
        link.unlink()
    assert status in (400, 403, 404, 414, 421), status
    for secret in (b"root:", b"dynamight", b"PATH=", b"import "):
        assert secret not in body


def _calls() -> list[tuple[str, str]]:
    found = []
    for path in SOURCE.glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                found += [(path.name, alias.name) for alias in node.names]
            elif isinstance(node, ast.ImportFrom):
                found += [(path.name, f"{node.module}.{alias.name}") for alias in node.names]
            elif isinstance(node, ast.Call):
                found.append((path.name, ast.unparse(node.func)))
                if ast.unparse(node.func) == "np.load":
                    assert any(ast.unparse(word) == "allow_pickle=False" for word in node.keywords), path
    return found


@pytest.mark.parametrize(
    "banned",
    ["subprocess", r"os\.(system|popen|exec\w*|spawn\w*|fork)", "multiprocessing", "pty", "ctypes", "webbrowser",
     "eval", "exec", "compile", r"shutil\.which", r".*StaticFiles.*", r".*FileResponse.*"],
)  # fmt: skip
def test_V8_nothing_is_run(banned: str) -> None:
    assert [call for call in _calls() if re.fullmatch(rf"{banned}(\..*)?", call[1])] == []


def test_V9_no_debugging_and_no_banner(explorer: Explorer) -> None:
    status, body, headers = explorer.ask("/api/conformation?half=9&at=1,2&x=pc0&y=pc1", headers=explorer.mine())
    assert status == 400 and b"Traceback" not in body and "server" not in headers
    status, body, _ = explorer.ask("/api/conformation?half=1&at=1,2&x=pc0&y=pc1", headers=explorer.mine())
    assert status >= 400 and b"Traceback" not in body
    assert not any("debug" in call[1].lower() for call in _calls())


def test_V10_the_policy_allows_nothing_from_elsewhere(explorer: Explorer) -> None:
    for path in ("/", "/static/app.js", "/api/run", "/nothing"):
        _, _, headers = explorer.ask(path, headers=explorer.mine())
        policy = headers["content-security-policy"]
        assert policy.startswith("default-src 'self';") and "frame-ancestors 'none'" in policy
        assert "unsafe" not in policy and headers["x-content-type-options"] == "nosniff"
    page = (SOURCE / "static" / "index.html").read_text(encoding="utf-8")
    assert not re.search(r"<script(?![^>]*src=)|\son\w+=|style=|https?:", page)
    for script in (SOURCE / "static").glob("*.js"):
        text = script.read_text(encoding="utf-8")
        assert not re.search(r"https?://(?!www\.w3\.org/2000/svg)|\beval\(|new Function|document\.write", text), script


def test_V11_selections_are_named_by_the_server_and_never_overwritten(tmp_path: Path, start: Start) -> None:
    run = make_hollow(tmp_path / "run")
    explorer = start(run)
    explorer.enter()
    before = contents(run)
    assert explorer.save("../../evil", [1, 2])[0] == 201
    added = set(contents(run)) - set(before)
    assert added == {"selections/selection_001.star", "selections/selection_001.json"}
    assert {name: contents(run)[name] for name in before} == before
    assert explorer.save("../../evil", [3])[0] == 409
    (run / "selections" / "selection_002.star").write_text("mine")
    assert explorer.save("other", [3])[0] == 201
    assert (run / "selections" / "selection_002.star").read_text() == "mine"
    assert (run / "selections" / "selection_003.star").exists()
    assert not list(tmp_path.glob("*evil*"))


def test_V11_a_folder_of_selections_that_leads_elsewhere_is_refused(tmp_path: Path, start: Start) -> None:
    run = make_hollow(tmp_path / "run")
    (tmp_path / "elsewhere").mkdir()
    (run / "selections").symlink_to(tmp_path / "elsewhere")
    explorer = start(run)
    explorer.enter()
    assert explorer.save("a", [1])[0] == 422
    assert not list((tmp_path / "elsewhere").iterdir())


@pytest.mark.parametrize("name", ["", "   ", "a" * 81, "a\x00b", "a\x1b[31m"])
def test_V11_names_that_mean_nothing_are_refused(explorer: Explorer, hollow: Path, name: str) -> None:
    assert explorer.save(name, [1])[0] == 400
    assert not list((hollow / "selections").glob("*.star")) if (hollow / "selections").exists() else True


def test_V12_bodies_are_limited(explorer: Explorer) -> None:
    assert explorer.ask("/api/selections", "POST", bytes(2_000_000), explorer.writing())[0] == 413
    with socket.create_connection(("127.0.0.1", explorer.port), timeout=10) as endless:
        head = "".join(f"{name}: {value}\r\n" for name, value in explorer.writing().items())
        host = f"Host: 127.0.0.1:{explorer.port}\r\n"
        endless.sendall(f"POST /api/selections HTTP/1.1\r\n{host}{head}Transfer-Encoding: chunked\r\n\r\n".encode())
        piece = b"10000\r\n" + bytes(65536) + b"\r\n"
        answer = b""
        try:
            for _ in range(40):
                endless.sendall(piece)
            answer = endless.recv(100)
        except ConnectionError:
            pass  # it hung up on us; had it gone on listening, the time-out would have ended the test
        assert answer == b"" or b" 413 " in answer


@pytest.mark.parametrize(
    "body", [b"", b"\xff\xff\xff\xff", b"\x02\x00\x00\x00[]", b"\x05\x00\x00\x00" + b"[" * 5,
             selection("a", [1], 10_000), selection("a", [], 50), b"\x00\x40\x0f\x00" + b"[" * 1_000_000], ids=range(7),
)  # fmt: skip
def test_V12_messages_that_mean_nothing_are_refused(explorer: Explorer, body: bytes) -> None:
    assert explorer.ask("/api/selections", "POST", body, explorer.writing())[0] in (400, 413, 422)


@pytest.mark.parametrize(
    "query", ["half=1e9", "half=-1", "half=1&at=nan,0&x=pc0&y=pc1", "half=1&at=1&x=pc0&y=pc1", "half=1&z=inf",
              "half=1&z=" + "1," * 1000, "half=1&at=0,0&x=half&y=pc1", "half=1&z=1,2,3&size=huge", "half=9" * 2000,
              "half=1&z=1,2,3&colour=../config", "half=1&z=1,2,3&more=../config",
              "half=1&z=1,2,3" + "&more=parts" * 999],
)  # fmt: skip
def test_V12_questions_that_mean_nothing_are_refused(explorer: Explorer, query: str) -> None:
    for question in ("conformation", "parts"):
        status, body, _ = explorer.ask(f"/api/{question}?{query}", headers=explorer.mine())
        assert 400 <= status < 500 and b"dynamight" not in body


@pytest.mark.parametrize(
    "question", ["dense_path", "dense_path?half=1", "dense_path?half=3&frames=9", "dense_path?half=1&frames=401",
                 "dense_path?half=1&frames=1e3", "dense_path?half=1&frames=9&through=1,2,3",
                 "dense_path?half=1&frames=9&through=1,2,3;1,2,nan", "dense_path?half=1&frames=9&through=1,2;1,2",
                 "dense_path?half=1&frames=9&through=" + ";".join(["1,2,3"] * 41),
                 "dense_path?half=1&frames=9&through=;", "places", "places?half=1&x=pc0&y=pc1",
                 "places?half=1&x=pc0&y=half&z=1,2,3", "places?half=1&x=pc0&z=1,2,3",
                 "places?half=0&x=pc0&y=pc1&z=1,2,3", "places?half=1&x=pc0&y=pc1&z=1,2,inf",
                 "places?half=1&x=pc0&y=pc1&z=1,2,3,4", "places?half=1&x=../a&y=pc1&z=1,2,3"],
)  # fmt: skip
def test_V12_paths_and_places_that_mean_nothing_are_refused(explorer: Explorer, question: str) -> None:
    assert 400 <= explorer.ask(f"/api/{question}", headers=explorer.mine())[0] < 500


def test_V12_connections_are_limited(hollow: Path, start: Start) -> None:
    explorer = start(hollow)
    held = [socket.create_connection(("127.0.0.1", explorer.port), timeout=5) for _ in range(32)]
    try:
        time.sleep(0.5)
        one_more = socket.create_connection(("127.0.0.1", explorer.port), timeout=5)
        held.append(one_more)
        try:
            one_more.sendall(f"GET / HTTP/1.1\r\nHost: 127.0.0.1:{explorer.port}\r\n\r\n".encode())
            assert one_more.recv(100) == b""
        except ConnectionError:
            pass
    finally:
        for one in held:
            one.close()
    time.sleep(0.5)
    assert explorer.ask("/")[0] == 403


def test_V13_no_foreign_file_is_read() -> None:
    banned = ("pickle", "torch.load", "joblib", "dill", "UploadFile", "form", "load_arrays")
    assert [call for call in _calls() if any(part in call[1].split(".") for part in banned)] == []


def test_V14_a_killed_explorer_leaves_the_run_as_it_was(hollow: Path, start: Start) -> None:
    before = contents(hollow)
    explorer = start(hollow)
    explorer.enter()
    explorer.json("/api/columns")
    explorer.process.send_signal(signal.SIGKILL)
    explorer.process.wait(30)
    assert contents(hollow) == before


def test_V14_half_written_files_are_waited_for(tmp_path: Path, start: Start) -> None:
    run = make_hollow(tmp_path / "run")
    whole = (run / "latents.npz").read_bytes()
    (run / "latents.npz").write_bytes(whole[: len(whole) // 2])
    (run / "metrics.jsonl").write_text('{"half": 1, "epoch": 1, "data_loss": NaN}\nnonsense\n{"half": 1, "ep')
    explorer = start(run)
    explorer.enter()
    assert explorer.json("/api/run")["particles"] is None
    progress = explorer.json("/api/progress")
    assert progress["lines"] == [{"half": 1, "epoch": 1}]
    (run / "metrics.jsonl").open("a").write('och": 2}\n')
    assert explorer.json(f"/api/progress?since={progress['next']}")["lines"] == [{"half": 1, "epoch": 2}]
    (run / "latents.npz").write_bytes(whole)
    assert explorer.json("/api/run")["particles"]["count"] == 50


def test_V15_it_ends_when_nobody_uses_it_and_keeps_the_token_to_itself(tmp_path: Path, start: Start) -> None:
    run = make_hollow(tmp_path / "run")
    explorer = start(run, "--idle-hours", 0.01)
    token = explorer.token
    explorer.enter()
    explorer.process.terminate()
    explorer.process.wait(30)
    time.sleep(0.3)
    said = "".join(explorer.lines)
    assert f"kill {explorer.process.pid}" in said and "ssh -N -L" in said
    # The link is printed once, to the terminal; nothing that is asked is written down anywhere.
    assert said.count(token) == 1 and explorer.cookie.split("=")[1] not in said
    for path in run.rglob("*"):
        assert not path.is_file() or token.encode() not in path.read_bytes()
