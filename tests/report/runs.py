"""Finished runs in small: every file that the report reads."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path

import numpy as np

from dynaflex.grid import Grid
from dynaflex.io.mrc import write_map
from dynaflex.mesh.build import lattice
from dynaflex.mesh.segments import LabelledMesh
from dynaflex.prepare.mesh_store import save_mesh

HOSTILE = '<script>alert("x")</script> & <b>bold</b>'


def fsc_curves_of(limit: float, at_0143: float | None, shells: int = 33) -> dict[str, object]:
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
            "kernels": ["native C, interface 1, 2 threads", f"reference {HOSTILE}"],
            "counts": {
                "table": particles + 3,
                "used": particles,
                "excluded": [{"row": row, "reason": "NaN in the image"} for row in (5, 17, 301)],
            },
            "warnings": ["The reference comes from an atomic model: model bias is possible.", HOSTILE],
            "shared_between_halves": ["mask.mrc", "the map low-passed to 20 Å"],
            "inputs": {"particles": {"path": "particles.star", "sha256": "abc123"}},
        },
        "fsc.json": {"deformed": fsc_curves_of(6.5, 6.21), "rigid": fsc_curves_of(9.0, 8.43), "claim_limit": 20.0},
        "model_fsc.json": {
            f"half{half}": {
                "frequency": fsc_curves_of(8, None)["frequency"],
                "consensus": fsc_curves_of(12, None)["masked"],
                "final": fsc_curves_of(8 + half, None)["masked"],
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
            "log_likelihood": -1.5 - 0.2 * np.exp(-epoch / 5),
            "held_out_log_likelihood": -1.6 - 0.2 * np.exp(-epoch / 5),
            "gain": 3.0 - 3.0 * np.exp(-epoch / 5),
            "held_out_gain": 2.0 - 2.0 * np.exp(-epoch / 5),
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
    radius = Grid(box, 3.0).radius_of_points().view(box, box, box).numpy()
    molecule = np.exp(-((radius / 12.0) ** 2))
    for kind in ("map", "rigid"):
        for number in (1, 2):
            volume = (molecule + random.normal(scale=0.05, size=molecule.shape)).astype(np.float32)
            write_map(run / "maps" / f"{kind}_half{number}.mrc", volume, 3.0)
    write_map(run / "maps" / "map.mrc", molecule.astype(np.float32), 3.0)
    local = np.where(radius < 20.0, 6.0 + radius / 10.0, 0.0)
    write_map(run / "maps" / "local_resolution.mrc", local.astype(np.float32), 3.0)
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
