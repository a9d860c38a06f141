"""A hinge, seen by 2,000 noisy particles: simulate it, learn it, and compare the maps before and after.

    make demo        or        python examples/demo.py [OUT]

Everything goes through the public commands. The truth is used only to score the result.
"""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import torch
from rich.console import Console
from rich.table import Table

from dynaflex.io.mrc import read_map
from dynaflex.results.trained import displacements
from dynaflex.simulation.molecule import ARM, BODY
from dynaflex.simulation.truth import Truth, domain_mask, read_truth, true_volume, truth_displacement
from dynaflex.validate.fsc import fourier_shell_correlation, resolution_at
from dynaflex.validate.score import best_matching_state, knn_r2, variance_explained

PARTICLES = 2000
SETTINGS = {"dynamight": ("--epochs", 30), "flex": ("--epochs", 40)}
PROGRAM = Path(os.path.relpath(Path(sys.executable).with_name("dynaflex")))
NAMES = {"dynamight": "DynaMight", "flex": "3DFlex"}


def main() -> None:
    """Simulate, run both methods, print the table."""
    out = Path(sys.argv[1] if len(sys.argv) > 1 else "demo")
    shutil.rmtree(out, ignore_errors=True)
    out.mkdir(parents=True)
    data = out / "particles"
    dynaflex("simulate", data, "--particles", PARTICLES, "--motion", "hinge", "--snr", 0.1)
    dynaflex("check", data / "particles.star", "--map", data / "consensus.mrc", "--mask", data / "mask.mrc")
    inputs = (data / "particles.star", "--map", data / "consensus.mrc", "--mask", data / "mask.mrc")
    seconds = {}
    for method, settings in SETTINGS.items():
        started = time.monotonic()
        dynaflex(method, *inputs, "-o", out / method, *settings)
        seconds[method] = time.monotonic() - started
    (out / "report.html").write_text(index_page(seconds), encoding="utf-8")
    print_scores(out, read_truth(data / "truth.npz"), seconds)
    Console().print(f"reports: {out / 'report.html'}")
    Console().print(f"see it move: {PROGRAM} view {out / 'dynamight'}", soft_wrap=True)


def index_page(seconds: dict[str, float]) -> str:
    """A page that leads to the report of each method."""
    links = "".join(
        f'<li><a href="{method}/report.html">{NAMES[method]}</a>, {spent:.0f} s</li>'
        for method, spent in seconds.items()
    )
    return (
        '<!doctype html><html lang="en"><meta charset="utf-8"><title>dynaflex demo</title>'
        '<body style="font: 18px/1.6 system-ui, sans-serif; max-width: 40rem; margin: 3rem auto">'
        f"<h1>One hinge, two methods</h1><p>{PARTICLES:,} simulated particles.</p><ul>{links}</ul></body></html>"
    )


def dynaflex(*arguments: object) -> None:
    """Run a command as a user would; where it ends badly it has said why, and the demo ends as it did."""
    command = [str(PROGRAM), *map(str, arguments)]
    print("$", shlex.join(["dynaflex", *map(str, arguments)]), flush=True)
    if code := subprocess.run(command, check=False).returncode:
        sys.exit(code)


def print_scores(out: Path, truth: Truth, seconds: dict[str, float]) -> None:
    """Before and after, each half of each method against the truth."""
    table = Table(title="A hinge of known motion")
    columns = [(method, half) for method in seconds for half in (1, 2)]
    table.add_column("")
    for method, half in columns:
        table.add_column(f"{NAMES[method]}, half {half}", justify="right")
    results = [scores(out / method, truth, half) for method, half in columns]
    for name in results[0]:
        table.add_row(name, *(result[name] for result in results))
    table.add_row("time, both halves", *(f"{seconds[method]:.0f} s" if half == 1 else "" for method, half in columns))
    Console(width=120).print(table)


def scores(run: Path, truth: Truth, half: int) -> dict[str, str]:
    """What one half recovers."""
    with np.load(run / "latents.npz") as stored:
        mine = stored["half"] == half
        rows, latents = stored["index"][mine], stored["mean"][mine]
    arm = truth.domain == ARM
    moved = displacements(run, truth.points.astype(np.float32), rows[:300].tolist(), half)
    true = truth_displacement(truth, rows[:300], truth.points)
    figures = {
        "hinge angle from latents, R²": f"{knn_r2(latents, truth.coordinate[rows])[0]:.3f}",
        "true motion of the arm explained": f"{variance_explained(moved[:, arm], true[:, arm]):.1%}",
    }
    for domain, part in ((ARM, "moving arm"), (BODY, "still body")):
        for name, label in (("rigid", "rigid"), ("map", "corrected")):
            volume = torch.from_numpy(read_map(run / "maps" / f"{name}_half{half}.mrc").data)
            figures[f"{part}, {label}: FSC 0.5 with the truth"] = f"{resolution(volume, truth, domain):.1f} Å"
    return figures


def resolution(volume: torch.Tensor, truth: Truth, domain: int) -> float:
    """Where the FSC with the true conformation that the map matches best falls to 0.5, in Å."""
    swing, grid = truth.motion.swing, truth.grid
    state = best_matching_state(
        volume,
        lambda coordinate: true_volume(truth, coordinate, grid),
        [(-swing, swing)],
        domain_mask(truth, None, grid, ARM),
    )
    curve = fourier_shell_correlation(volume, true_volume(truth, state, grid), domain_mask(truth, state, grid, domain))
    return resolution_at(grid.shell_frequencies(), curve, 0.5) or float("inf")


if __name__ == "__main__":
    main()
