"""The requirements on a viewer that others can reach, V7 to V15: whoever was let in cannot do harm."""

from __future__ import annotations

import ast
import hashlib
import re
import signal
import socket
import time
from collections.abc import Callable
from pathlib import Path

import pytest

import dynaflex.viewer
from viewer.conftest import Explorer, contents, make_hollow, selection

SOURCE = Path(dynaflex.viewer.__file__).parent
Start = Callable[..., Explorer]

NAMES = (
    "../config.json", "..%2fconfig.json", "%2e%2e/config.json", "%252e%252e%252fconfig.json", "..\\config.json",
    "/etc/passwd", "%2fetc%2fpasswd", "config.json%00.js", "/proc/self/environ", "%2fproc%2fself%2fenviron", "a" * 4000,
    "a" * 20000, "....//config.json", "app.js/../../opened.py", "link", "%c0%ae%c0%ae/config.json", "?", "app.js/",
)  # fmt: skip


@pytest.mark.parametrize("name", NAMES, ids=lambda name: name[:30])
@pytest.mark.parametrize("place", ["/static/", "/static/vendor/", "/api/column/", "/api/map/", "/api/section/", "/"])
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
    question = "/api/conformation?half={}&at=1,2&x=component1&y=component2"
    status, body, headers = explorer.ask(question.format(9), headers=explorer.mine())
    assert status == 400 and b"Traceback" not in body and "server" not in headers
    status, body, _ = explorer.ask(question.format(1), headers=explorer.mine())
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


def test_V10_what_others_wrote_is_what_they_published_and_asks_nobody(explorer: Explorer) -> None:
    vendor = SOURCE.parent / "vendor"
    listed = dict(
        line.split()[::-1] for line in (vendor / "NOTICE").read_text().splitlines() if re.match("[0-9a-f]{64}", line)
    )
    assert {path.name for path in vendor.iterdir()} == {*listed, "NOTICE"}
    for name, digest in listed.items():
        content = (vendor / name).read_bytes()
        assert hashlib.sha256(content).hexdigest() == digest, name
        status, served, _ = explorer.ask(f"/static/vendor/{name}", headers=explorer.mine())
        assert status == 200 and served == content
        if name.endswith((".js", ".css")):
            asks = rb"\beval\(|new Function|XMLHttpRequest|fetch\(|importScripts|@import|url\(|document\.write"
            assert not re.search(asks, content), name
    assert explorer.ask("/static/vendor/../app.js", headers=explorer.mine())[0] == 404


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
    for path in ("/api/selections", "/api/counterparts", "/api/averages", "/api/archive"):
        assert explorer.ask(path, "POST", body, explorer.writing())[0] in (400, 413, 422)


@pytest.mark.parametrize(
    "query", ["half=1e9", "half=-1", "half=1&at=nan,0&x=component1&y=component2", "half=1&at=0,0&x=half&y=component2",
              "half=1&at=1&x=component1&y=component2", "half=1&z=inf", "half=1&z=" + "1," * 1000,
              "half=1&at=0,0&x=motion1&y=motion2", "half=1&z=1,2,3&size=huge", "half=9" * 2000,
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
                 "dense_path?half=1&frames=9&through=;", "places", "places?half=1&x=component1&y=component2",
                 "places?half=1&x=component1&y=half&z=1,2,3", "places?half=1&x=component1&z=1,2,3",
                 "places?half=0&x=component1&y=component2&z=1,2,3", "places?half=1&x=component1&y=component2&z=1,2,inf",
                 "images", "images?rows=1", "images?rows=1,x&resolution=9", "images?rows=../a&resolution=9",
                 "images?rows=1&resolution=nan", "images?rows=1&resolution=-1", "images?rows=9&resolution=9",
                 "nearest?half=1", "nearest?half=3&z=1,2,3", "nearest?half=1&z=1,2", "nearest?half=1&z=1,2,nan",
                 "path?half=1&axis=motion1&frames=3", "path?half=1&axis=../a&frames=3",
                 "places?half=1&x=component1&y=component2&z=1,2,3,4", "places?half=1&x=../a&y=component2&z=1,2,3"],
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
    banned = ("pickle", "torch.load", "joblib", "dill", "UploadFile", "form", "load_arrays", "latent_file")
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
