"""How fast `dynaflex view` answers the hand: in headless Chromium, painting without a GPU.

    python benchmarks/explorer.py [--particles 100000] [--many 1000000] [--repeats 15] [--run RUN]

A run on simulated particles of a hinge (box 32) is trained for a few epochs; its maps are padded in Fourier space until
the window of the explorer has 96 voxels a side, and its latents are repeated with noise until there are as many
particles as asked for. Every time is from the event in the page until what it changes has been painted (a pixel of the
picture has been read back). One JSON line a figure: the median in ms, the smallest and the largest, and the target.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import torch
from playwright.sync_api import Page, sync_playwright

from dynaflex import fourier
from dynaflex.io import durable
from dynaflex.io.mrc import read_map, write_map
from dynaflex.results.trained import load_half
from dynaflex.run.watched import WatchedRun
from dynaflex.viewer.density.decoder import SIZES, Decoder
from dynaflex.viewer.density.window import Window

CHROMIUM = "/usr/bin/chromium"
FLAGS = ["--no-sandbox", "--use-gl=angle", "--use-angle=swiftshader", "--enable-unsafe-swiftshader"]
TARGETS = {"click": 300, "drag": 300, "threshold": 100, "redraw": 150, "lasso": 300}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--particles", type=int, default=100_000, help="particles while conformations are timed")
    parser.add_argument("--many", type=int, default=1_000_000, help="particles while the plot is timed")
    parser.add_argument("--repeats", type=int, default=15)
    parser.add_argument("--run", type=Path, help="a finished run to enlarge, instead of a new one; it is copied")
    given = parser.parse_args()
    if not Path(CHROMIUM).exists():
        print("skipped: no Chromium; apt-get install chromium", file=sys.stderr)
        return
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as scratch:
        run = Path(scratch) / "run"
        if given.run is None:
            train(Path(scratch), run)
        else:
            subprocess.run(["cp", "-r", given.run, run], check=True)
        enlarge(run)
        with_particles(run, given.particles)
        with explorer(run) as page:
            wait(page, "() => dynaflex.explore.particles.awaited(['motion1', 'motion2']) === 0")
            report("click", clicks(page, given.repeats), given.particles)
            report("drag", drags(page, given.repeats), given.particles)
            report("threshold", thresholds(page, given.repeats), given.particles)
        with_particles(run, given.many)
        with explorer(run) as page:
            # These need not wait until the motion of a million particles has been found.
            for name in ("x", "y"):
                page.select_option(f"#{name}", f"component{1 + 'xy'.index(name)}")
            page.select_option("#half", "0")
            time.sleep(3.0)
            report("redraw", redraws(page, given.repeats), given.many)
            report("lasso", lassos(page, given.repeats), given.many)


def train(folder: Path, run: Path) -> None:
    data = folder / "data"
    dynaflex("simulate", data, "--particles", 400, "--box", 32, "--pixel-size", 6, "--snr", 1)
    files = (data / "particles.star", "--map", data / "consensus.mrc", "--mask", data / "mask.mrc")
    dynaflex("dynamight", *files, "-o", run, "--epochs", 20, "--gaussians", 200, "--batch-size", 8)


def dynaflex(*arguments: object) -> None:
    subprocess.run([*_COMMAND, *map(str, arguments)], check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def enlarge(run: Path) -> None:
    """Pad the maps until the explorer's window is as fine as it ever gets."""
    window = seen_window(run)
    box = 2 * round(window.full.box * SIZES["fine"] / window.side / 2 + 1)
    for path in (run / "maps").glob("*.mrc"):
        small = read_map(path)
        large = fourier.resize(torch.from_numpy(small.data), box, 3).numpy()
        write_map(path, large, small.box * (small.pixel_size or 1.0) / box)
    shown = seen_window(run)
    assert shown.grid.box == SIZES["fine"], shown


def seen_window(run: Path) -> Window:
    watched = WatchedRun(run)
    return Decoder(watched, load_half(watched, 1)).window


def with_particles(run: Path, count: int) -> None:
    """Latents and a table of so many particles, like those of the run."""
    generator = np.random.default_rng(0)
    with np.load(run / "latents.npz") as stored:
        chosen = generator.integers(len(stored["half"]), size=count)
        mean = stored["mean"][chosen]
        mean = mean + generator.normal(scale=0.3, size=mean.shape).astype(np.float32)
        half, scale = stored["half"][chosen], stored["scale"][chosen]
    half[:2] = 1, 2
    durable.write_npz(run / "latents.npz", index=np.arange(count), half=half, mean=mean, scale=scale)
    (run / "motion.npz").unlink(missing_ok=True)
    rows = "".join(f"{i % 1000 + 1:06d}@particles.mrcs\t{10000 + i % 997}\n" for i in range(count))
    head = "\ndata_particles\n\nloop_\n_rlnImageName #1\n_rlnDefocusU #2\n"
    (run / "particles.star").write_text(head + rows, encoding="utf-8")


@contextmanager
def explorer(run: Path) -> Iterator[Page]:
    """The page of a run, all particles shown, once everything has been loaded."""
    server = subprocess.Popen([*_COMMAND, "view", str(run)], stderr=subprocess.PIPE, text=True)
    assert server.stderr is not None
    link = server.stderr.readline().removeprefix("open: ").strip()
    threading.Thread(target=server.stderr.read, daemon=True).start()
    try:
        with sync_playwright() as play:
            browser = play.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
            page = browser.new_page(viewport={"width": 1280, "height": 720})
            page.goto(link)
            wait(page, "() => document.body.dataset.ready === 'yes'")
            time.sleep(3.0)
            yield page
            browser.close()
    finally:
        server.terminate()
        server.wait()


def wait(page: Page, condition: str) -> None:
    deadline = time.monotonic() + 120
    while not page.evaluate(condition):
        assert time.monotonic() < deadline, condition
        time.sleep(0.05)


def clicks(page: Page, repeats: int) -> list[float]:
    """Pointer up on a place of the plot until its fine surface is there."""
    found = []
    box = page.locator("#plot").bounding_box()
    assert box is not None
    for i in range(repeats):
        page.evaluate("() => { dynaflex.explore.times.length = 0 }")
        x, y = box["x"] + box["width"] * (0.3 + 0.4 * i / repeats), box["y"] + box["height"] * 0.5
        page.mouse.click(x, y)
        wait(page, "() => dynaflex.explore.times.some((time) => time.size === 'fine')")
        times = page.evaluate("() => dynaflex.explore.times")
        found += [time["total"] for time in times if time["size"] == "fine"]
        time.sleep(0.1)
    return found


def drags(page: Page, repeats: int) -> list[float]:
    """A place that the pointer drags over until its coarse surface is there."""
    box = page.locator("#plot").bounding_box()
    assert box is not None
    page.evaluate("() => { dynaflex.explore.times.length = 0 }")
    page.mouse.move(box["x"] + 0.3 * box["width"], box["y"] + 0.5 * box["height"])
    page.mouse.down()
    for i in range(4 * repeats):
        page.mouse.move(box["x"] + (0.3 + 0.1 * i / repeats) * box["width"], box["y"] + 0.5 * box["height"])
        time.sleep(0.03)
    page.mouse.up()
    time.sleep(0.5)
    return [time["total"] for time in page.evaluate("() => dynaflex.explore.times") if time["size"] == "coarse"]


def thresholds(page: Page, repeats: int) -> list[float]:
    found = []
    for i in range(repeats):
        page.evaluate(
            "(value) => { dynaflex.explore.thresholdTime = 0; const range = document.getElementById('threshold');"
            " range.value = value; range.dispatchEvent(new Event('input')); }",
            0.8 + 0.05 * i,
        )
        wait(page, "() => dynaflex.explore.thresholdTime > 0")
        found.append(float(page.evaluate("() => dynaflex.explore.thresholdTime")))
    return found


def redraws(page: Page, repeats: int) -> list[float]:
    """A new picture of the whole plot; every particle is counted in it."""
    counted = "() => dynaflex.explore.plot.image.sums.reduce((sum, value, i) => sum + (i % 4 ? 0 : value), 0)"
    assert page.evaluate(counted) == page.evaluate("() => dynaflex.explore.particles.shown.length")
    script = (
        "() => { const { plot } = dynaflex.explore; const start = performance.now(); plot.draw();"
        " plot.image.pen.getImageData(0, 0, 1, 1); return performance.now() - start }"
    )
    return [float(page.evaluate(script)) for _ in range(repeats)]


def lassos(page: Page, repeats: int) -> list[float]:
    """A closed lasso until the particles in it are counted, and the others have faded."""
    script = (
        "(shift) => { const { plot } = dynaflex.explore; const start = performance.now();"
        " const polygon = Array.from({ length: 60 }, (_, i) => [300 + shift + 150 * Math.cos(i / 9.55),"
        " 230 + 120 * Math.sin(i / 9.55)]); dynaflex.explore.selection.chooseShown(plot.inside(polygon));"
        " plot.image.pen.getImageData(0, 0, 1, 1); return performance.now() - start }"
    )
    return [float(page.evaluate(script, i)) for i in range(repeats)]


def report(name: str, times: list[float], particles: int) -> None:
    print(json.dumps({
        "what": name, "particles": particles, "median_ms": round(statistics.median(times), 1),
        "min_ms": round(min(times), 1), "max_ms": round(max(times), 1), "n": len(times), "target_ms": TARGETS[name],
    }), flush=True)  # fmt: skip


_COMMAND = [sys.executable, "-c", "from dynaflex.cli.main import main; main()"]

if __name__ == "__main__":
    main()
