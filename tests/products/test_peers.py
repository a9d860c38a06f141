"""Laws of scoring others: equal latents and maps score equally, whichever program's files they come in."""

from __future__ import annotations

import json
import pickle  # noqa: TID251  (to write what cryoDRGN writes)
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from sklearn.metrics import auc

from dynaflex.errors import InputError
from dynaflex.io.mrc import read_map, write_map
from dynaflex.judge import scoring
from dynaflex.judge.peers import latents_in, peer_scores, volume_scores
from dynaflex.judge.scene import SimulatedScene
from dynaflex.run.directory import Run
from dynaflex.validate.cryobench import fsc_area, neighbourhood_similarity

Command = Callable[..., Any]
RANDOM = np.random.default_rng(5)


@pytest.fixture(scope="module")
def scene(simulated: Path) -> SimulatedScene:
    return SimulatedScene.read(simulated / "truth.npz")


def cryobench_area(volume: np.ndarray, truth: np.ndarray) -> float:
    """CryoBench's formula, shell by shell: shell i holds ``i - 1 <= r < i``, shell 0 counts as 1."""
    box = len(volume)
    first, second = (np.fft.fftshift(np.fft.fftn(np.fft.ifftshift(values))) for values in (volume, truth))
    radius = np.sqrt(sum(part**2 for part in np.meshgrid(*[np.arange(-(box // 2), box - box // 2)] * 3, indexing="ij")))
    curve = [1.0]
    for shell in range(1, box // 2):
        inside = (radius >= shell - 1) & (radius < shell)
        a, b = first[inside], second[inside]
        curve.append(float(np.vdot(a, b).real / np.sqrt(np.vdot(a, a).real * np.vdot(b, b).real)))
    return float(auc(np.arange(box // 2) / box, np.abs(curve)))


def test_areas_are_those_of_cryobenchs_formula() -> None:
    truth = RANDOM.normal(size=(24, 24, 24))
    for noise in (0.0, 0.5, 3.0):
        volume = truth + noise * RANDOM.normal(size=truth.shape)
        found = fsc_area(torch.from_numpy(volume), torch.from_numpy(truth))
        assert found == pytest.approx(cryobench_area(volume, truth), abs=1e-9)


def test_neighbourhoods_are_those_of_cryobenchs_formula() -> None:
    truth = RANDOM.uniform(size=(200, 1))
    latents = np.hstack([truth + 0.1 * RANDOM.normal(size=truth.shape), RANDOM.normal(size=truth.shape)])
    ranks = [
        np.linalg.norm(values[:, None] - values, axis=2).argsort(axis=1).argsort(axis=1) for values in (truth, latents)
    ]
    for radius in (0.05, 0.2):
        # Of k neighbours, and the point itself, which is nearer than any.
        near = [rank < round(radius * len(truth)) + 1 for rank in ranks]
        expected = (near[0] & near[1]).sum(axis=1).mean() / round(radius * len(truth))
        assert neighbourhood_similarity(latents, truth, (radius,))[0] == pytest.approx(expected, abs=1e-12)


def test_equal_latents_score_equally_in_every_programs_files(scene: SimulatedScene, tmp_path: Path) -> None:
    count = len(scene.coordinate)
    z = np.hstack(
        [scene.coordinate + 0.02 * RANDOM.normal(size=scene.coordinate.shape), RANDOM.normal(size=(count, 2))]
    )
    z = z.astype(np.float32)
    cryodrgn, recovar = tmp_path / "00_vae", tmp_path / "recovar"
    for epoch, values in ((9, -z[::-1]), (10, z)):
        cryodrgn.mkdir(exist_ok=True)
        (cryodrgn / f"z.{epoch}.pkl").write_bytes(pickle.dumps(values))
    (recovar / "model" / "zdim_3").mkdir(parents=True)
    np.save(recovar / "model" / "zdim_3" / "latent_coords.npy", z)
    np.save(tmp_path / "z.npy", z)
    assert latents_in(cryodrgn).name == "z.10.pkl"
    paths = [cryodrgn, recovar, tmp_path / "z.npy"]
    first, *others = peer_scores(scene, paths, []).values()
    assert first == scoring.scores_of_latents(z, scene.coordinate) and all(other == first for other in others)
    assert abs(first["linear_r"][0]) > 0.9


def test_maps_of_a_run_score_as_the_run_does(
    scene: SimulatedScene, finished_run: Path, command: Command, tmp_path: Path
) -> None:
    run = Run.open(finished_run)
    rows, _ = scoring.latents_of(finished_run, 1)
    chosen = rows[:: len(rows) // 3][:3]
    outcome = command("volumes", finished_run, "--particles", ",".join(map(str, chosen)), "-o", tmp_path / "maps")
    assert outcome.code == 0, outcome.err
    (tmp_path / "maps" / "rows.txt").write_text("\n".join(map(str, chosen)))
    found, own = volume_scores(scene, tmp_path / "maps"), scoring.per_image_area(run, scene, 1, 3)
    assert found == pytest.approx(own, abs=1e-4)


@pytest.mark.parametrize("asked", [2, 11, 13])
@pytest.mark.parametrize("name", ["vol_{:03d}.mrc", "vol_{}.mrc"])
def test_without_rows_the_particles_are_those_of_cryobench(
    scene: SimulatedScene, tmp_path: Path, asked: int, name: str
) -> None:
    rows = range(0, len(scene.coordinate), len(scene.coordinate) // asked)
    for number, row in enumerate(rows):
        write_map(tmp_path / name.format(number), scene.volume(scene.coordinate[row]).float().numpy(), 6.0)
    found = volume_scores(scene, tmp_path)
    assert found["mean"] == pytest.approx(found["perfect"], abs=1e-3) and found["images"] == len(rows)


def test_others_stand_beside_the_run(simulated: Path, finished_run: Path, command: Command, tmp_path: Path) -> None:
    with np.load(finished_run / "latents.npz") as stored:
        z = np.empty_like(stored["mean"])
        z[stored["index"]] = stored["mean"]
    (tmp_path / "z.pkl").write_bytes(pickle.dumps(z))
    asked = ("score", finished_run, "--truth", simulated / "truth.npz", "--images", 1, "--latents", tmp_path / "z.pkl")
    outcome = command(*asked)
    assert outcome.code == 0, outcome.err
    # What took long is said before.
    lines = outcome.out.splitlines()
    header, first = (
        next(line for line in lines if line.startswith(words)) for words in ("score ", "true coordinate 1")
    )
    assert header.split()[-5:] == ["half", "1", "half", "2", str(tmp_path / "z.pkl")]
    again = command(*asked, "--json")
    assert again.code == 0, again.err
    found = json.loads(again.out)["peers"][str(tmp_path / "z.pkl")]
    assert found["knn_r2"][0] == pytest.approx(float(first.split()[-1]), abs=1e-3)


def test_what_cannot_be_scored_is_told(scene: SimulatedScene, tmp_path: Path) -> None:
    for zdim in (4, 10):
        (tmp_path / "both" / "model" / f"zdim_{zdim}").mkdir(parents=True)
        np.save(tmp_path / "both" / "model" / f"zdim_{zdim}" / "latent_coords.npy", np.zeros((400, zdim)))
    (tmp_path / "small").mkdir()
    write_map(tmp_path / "small" / "vol_000.mrc", np.zeros((16, 16, 16), dtype=np.float32), 12.0)
    (tmp_path / "rows").mkdir()
    write_map(tmp_path / "rows" / "vol_000.mrc", np.zeros((32, 32, 32), dtype=np.float32), 6.0)
    (tmp_path / "rows" / "rows.txt").write_text("400\n")
    assert read_map(tmp_path / "rows" / "vol_000.mrc").box == 32
    (tmp_path / "none").mkdir()
    for latents, volumes, code in (
        ("both", "", "score.which-latents"), ("none", "", "score.which-latents"), ("", "small", "score.other-box"),
        ("", "rows", "score.rows"), ("", "none", "score.no-volumes"),
    ):  # fmt: skip
        with pytest.raises(InputError) as refused:
            peer_scores(scene, [tmp_path / latents] if latents else [], [tmp_path / volumes] if volumes else [])
        assert refused.value.identifier == code
