"""Images of particles and their projections: of the right particle, in its pose and conformation, wherever they lie."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import mrcfile
import numpy as np
import pytest
import torch

from dynaflex import fourier
from dynaflex.errors import InputError, UsageError
from dynaflex.run.watched import WatchedRun
from dynaflex.viewer.answers.images import ParticleImages, low_passed, shades
from dynaflex.viewer.answers.wire import unpack
from dynaflex.viewer.opened import OpenedRun


@pytest.fixture(scope="module", params=["dynamight", "flex"])
def run(request: pytest.FixtureRequest, finished_run: Path) -> Path:
    return finished_run if request.param == "dynamight" else request.getfixturevalue("flex_run")


def stack_of(run: Path) -> Path:
    return Path(json.loads((run / "provenance.json").read_text())["inputs"]["particles"]).with_name("particles.mrcs")


def layers(message: bytes) -> tuple[dict[str, object], dict[str, np.ndarray]]:
    header, rest = unpack(message)
    found, offset = {}, 0
    for name, one in zip(header["layers"], header["arrays"], strict=True):
        count = int(np.prod(one["shape"]))
        found[name] = np.frombuffer(rest, one["dtype"], count, offset).reshape(one["shape"])
        offset += -(-found[name].nbytes // 8) * 8
    return header, found


def test_an_image_is_that_of_its_row(run: Path) -> None:
    images = ParticleImages(WatchedRun(run), None)
    rows = np.array([17, 3, 399])
    found = fourier.inverse_transform(images.coefficients(images.positions(rows)), 2).numpy()
    with mrcfile.open(stack_of(run)) as stack:
        for one, row in zip(found, rows, strict=True):
            expected = fourier.crop_images(torch.from_numpy(stack.data[row].astype(np.float32))[None], images.grid.box)
            # Level ice is shown: of noise, that is what it has of a slope.
            assert np.corrcoef(one.ravel(), expected.numpy().ravel())[0, 1] > 0.995
    assert np.abs(found.std(axis=(1, 2)) - 1.0).max() < 1e-3


def test_a_projection_is_like_its_own_image_and_no_other(run: Path) -> None:
    opened = OpenedRun(run)
    rows = opened.particles().rows[5:29]
    header, found = layers(opened.images(rows, 20.0))
    assert header["rows"] == rows.tolist() and found["images"].shape == found["projections"].shape
    seen, expected = (found[name].reshape(len(rows), -1).astype(float) for name in ("images", "projections"))
    agreement = np.corrcoef(seen, expected)[: len(rows), len(rows) :]
    own = np.diag(agreement)
    np.testing.assert_allclose(own, header["agreement"], atol=0.05)
    assert own.mean() > 0.4 and (own > agreement.mean(axis=1) + 0.1).mean() > 0.9
    # Whose conformation it is, and of which half, is that of the particle.
    particles = opened.particles()
    place = [particles.rows.tolist().index(row) for row in rows]
    np.testing.assert_allclose(header["z"], particles.mean[place], rtol=1e-6)
    assert header["half"] == particles.half[place].tolist()


def test_a_projection_is_of_the_particle_s_own_conformation(finished_run: Path) -> None:
    """Those that are far along the motion look otherwise than a particle at rest in the same pose would."""
    opened = OpenedRun(finished_run)
    particles = opened.particles()
    first = particles.values("component1")
    chosen = np.flatnonzero(particles.half == 1)
    extreme = chosen[np.argsort(np.abs(first[chosen]))[-12:]]
    images = opened._images
    trained = opened.stage().trained(1)
    rows = particles.rows[extreme]
    where = images.positions(rows)
    moved, still = (
        fourier.inverse_transform(images._projections(trained, where, rows, torch.from_numpy(z)), 2).numpy()
        for z in (particles.mean[extreme], np.zeros_like(particles.mean[extreme]))
    )
    seen = fourier.inverse_transform(images.coefficients(where), 2).numpy()
    closer = [np.corrcoef(a.ravel(), b.ravel())[0, 1] - np.corrcoef(a.ravel(), c.ravel())[0, 1]
              for a, b, c in zip(seen, moved, still, strict=True)]  # fmt: skip
    assert np.mean(closer) > 0.0 and (np.array(closer) > 0).mean() > 0.7


def test_a_low_pass_leaves_nothing_finer(run: Path) -> None:
    images = ParticleImages(WatchedRun(run), None)
    (one,) = images.coefficients(images.positions(np.array([0])))
    power = [
        fourier.shell_mean(
            fourier.transform(torch.from_numpy(low_passed(one, images.grid, resolution)), 2).abs(), images.grid, 2
        )
        for resolution in (30.0, 1e-3)
    ]
    shell = int(images.grid.width / 30.0)
    assert float(power[0][shell + 1 :].max()) < 1e-3 * float(power[1][1:].max())
    assert float(power[0][1]) == pytest.approx(float(power[1][1]), rel=0.01)


def test_shades_span_black_to_white_in_every_image() -> None:
    random = np.random.default_rng(0)
    images = random.normal(size=(3, 40, 40)) * np.array([1e-3, 1.0, 1e3])[:, None, None] + 7.0
    found = shades(images.astype(np.float32))
    assert (found.min(axis=(1, 2)) == 0).all() and (found.max(axis=(1, 2)) == 255).all()
    assert (shades(np.zeros((1, 4, 4), np.float32)) == 0).all()


@pytest.mark.parametrize("rows", [[], list(range(25)), [400], [-1], [3, 4000]])
def test_only_particles_of_the_run_have_images(run: Path, rows: list[int]) -> None:
    with pytest.raises(UsageError, match=r"view\.rows"):
        OpenedRun(run).images(np.array(rows, dtype=np.int64), 10.0)
    with pytest.raises(UsageError, match=r"view\.rows"):
        OpenedRun(run).images(np.array([1]), -1.0)


@pytest.fixture
def moved(brief: Callable[..., tuple[Path, object]], few: Path, tmp_path: Path) -> tuple[Path, Path, Path]:
    """A run, the folder that its inputs were in, and where these are now."""
    data = tmp_path / "data"
    shutil.copytree(few, data)
    run, _ = brief("--until", "train", data=data, out=tmp_path / "run")
    elsewhere = tmp_path / "other disk"
    data.rename(elsewhere)
    return run, data, elsewhere


def test_images_that_have_moved_are_asked_for_and_found(moved: tuple[Path, Path, Path]) -> None:
    run, data, elsewhere = moved
    with pytest.raises(InputError) as caught:
        OpenedRun(run).images(np.array([1]), 10.0)
    assert caught.value.identifier == "view.images"
    assert f"dynaflex view {run} --datadir FOLDER" in str(caught.value.fix)
    header, _ = layers(OpenedRun(run, elsewhere).images(np.array([1, 2]), 10.0))
    assert header["rows"] == [1, 2]
    # The table may be elsewhere or changed while the stack is where it was.
    data.mkdir()
    shutil.copy(elsewhere / "particles.mrcs", data)
    for table in (None, (elsewhere / "particles.star").read_text().replace("000002@", "000009@")):
        if table is not None:
            (data / "particles.star").write_text(table)
        images = ParticleImages(WatchedRun(run), None)
        assert images.particles.files.index[:3].tolist() == [0, 1, 2]


def test_an_image_that_cannot_be_used_is_told(moved: tuple[Path, Path, Path]) -> None:
    run, _, elsewhere = moved
    with mrcfile.open(elsewhere / "particles.mrcs", mode="r+") as stack:
        stack.data[7] = np.nan
    with pytest.raises(InputError, match=r"view\.images"):
        OpenedRun(run, elsewhere).images(np.array([6, 7]), 10.0)
    assert layers(OpenedRun(run, elsewhere).images(np.array([6]), 10.0))[0]["rows"] == [6]
