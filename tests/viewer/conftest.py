"""A real explorer behind a real socket, and runs that are small enough to attack."""

from __future__ import annotations

import hashlib
import http.client
import os
import re
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("starlette", reason="the explorer's libraries are not installed: pip install 'dynaflex[view]'")
pytest.importorskip("uvicorn", reason="the explorer's libraries are not installed: pip install 'dynaflex[view]'")

from dynaflex.io import durable
from dynaflex.training.installed import method_named
from dynaflex.viewer.answers.wire import pack

PARTICLES = 50
_TOLD = re.compile(r"http://\S+?:(\d+)/\?token=(\S+)")


@dataclass
class Explorer:
    """``dynaflex view`` in a process of its own, and what it says."""

    process: subprocess.Popen[str]
    port: int
    token: str
    lines: list[str] = field(default_factory=list)
    cookie: str = ""
    key: str = ""

    def ask(
        self,
        path: str,
        method: str = "GET",
        body: bytes | None = None,
        headers: dict[str, str] | None = None,
        host: str = "127.0.0.1",
    ) -> tuple[int, bytes, dict[str, str]]:
        """Status, body and headers of one request, with nothing but the headers given and Host."""
        connection = http.client.HTTPConnection(host, self.port, timeout=30)
        try:
            connection.putrequest(method, path, skip_host=headers is not None and "Host" in headers)
            for name, value in (headers or {}).items():
                connection.putheader(name, value)
            if body is not None:
                connection.putheader("Content-Length", str(len(body)))
            connection.endheaders(body)
            answer = connection.getresponse()
            return answer.status, answer.read(), {name.lower(): value for name, value in answer.getheaders()}
        finally:
            connection.close()

    def enter(self) -> None:
        """What the browser does with the link."""
        status, _, headers = self.ask(f"/?token={self.token}")
        assert status == 303 and headers["location"] == "/"
        self.cookie = headers["set-cookie"].split(";")[0]
        self.key = str(self.json("/api/run")["key"])

    def mine(self, **more: str) -> dict[str, str]:
        """The headers of a browser that was let in, on our own page."""
        return {"Cookie": self.cookie, "Sec-Fetch-Site": "same-origin", **more}

    def json(self, path: str) -> Any:
        """A JSON answer to the browser."""
        import json

        status, body, _ = self.ask(path, headers=self.mine())
        assert status == 200, (path, body)
        return json.loads(body)

    def writing(self, **more: str) -> dict[str, str]:
        """The headers of a request of our page that writes."""
        return self.mine(Origin=f"http://127.0.0.1:{self.port}", **{"X-Dynaflex-Key": self.key}, **more)

    def save(self, name: str, chosen: list[int], count: int = PARTICLES, **more: str) -> tuple[int, bytes]:
        """Ask for a selection to be stored."""
        status, body, _ = self.ask("/api/selections", "POST", selection(name, chosen, count), self.writing(**more))
        return status, body


def selection(name: str, chosen: list[int], count: int = PARTICLES) -> bytes:
    """The message that stores a selection, as the page sends it."""
    mask = np.zeros(count, dtype=np.uint8)
    mask[chosen] = 1
    message = pack({"name": name, "how": "test"})
    return message + np.packbits(mask, bitorder="little").tobytes()


@pytest.fixture(scope="session")
def hollow(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of 50 particles with latents and no model."""
    return make_hollow(tmp_path_factory.mktemp("hollow") / "run")


def begin(run: Path, method: str) -> None:
    """The settings of a run, all that it has so far."""
    durable.write_json(run / "config.json", {"method": method, **method_named(method).config().model_dump()})


def make_hollow(run: Path) -> Path:
    run.mkdir()
    generator = np.random.default_rng(0)
    begin(run, "dynamight")
    durable.write_npz(
        run / "latents.npz",
        index=np.arange(PARTICLES) + 3,
        half=np.arange(PARTICLES) % 2 + 1,
        mean=generator.normal(size=(PARTICLES, 3)).astype(np.float32),
        scale=np.ones((PARTICLES, 3), np.float32),
    )
    rows = "".join(f"{i + 1:06d}@a.mrcs {1000 + i} 'a b{i}' {i % 3}\n" for i in range(PARTICLES + 5))
    columns = "_rlnImageName\n_rlnDefocusU\n_rlnMicrographName\n_rlnClassNumber\n"
    optics = "data_optics\n\nloop_\n_rlnOpticsGroup\n_rlnVoltage\n1 300\n\n"
    (run / "particles.star").write_text(f"{optics}data_particles\n\nloop_\n{columns}{rows}", encoding="utf-8")
    return run


def store_motion(run: Path, **arrays: np.ndarray | None) -> None:
    """A ``motion.npz`` with these arrays, ones where none are given; without those that are None."""
    points = np.ones((7, 3)) if arrays.get("points") is None else arrays["points"]
    shapes = {"points": points.shape, "direction": points.shape}
    shapes |= dict.fromkeys(("rms_displacement", "error"), points.shape[:1])
    shapes |= dict.fromkeys(("displacement_norm", "particle_error", "misfit", "gain"), (PARTICLES,))
    made = {name: np.ones(shape, np.float32) for name, shape in shapes.items()} | arrays
    np.savez(run / "motion.npz", **{name: array for name, array in made.items() if array is not None})


@pytest.fixture(scope="session")
def start() -> Iterator[Callable[..., Explorer]]:
    """``start(run, "--port", 9000)``: an explorer of a run; it ends with the tests at the latest."""
    running = []

    def begin(run: Path, *options: object) -> Explorer:
        command = [sys.executable, "-c", "from dynaflex.cli.main import main; main()", "view", str(run)]
        process = subprocess.Popen(
            [*command, *map(str, options)], stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        )  # fmt: skip
        assert process.stderr is not None
        first = process.stderr.readline()
        told = _TOLD.search(first)
        assert told is not None, first + process.stderr.read()
        explorer = Explorer(process, int(told[1]), told[2], [first])
        running.append((explorer, threading.Thread(target=lambda: explorer.lines.extend(process.stderr), daemon=True)))
        running[-1][1].start()
        return explorer

    yield begin
    for explorer, reader in running:
        explorer.process.terminate()
        explorer.process.wait(30)
        reader.join(10)


@pytest.fixture(scope="session")
def explorer(hollow: Path, start: Callable[..., Explorer]) -> Explorer:
    """One explorer, entered."""
    explorer = start(hollow, "--port", free_port())
    explorer.enter()
    return explorer


def contents(folder: Path) -> dict[str, str]:
    """Every file below a folder and its hash."""
    files = (path for path in sorted(folder.rglob("*")) if path.is_file())
    return {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def free_port() -> int:
    import socket

    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])
