"""Laws of rigid bodies: each moves as one, borders share a point out whole, and known hinges are found again."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import roma
import torch

import dynaflex as df
from dynaflex.density.canonical_map import CanonicalMap
from dynaflex.grid import Grid
from dynaflex.io.mrc import read_map, write_map
from dynaflex.judge.scene import SimulatedScene
from dynaflex.latents.table import LatentTable
from dynaflex.mesh.build import build_mesh
from dynaflex.mesh.segments import LabelledMesh
from dynaflex.methods.meshed.model import rebased
from dynaflex.methods.multibody.bodies import RigidBodies, pivot, shares
from dynaflex.model import FlexModel
from dynaflex.reconstruct.carry import CarriedMap
from dynaflex.results.trained import load_half
from dynaflex.run.directory import Run
from dynaflex.simulation.particles import simulate
from dynaflex.validate.score import linear_r

Command = Callable[..., Any]
GRID, BORDER = Grid(32, 6.0), 20.0


@pytest.fixture(scope="module")
def labels() -> torch.Tensor:
    """A bar along x of three bodies, 48 Å each."""
    labels = torch.full((32, 32, 32), -1)
    for body, first in enumerate((4, 12, 20)):
        labels[11:21, 11:21, first : first + 8] = body
    return labels


@pytest.fixture(scope="module")
def model(labels: torch.Tensor) -> FlexModel:
    """The bar, its middle body at rest."""
    volume = torch.where(labels >= 0, 1.0 + torch.rand(labels.shape, generator=torch.Generator().manual_seed(0)), 0.0)
    labelled = LabelledMesh(build_mesh((labels >= 0).float(), GRID, None, cells=16))
    density = CanonicalMap(volume, GRID, labelled.mesh, labelled.carrier(GRID))
    share = shares(labelled.mesh.vertices, labels, GRID, [1, 0, 2], BORDER)[:, 1:]
    pivots = torch.stack([pivot(labels, body, GRID, volume) for body in (0, 2)])
    widths = torch.diag(torch.tensor([0.2, 0.2, 0.2, 2.0, 2.0, 2.0])).repeat(2, 1, 1)
    bodies = RigidBodies(labelled.mesh, share, pivots, widths, density.sites, density.cell, GRID.pixel_size)
    return FlexModel(density, bodies, LatentTable(4, 12, torch.Generator(), spread=0.0), GRID)


@pytest.fixture
def latents() -> torch.Tensor:
    return torch.randn(3, 12, generator=torch.Generator().manual_seed(1))


def test_shares_are_whole_and_soft_only_at_borders(labels: torch.Tensor) -> None:
    points = 60.0 * torch.randn(500, 3, generator=torch.Generator().manual_seed(0))
    found = shares(points, labels, GRID, [0, 1, 2], BORDER)
    assert found.min() >= 0.0
    torch.testing.assert_close(found.sum(dim=1), torch.ones(500))
    along = torch.arange(-80.0, 80.0)
    bar = shares(torch.stack([along, 0 * along, 0 * along], dim=1), labels, GRID, [0, 1, 2], BORDER)
    border = -27.0  # between voxels 11 and 12
    inside = (along - border).abs() > 0.5 * BORDER + 2.0 * GRID.pixel_size
    torch.testing.assert_close(bar[inside, 0], bar[inside, 0].round())
    assert float(bar[(along - border).abs() < 1.0, 0].mean()) == pytest.approx(0.5, abs=0.1)
    assert (bar[:, 0].diff() <= 1e-6).all()


def test_a_body_turns_and_shifts_as_one(model: FlexModel, latents: torch.Tensor) -> None:
    bodies = model.deformation
    ends = torch.tensor([[-70.0, 0, 0], [-62, 12, -9], [-54, -12, 9]])
    turn, shift = bodies.offsets(latents)[:, 0].split(3, dim=1)
    arm = ends - bodies.pivots[0]
    expected = arm @ roma.rotvec_to_rotmat(turn).transpose(1, 2) - arm + shift[:, None]
    torch.testing.assert_close(bodies.displacement(latents, ends), expected, rtol=0, atol=1e-3)
    still = torch.tensor([[-3.0, -3, -3], [-4, 2, -8]])
    assert float(bodies.displacement(latents, still).abs().max()) == 0.0
    torch.testing.assert_close(bodies.pivots[0], torch.tensor([-27.0, -3.0, -3.0]))


def test_no_density_is_lost(model: FlexModel, latents: torch.Tensor) -> None:
    carried = CarriedMap(model.density.volume(GRID), GRID, model.deformation, model.density.home())
    rest = float(carried.at(torch.zeros(12)).sum())
    for z in 0.3 * latents:
        assert float(carried.at(z).sum()) == pytest.approx(rest, rel=1e-4)


def test_another_conformation_can_be_at_rest(model: FlexModel, latents: torch.Tensor) -> None:
    moved = rebased(model, latents[0])
    torch.testing.assert_close(moved.deformed(latents), model.deformed(latents), rtol=0, atol=1e-3)
    assert float(moved.deformation.displacement(latents[:1], moved.density.home()).abs().max()) < 1e-3


def test_bodies_rest_in_their_mean_pose(model: FlexModel) -> None:
    """Half of the particles turned one way and half the other: in the middle nothing has turned, nor been pushed."""
    z = torch.zeros(2, 12)
    z[0, 1], z[1, 1] = 3.0, -3.0
    z += torch.linspace(-1.0, 1.0, 12)
    middle = model.deformation.middle(z, model.density.landmarks())
    torch.testing.assert_close(model.deformation.offsets(middle[None])[0], model.deformation.offsets(z).mean(dim=0))


@pytest.mark.parametrize("errors", [(1.0 / 3.0, 1.0 / 3.0), (0.25, 2.0)], ids=["alike", "unlike"])
@pytest.mark.parametrize("moving", [6, 1, 0], ids=["every way", "one way", "no way"])
def test_how_widely_bodies_move_is_learned_in_a_few_steps(
    model: FlexModel, moving: int, errors: tuple[float, float]
) -> None:
    """Latents as they are found of images that tell every offset with an error, half of them with another one."""
    draw, count = torch.Generator().manual_seed(2), 8000
    root = torch.randn(2, 6, moving, generator=draw) * 0.4
    bodies = RigidBodies(
        model.deformation.mesh, model.deformation.share, model.deformation.pivots, torch.eye(6).repeat(2, 1, 1),
        model.deformation.sites, model.deformation.site_cell, GRID.pixel_size,
    )  # fmt: skip
    error = torch.tensor(errors).repeat(count // 2)[:, None, None]
    true = torch.einsum("mij,pmj->pmi", root, torch.randn(count, 2, moving, generator=draw))
    seen = true + error * torch.randn(count, 2, 6, generator=draw)

    def found() -> tuple[torch.Tensor, torch.Tensor]:
        widths = bodies.widths
        told = torch.einsum("mki,mkj->mij", widths, widths) / error[..., None] ** 2
        covariance = torch.linalg.inv(torch.eye(6) + told)
        return torch.einsum("pmij,mkj,pmk->pmi", covariance, widths, seen / error**2).flatten(1), covariance.mean(dim=0)

    for _ in range(6):
        z, uncertainty = found()
        after = bodies.renormalised(z, torch.arange(count), uncertainty)
        if errors[0] == errors[1]:
            torch.testing.assert_close(after, found()[0], rtol=1e-3, atol=1e-3)
    expected = root @ root.transpose(1, 2)
    told_by_all = 1.0 / float((1.0 / error**2).mean())
    away = bodies.widths @ bodies.widths.transpose(1, 2) - expected
    assert float(away.norm()) < 0.05 * float(expected.norm()) + 0.3 * told_by_all


@pytest.fixture(scope="module")
def hinged(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Particles whose arm and lobe turn independently."""
    out = tmp_path_factory.mktemp("hinged")
    simulate(out, particles=400, box=32, pixel_size=6.0, snr=1.0, motion="two-hinge")
    return out


@pytest.fixture(scope="module")
def run(hinged: Path, command: Command, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Multi-body refinement of these, by the command."""
    path = tmp_path_factory.mktemp("multibody") / "run"
    ended = command(
        "multibody", hinged / "particles.star", "--map", hinged / "consensus.mrc", "--mask", hinged / "mask.mrc",
        "--segments", hinged / "segments.mrc", "--epochs", 9, "--batch-size", 32, "-o", path,
    )  # fmt: skip
    assert ended.code == 0, ended.err
    return path


@pytest.mark.parametrize("half", [1, 2])
def test_known_hinges_are_found(run: Path, hinged: Path, half: int) -> None:
    trained = load_half(Run.open(run), half)
    scene = SimulatedScene.read(hinged / "truth.npz")
    angles = scene.coordinate[trained.rows.numpy()]
    offsets = trained.model.deformation.offsets(trained.latents.mean).numpy()
    for column, rotor in enumerate(scene.truth.motion.rotors):
        turned = offsets[:, column, :3] @ rotor.axis
        assert np.corrcoef(turned, angles[:, column])[0, 1] ** 2 > 0.7
        assert 0.55 < np.polyfit(angles[:, column], turned, 1)[0] < 1.2
    assert (linear_r(trained.latents.mean.numpy(), angles) > 0.9).all()
    still = trained.displacements(trained.latents.mean[:5], torch.zeros(1, 3))
    assert float(still.abs().max()) < 1e-3


def test_it_is_a_run_like_any_other(run: Path, command: Command, tmp_path: Path) -> None:
    opened = df.open(run)
    assert opened.latents.mean.shape[1] == 12
    assert read_map(run / "maps" / "map.mrc").data.std() > 0.0
    assert "multi-body refinement" in (run / "report.html").read_text()
    assert command("volumes", run, "-o", tmp_path / "maps", "--axis", 1, "--frames", 3).code == 0
    assert command("reconstruct", run, "--field", "inverse").error_line().endswith("[reconstruct.no-inverse]")
    assert (run / "fsc.json").exists()
    assert "shared_between_halves" in (run / "provenance.json").read_text()


def test_masks_of_bodies_are_as_good_as_labels(hinged: Path, tmp_path: Path, command: Command) -> None:
    segments = read_map(hinged / "segments.mrc")
    names = []
    for body in range(3):
        names.append(f"body{body}.mrc")
        write_map(tmp_path / names[-1], (segments.data == body).astype(np.float32), segments.pixel_size, segments.place)
    star = tmp_path / "bodies.star"
    star.write_text("data_\n\nloop_\n_rlnBodyMaskName #1\n" + "".join(f"{name}\n" for name in names) + "\n")
    files = ("--map", hinged / "consensus.mrc", "--mask", hinged / "mask.mrc", "--until", "prepare", "--skip-check")
    said = {}
    for given in (hinged / "segments.mrc", star):
        ended = command(
            "multibody", hinged / "particles.star", *files, "--segments", given, "-o", tmp_path / given.stem
        )
        said[given.suffix] = re.findall(r"about \(([^)]+)\)", ended.out)
    assert said[".mrc"] == said[".star"] != []


@pytest.mark.parametrize(
    ("given", "code", "words"),
    [
        (None, 2, ("--segments SEG.mrc", "[multibody.no-segments]")),
        ("one.mrc", 3, ("single body", "[multibody.one-body]")),
        ("particles.star", 3, ("rlnBodyMaskName", "[multibody.no-masks]")),
    ],
)
def test_what_are_no_bodies_is_refused(
    given: str | None, code: int, words: tuple[str, ...], hinged: Path, command: Command, tmp_path: Path
) -> None:
    segments = read_map(hinged / "segments.mrc")
    write_map(tmp_path / "one.mrc", segments.data.clip(-1.0, 0.0), segments.pixel_size, segments.place)
    place = tmp_path if given == "one.mrc" else hinged
    more = () if given is None else ("--segments", place / given)
    ended = command(
        "multibody", hinged / "particles.star", "--map", hinged / "consensus.mrc", "--skip-check", *more,
        "-o", tmp_path / "run",
    )  # fmt: skip
    assert ended.code == code and all(word in ended.error_line() for word in words)
    assert not (tmp_path / "run").exists()
