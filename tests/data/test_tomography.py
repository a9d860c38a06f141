"""Laws of tilt series: images are posed as they were taken, and those of one particle stay together."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from dynaflex.data.columns import PARTICLE
from dynaflex.data.foreign.tables import read_table
from dynaflex.data.halves import assign_halves, held_out
from dynaflex.data.particles import read_particles
from dynaflex.errors import InputError
from dynaflex.imaging.ctf import transfer_function
from dynaflex.io.mrc import write_stack
from dynaflex.io.star import StarFile, read_star, write_star
from dynaflex.rotations import euler_to_matrix
from dynaflex.simulation.particles import simulate
from dynaflex.simulation.truth import read_truth

N, TILTS = 60, 7


@pytest.fixture(scope="session")
def tilted(made_once: Callable[..., Path]) -> Path:
    """60 particles in two tomograms, each seen in seven tilts or a few less."""
    return made_once("tilted", lambda folder: simulate(folder, N, 32, 6.0, 1.0, "hinge", 0, tilts=TILTS))


@pytest.fixture
def own(tilted: Path, tmp_path: Path) -> Path:
    """A copy that may be spoilt."""
    return Path(shutil.copytree(tilted, tmp_path / "own"))


def changed(path: Path, change: Callable[[StarFile], object]) -> None:
    """Change the tables of a STAR file in place."""
    star = read_star(path)
    change(star)
    write_star(star, path)


@pytest.mark.parametrize("name", ["optimisation_set.star", "particles.star"])
def test_images_are_read_as_they_were_taken(tilted: Path, name: str) -> None:
    """The simulation poses images by other formulas, from the same numbers."""
    particles, truth = read_particles(tilted / name), read_truth(tilted / "truth.npz")
    assert particles.distinct == N and len(particles) == len(truth.coordinate) > 0.85 * N * TILTS
    assert torch.allclose(particles.pose.rotation, euler_to_matrix(torch.from_numpy(truth.euler)), atol=1e-6)
    assert np.allclose(particles.pose.shift.numpy(), truth.shift, atol=1e-5)
    assert particles.tilted is not None
    for particle in range(N):
        assert len(np.unique(truth.coordinate[particles.tilted == particle])) == 1
    assert float(particles.ctf.dose.max()) > 80.0 and float(particles.ctf.scale.min()) < 0.51


def test_a_particle_below_the_middle_is_further_from_focus(tilted: Path) -> None:
    """By its height along the beam, where the tomogram is not tilted: with RELION's hand of -1, higher z is less."""
    table = read_star(tilted / "particles.star").blocks["particles"]
    flat = read_table(tilted / "particles.star").blocks["particles"]
    series = {name: read_star(tilted / f"tilt_series/{name}.star").blocks[name] for name in table["rlnTomoName"]}
    for row in range(0, N, 7):
        tilts = series[table["rlnTomoName"][row]]
        level = int((tilts["rlnTomoYTilt"].astype(float).abs()).argmin())
        visible = np.flatnonzero(np.array(table["rlnTomoVisibleFrames"][row].strip("[]").split(",")) == "1")
        images = flat[flat[PARTICLE] == table[PARTICLE][row]].iloc[int(np.flatnonzero(visible == level)[0])]
        added = float(images["rlnDefocusU"]) - float(tilts["rlnDefocusU"].iloc[level])
        height = float(table["rlnCenteredCoordinateZAngst"][row])
        assert abs(added + height) < 4.0 * 4.0, "but for the particle's own shift in its box"


def test_images_of_a_particle_are_in_one_half_and_held_out_together(tilted: Path) -> None:
    particles = read_particles(tilted / "particles.star")
    table = particles.source.blocks["particles"].drop(columns="rlnRandomSubset")
    for drawn in (
        particles.half,
        assign_halves(table, 3, []),
        assign_halves(table[table["rlnTomoName"] == "TS_001"], 3, []),
    ):
        which = particles.particle[: len(drawn)]
        assert all(len(set(drawn[which == one])) == 1 for one in np.unique(which))
        assert 0.4 < (drawn == 1).mean() < 0.6
    apart = held_out(particles.rows[particles.originals], particles.half, 0.3, 0)
    assert all(len(set(apart[particles.particle == one])) == 1 for one in range(N))
    assert 0 < len(np.unique(particles.particle[apart])) < N


def test_the_table_of_images_is_read_as_such(tilted: Path, tmp_path: Path) -> None:
    """What a run keeps, and writes selections of, is read again."""
    whole = read_particles(tilted / "optimisation_set.star")
    write_star(whole.source, tmp_path / "flat.star")
    again = read_particles(tmp_path / "flat.star", tilted)
    assert torch.equal(again.pose.rotation, whole.pose.rotation) and np.array_equal(again.particle, whole.particle)


def test_matrices_of_relion_4_turn_alike(own: Path) -> None:
    before = read_particles(own / "particles.star").pose.rotation
    for path in (own / "tilt_series").iterdir():

        def with_matrices(star: StarFile) -> None:
            ((name, tilts),) = star.blocks.items()
            for i, axis in enumerate("XYZ"):
                tilts[f"rlnTomoProj{axis}"] = [f"[{','.join(map(str, row[i]))},5]" for row in matrices(tilts)]
            star.blocks[name] = tilts.drop(columns=["rlnTomoXTilt", "rlnTomoYTilt", "rlnTomoZRot"])

        changed(path, with_matrices)
    assert torch.allclose(read_particles(own / "particles.star").pose.rotation, before, atol=1e-6)


def test_stacks_multiplied_by_ctf_and_dose_are_seen_as_plain_ones(own: Path) -> None:
    """RELION's extraction multiplies images by both, noise and all."""
    plain = read_particles(own / "particles.star")
    index = np.arange(len(plain))
    ctf = transfer_function(plain.ctf, plain.grid)
    before = torch.fft.rfft2(plain.restored(plain.images(index), index, 150.0))
    multiplied = torch.fft.irfft2(torch.fft.rfft2(plain.images(index)) * ctf, s=(32, 32)).numpy()
    for stack in plain.files.stacks:
        mine = [plain.files.stacks[code] is stack for code in plain.files.stack]
        write_stack(stack.path, multiplied[mine], plain.grid.pixel_size)
    set_value("rlnCtfDataAreCtfPremultiplied", "1", block="optics")(own)
    after = read_particles(own / "particles.star")
    seen = torch.fft.rfft2(after.restored(after.images(index), index, 150.0))
    clear = ctf.abs() > 0.15
    assert float(clear.float().mean()) > 0.4
    difference = (seen - before)[clear].abs().square().mean() / before[clear].abs().square().mean()
    assert float(difference) < 1e-2, "but for the slope of the ice, which is taken off the images as they are"


def matrices(tilts: object) -> np.ndarray:
    """The turns of some tilts, by hand: about y, then about z."""
    y, z = (np.deg2rad(tilts[f"rlnTomo{name}"].astype(float)) for name in ("YTilt", "ZRot"))  # type: ignore[index]
    out = [
        np.array([[np.cos(c), -np.sin(c), 0.0], [np.sin(c), np.cos(c), 0.0], [0.0, 0.0, 1.0]])
        @ np.array([[np.cos(b), 0.0, np.sin(b)], [0.0, 1.0, 0.0], [-np.sin(b), 0.0, np.cos(b)]])
        for b, c in zip(y, z, strict=True)
    ]
    return np.array(out)


def set_value(label: str, value: str, row: int = 0, block: str = "particles") -> Callable[[Path], None]:
    """Put a value into a row of the particle table."""

    def spoil(folder: Path) -> None:
        def change(star: StarFile) -> None:
            column = star.blocks[block][label].to_numpy(dtype=object, copy=True)
            column[row] = value
            star.blocks[block][label] = column

        changed(folder / "particles.star", change)

    return spoil


def in_file(name: str, label: str, value: str | None) -> Callable[[Path], None]:
    """Put a value into all rows of a column of a file, or remove the column."""

    def spoil(folder: Path) -> None:
        def change(star: StarFile) -> None:
            for block, table in star.blocks.items():
                if label in table:
                    star.blocks[block] = table.drop(columns=label) if value is None else table.assign(**{label: value})

        changed(folder / name, change)

    return spoil


def lose(name: str) -> Callable[[Path], None]:
    """Remove a file."""
    return lambda folder: (folder / name).unlink()


def hide_a_tilt(folder: Path) -> None:
    table = read_star(folder / "particles.star").blocks["particles"]
    set_value("rlnTomoVisibleFrames", table["rlnTomoVisibleFrames"][0].replace("1", "0", 1))(folder)


@pytest.mark.parametrize(
    ("spoil", "identifier"),
    [
        (lose("tomograms.star"), "tomography.set"),
        (lose("tilt_series/TS_002.star"), "tomography.no-tilt-series"),
        (set_value("rlnTomoName", "TS_777"), "tomography.no-tomogram"),
        (set_value("rlnTomoVisibleFrames", "[1,1]"), "tomography.visible"),
        (set_value("rlnTomoParticleName", "TS_001/2"), "tomography.repeated-particle"),
        (set_value("rlnImageDimensionality", "3", block="optics"), "star.tomography"),
        (hide_a_tilt, "tomography.stack"),
        (in_file("tomograms.star", "rlnTomoHand", "left"), "star.not-a-number"),
        (in_file("tilt_series/TS_001.star", "rlnDefocusU", "deep"), "star.not-a-number"),
        (in_file("tilt_series/TS_001.star", "rlnTomoYTilt", None), "star.missing-column"),
        (in_file("particles.star", "rlnTomoName", None), "star.missing-column"),
    ],
)
def test_what_does_not_fit_is_refused(own: Path, spoil: Callable[[Path], None], identifier: str) -> None:
    spoil(own)
    with pytest.raises(InputError) as caught:
        read_particles(own / "optimisation_set.star")
    assert caught.value.identifier == identifier and caught.value.fix


def test_a_particle_torn_apart_is_refused(tilted: Path, tmp_path: Path) -> None:
    star = read_table(tilted / "particles.star")
    table = star.blocks["particles"]
    halves = table["rlnRandomSubset"].to_numpy(dtype=object, copy=True)
    halves[1] = "2" if halves[0] == "1" else "1"
    for change, identifier in (
        (table.iloc[[*range(1, len(table)), 0]], "tomography.torn"),
        (table.assign(rlnRandomSubset=halves), "halves.torn"),
    ):
        star.blocks["particles"] = change
        write_star(star, tmp_path / "torn.star")
        with pytest.raises(InputError) as caught:
            read_particles(tmp_path / "torn.star", tilted)
        assert caught.value.identifier == identifier


def test_particles_without_their_tilt_series_are_refused(tilted: Path, tmp_path: Path) -> None:
    shutil.copy(tilted / "particles.star", tmp_path)
    with pytest.raises(InputError) as caught:
        read_particles(tmp_path / "particles.star", tilted)
    assert caught.value.identifier == "tomography.no-tilt-series"
