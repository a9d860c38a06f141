"""Finished runs in small, every file that the report reads, and what a browser would make of the page."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from html.parser import HTMLParser
from pathlib import Path
from types import ModuleType

import mrcfile
import numpy as np
import pytest
import torch
from matplotlib.figure import Figure

from dynaflex.grid import Grid
from dynaflex.mesh.build import lattice
from dynaflex.mesh.segments import LabelledMesh
from dynaflex.pipelines.mesh_store import save_mesh
from dynaflex.report import conformations, domains, figures, film, latents, mesh_picture, pictures, training
from dynaflex.report.film import Film
from dynaflex.report.html import write_report
from dynaflex.report.style import Drawing

HOSTILE = '<script>alert("x")</script> & <b>bold</b>'
VOID = {"meta", "br", "hr", "img", "link", "input"}
DRAWING: tuple[ModuleType, ...] = (conformations, domains, figures, latents, mesh_picture, pictures, training)


def curves(limit: float, at_0143: float | None, shells: int = 33) -> dict[str, object]:
    frequency = np.arange(shells) / 192.0
    fall = 1 / (1 + np.exp((frequency - 1 / limit) * 120))
    return {
        "frequency": frequency.tolist(),
        "unmasked": (fall * 0.97).tolist(),
        "masked": fall.tolist(),
        "corrected": (fall * 0.99).tolist(),
        "resolution": {"0.143": at_0143, "0.5": 9.87},
    }


def write_run(run: Path, particles: int = 400, points: int = 300, box: int = 24) -> Path:
    """A run of DynaMight."""
    random = np.random.default_rng(0)
    (run / "maps").mkdir(parents=True)
    write = {
        "config.json": {
            "method": "dynamight",
            "seed": 7,
            "train_box": 64,
            "nested": {"inner": HOSTILE},
            "epochs": None,
        },
        "provenance.json": {
            "version": "0.1.0",
            "command": ["dynaflex", "dynamight", "particles.star", "--map", "map <1>.mrc"],
            "started": "2024-05-06T07:08:09+00:00",
            "counts": {
                "table": particles + 3,
                "used": particles,
                "excluded": [{"row": row, "reason": "NaN in the image"} for row in (5, 17, 301)],
            },
            "warnings": ["The reference comes from an atomic model: model bias is possible.", HOSTILE],
            "shared_between_halves": ["mask.mrc", "the map low-passed to 20 Å"],
            "inputs": {"particles": {"path": "particles.star", "sha256": "abc123"}},
        },
        "fsc.json": {"deformed": curves(6.5, 6.21), "rigid": curves(9.0, 8.43), "claim_limit": 20.0},
        "model_fsc.json": {
            f"half{half}": {
                "frequency": curves(8, None)["frequency"],
                "consensus": curves(12, None)["masked"],
                "final": curves(8 + half, None)["masked"],
            }
            for half in (1, 2)
        },
        "threshold.json": {
            "threshold": 0.0123,
            "histogram_edges": np.linspace(-0.02, 0.06, 81).tolist(),
            "histogram_counts": (1e5 * np.exp(-((np.linspace(-0.02, 0.06, 80) / 0.012) ** 2))).tolist(),
            "automatic": True,
        },
        "poses_drift.json": {"rotation_degrees": {"median": 0.42}},
    }
    for name, content in write.items():
        (run / name).write_text(json.dumps(content))
    phases = ["warm-up"] * 3 + ["joint"] * 20 + ["gaussians"] * 4
    lines = [
        {
            "half": half,
            "epoch": epoch,
            "phase": phase,
            "steps": 150,
            "data_loss": 1.0 + 0.2 * np.exp(-epoch / 5) + 0.01 * half,
            "held_out_loss": None if phase == "warm-up" else 1.02 + 0.2 * np.exp(-epoch / 5) + 0.01 * half,
            "geometry": 0.02 * epoch,
            "kl": 0.1,
            "lambda": 0.9 + 0.01 * epoch,
            "rms_displacement": 4 * (1 - np.exp(-epoch / 6)),
            "seconds": 10.0,
            "memory_mb": 612.0,
        }
        for half in (1, 2)
        for epoch, phase in enumerate(phases, 1)
    ]
    (run / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    angle = random.uniform(-1, 1, particles)
    mean = np.stack([angle, angle**2, *random.normal(scale=0.1, size=(2, particles))], axis=1)
    half = 1 + np.arange(particles) % 2
    np.savez(run / "latents.npz", index=np.arange(particles), half=half, mean=mean, scale=np.full_like(mean, 0.1))
    points_ = random.normal(scale=(30.0, 12.0, 12.0), size=(points, 3))
    lever = np.clip(points_[:, 0], 0, None) / 10
    np.savez(
        run / "motion.npz",
        points=points_,
        rms_displacement=0.2 + lever,
        direction=np.stack([0 * lever, lever, 0.3 * lever], axis=1),
        error=0.3 + 0.1 * lever,
        displacement_norm=np.abs(angle) * 4,
    )
    for kind in ("map", "rigid"):
        for number in (1, 2):
            molecule = torch.exp(-((Grid(box, 3.0).radius_of_points() / 12.0) ** 2)).view(box, box, box).numpy()
            volume = (molecule + random.normal(scale=0.05, size=molecule.shape)).astype(np.float32)
            with mrcfile.new(run / "maps" / f"{kind}_half{number}.mrc", volume) as mrc:
                mrc.voxel_size = 3.0
    return run


def write_flex_run(run: Path) -> Path:
    """The same as a run of 3DFlex: a mesh of two segments and a canonical map in place of the Gaussians."""
    write_run(run)
    (run / "threshold.json").unlink()
    settings = {"method": "flex", "latent_dim": 2, "half_sets": "independent", "prior": "gaussian"}
    (run / "config.json").write_text(json.dumps(settings))
    sizes = {"box": 24, "pixel_size": 3.0, "train_box": 16, "train_pixel_size": 4.5}
    (run / "grid.json").write_text(json.dumps(sizes))
    (run / "metrics.jsonl").write_text(
        "".join(json.dumps(line) + "\n" for half in (1, 2) for line in flex_epochs(half))
    )
    found = dict(np.load(run / "latents.npz"))
    np.savez(run / "latents.npz", **{**found, "mean": found["mean"][:, :2], "scale": found["scale"][:, :2]})
    grid = Grid(24, 3.0)
    mesh = lattice((grid.radius_of_points() < 25.0).view(24, 24, 24), grid, 6)
    mesh.segment[mesh.vertices[mesh.cells].mean(dim=1)[:, 0] > 0] = 1
    save_mesh(run / "mesh.npz", LabelledMesh(mesh))
    with mrcfile.new(
        run / "maps" / "map.mrc", torch.exp(-grid.radius_of_points() / 9.0).view(24, 24, 24).numpy()
    ) as mrc:
        mrc.voxel_size = 3.0
    return run


def flex_epochs(half: int, epochs: int = 16, gain: float = 30.0) -> Iterable[dict[str, object]]:
    """Lines of ``metrics.jsonl``: five epochs of the flow, then map and flow in turn; ``gain`` nats in the end."""
    for epoch in range(1, epochs + 1):
        line: dict[str, object] = {"half": half, "epoch": epoch, "lambda": 2.0, "seconds": 1.0, "memory_mb": 500.0}
        if epoch > 5 and epoch % 2 == 0 and epoch < epochs:
            yield {**line, "phase": "map", "steps": 0, "band": 2 + epoch // 4}
            continue
        loss = 1500.0 + 5 * np.exp(-epoch / 4) - (300.0 if epoch == 1 else 0.0)
        yield {
            **line, "phase": "flow", "steps": 70, "data_loss": loss, "geometry": 2.0, "kl": 1.0,
            "rms_displacement": 4 * (1 - np.exp(-epoch / 6)), "latent_spread": 1.0,
            "held_out_loss": loss + 2.0, "held_out_rigid_loss": loss + 2.0 + gain * epoch / epochs,
        }  # fmt: skip


class Page(HTMLParser):
    """Checks nesting, and gathers text, identifiers and references."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.identifiers: list[str] = []
        self.references: list[str] = []
        self.tags: list[str] = []
        self.words: list[str] = []
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        if tag not in VOID:
            self.open.append(tag)
        for name, value in attrs:
            if name == "id":
                self.identifiers.append(value or "")
            if name in ("src", "href", "xlink:href", "data", "poster", "srcset", "action"):
                self.references.append(value or "")
            self.references.extend(re.findall(r"url\(([^)]+)\)", value or ""))

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attrs)
        if tag not in VOID:
            self.open.pop()

    def handle_endtag(self, tag: str) -> None:
        assert self.open and self.open[-1] == tag, f"</{tag}> closes {self.open[-3:]}"
        self.open.pop()

    def handle_data(self, data: str) -> None:
        if self.open and self.open[-1] not in ("style", "script"):
            self.words.append(data)

    @property
    def text(self) -> str:
        return " ".join("".join(self.words).split())


@pytest.fixture(scope="session")
def hostile() -> str:
    """Text that a page must not take for its own."""
    return HOSTILE


@pytest.fixture
def fsc_curves() -> Callable[..., dict[str, object]]:
    """``fsc_curves(limit, resolution)``: curves that fall around ``limit`` Å and quote ``resolution`` at 0.143."""
    return curves


@pytest.fixture
def epochs_of_flex() -> Callable[..., Iterable[dict[str, object]]]:
    """``epochs_of_flex(half, epochs=16, gain=30.0)``: what the training of a half writes down."""
    return flex_epochs


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """A run of DynaMight, to be spoiled."""
    return write_run(tmp_path / "run")


@pytest.fixture
def flex(tmp_path: Path) -> Path:
    """A run of 3DFlex, to be spoiled."""
    return write_flex_run(tmp_path / "flex")


@pytest.fixture(scope="session")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of DynaMight, to be looked at."""
    return write_run(tmp_path_factory.mktemp("report") / "run")


@pytest.fixture(scope="session")
def finished_flex(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of 3DFlex, to be looked at."""
    return write_flex_run(tmp_path_factory.mktemp("report") / "flex")


@pytest.fixture(scope="session")
def page_of() -> Callable[[Path], Page]:
    """The report of a run, written and parsed."""

    def written(run: Path) -> Page:
        with in_haste():
            return Page(write_report(run).read_text(encoding="utf-8"))

    return written


@pytest.fixture(scope="session")
def page(finished: Path, page_of: Callable[[Path], Page]) -> Page:
    """The report of :func:`finished`."""
    return page_of(finished)


@pytest.fixture(scope="session")
def flex_page(finished_flex: Path, page_of: Callable[[Path], Page]) -> Page:
    """The report of :func:`finished_flex`."""
    return page_of(finished_flex)


@contextmanager
def in_haste() -> Iterator[None]:
    """Films of few frames, and figures beside the page that are only names: a whole report takes seconds."""

    def touch(_: Drawing, path: Path) -> None:
        for ending in (".png", ".pdf"):
            path.with_name(path.name + ending).touch()

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Drawing, "write", touch)
        for name, value in (("FRAMES", 5), ("TURNS", 3), ("HEIGHT", 90)):
            patch.setattr(film, name, value)
        yield


@pytest.fixture(autouse=True)
def _in_haste() -> Iterator[None]:
    with in_haste():
        yield


@pytest.fixture
def undrawn(monkeypatch: pytest.MonkeyPatch) -> None:
    """Reports without their figures: what is tested is the page, and drawing takes a second."""

    class Nothing(Drawing):
        def svg(self) -> bytes:
            return b"<svg></svg>"

        def write(self, path: Path) -> None:
            pass

    for module in DRAWING:
        for name in [name for name in vars(module) if name.startswith("draw_")]:
            monkeypatch.setattr(module, name, lambda *_: Nothing(Figure()))
    for name in ("film_of_maps", "film_of_motion"):
        monkeypatch.setattr(film, name, lambda *_: Film(b"", 1, 1, [""], {"": 1}, "", 1.0, 1.0, 1.0))
