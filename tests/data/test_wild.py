"""Every table in the wild: read with the right numbers, or refused for the right reason.

The numbers were read off the files by hand. The images of most tables are not there; stacks of the right size stand in
for them.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy.spatial.transform import Rotation

from dynaflex.data.particles import read_particles
from dynaflex.errors import InputError
from dynaflex.io.mrc import write_stack
from dynaflex.io.star import StarFile, read_star, write_star

SHARED = Path(__file__).resolve().parents[2] / ".." / "shared" / "data"
FILES = sorted([*SHARED.glob("*/*.star"), *SHARED.glob("*/*.cs")])


@dataclass(frozen=True)
class Good:
    """What a table says: particles, Å a pixel, the box, and of the first particle its angles and origin in Å."""

    particles: int
    pixel_size: float
    box: int
    angles: tuple[float, float, float]
    origin: tuple[float, float]

    def rotation(self) -> np.ndarray:
        matrix: np.ndarray = Rotation.from_euler("ZYZ", self.angles, degrees=True).as_matrix().T
        return matrix


class GoodRotationVector(Good):
    """The same for cryoSPARC, whose pose is a rotation vector of the inverse."""

    def rotation(self) -> np.ndarray:
        matrix: np.ndarray = Rotation.from_rotvec(self.angles).as_matrix().T
        return matrix


# Origins in pixels are multiplied by the pixel size, 5 / 37369.207031 mm in files of RELION 3.0.
ASPIRE = 5e4 / 37369.207031
SAMPLE = Good(17, ASPIRE, 200, (109.186640, 122.200343, 71.118492), (0.1996 * ASPIRE, 0.1996 * ASPIRE))
PROJECTED = Good(24, 3.54, 64, (142.625517, 37.065672, 85.339883), (-11.6962, -4.6162))
EXPECTED: dict[str, Good | str] = {
    "cs/cryodrgn_cryosparc_P12_J24_001_particles.cs": GoodRotationVector(
        2019, 2.95, 180, (2.3386633, -0.25595567, -1.2236784), (11.334375 * 2.95, -1.828125 * 2.95)
    ),
    "cs/cryodrgn_empiar_10076_7.cs": "cs.missing-group",
    "cs/cryosparctools_4k_dataset.cs": "cs.no-particles",
    "stacks/empiar_10076_7.cs": "cs.missing-group",
    "stacks/empiar_10076_7.star": "star.missing-column",
    "stacks/relion_proj_batch.star": PROJECTED,
    "stacks/sample_particles_relion30.star": SAMPLE,
    "stacks/sample_particles_relion31.star": Good(17, 1.4, 200, SAMPLE.angles, (0.1996, 0.1996)),
    "star/ASPIRE_hist__starfile.first250.star": Good(250, ASPIRE, 64, SAMPLE.angles, SAMPLE.origin),
    # No amplitude contrast, and no defocus.
    "star/ComputationalCryoEM_ASPIRE-Python__saved_test_data_rln_proj_64_shifted.star": "star.missing-column",
    "star/ComputationalCryoEM_ASPIRE-Python__saved_test_data_sample.star": "star.row-length",
    "star/ComputationalCryoEM_ASPIRE-Python__saved_test_data_sample_particles_relion30.star": SAMPLE,
    "star/ComputationalCryoEM_ASPIRE-Python__saved_test_data_sample_relion_one_image.star": Good(
        1, ASPIRE, 64, (130.487578, 87.229432, -120.014857), (0.4496 * ASPIRE, -0.0504 * ASPIRE)
    ),
    "star/bogdantoader_simplecryoem__data_pyem.star": PROJECTED,
    # A pixel size on the detector, but no magnification.
    "star/bpowell122_tomodrgn__data_10076_classE_32_sim.star": "star.missing-column",
    "star/compSPI_ioSPI__data_test.first250.star": Good(
        250, 1.911, 128, (117.716420, 21.078015, 113.923438), (-6.40480, -9.26365)
    ),
    # No origins.
    "star/evanseitz_ManifoldEM_Python__demo_RyR1GCs_clustRem.first250.star": "star.missing-column",
    "star/goetschius_isecc__test.star": Good(1, 1.1, 300, (-23.43405, 23.114279, -69.18217), (-0.73605, 0.363950)),
    "star/hanjinliu_cylindra__job_refine_run_it050_data.star": "star.tomography",
    # Picked, but not aligned.
    "star/michael-0brien_cryojax__data_ribosome_4ug0_particles.star": "star.missing-column",
    # No amplitude contrast.
    "star/ml-struct-bio_cryodrgn__data_FinalRefinement-OriginalParticles-PfCRT.star": "star.missing-column",
    "star/ml-struct-bio_cryodrgn__data_relion31.star": Good(
        5, 2.806, 256, (-102.30296, 82.318041, 124.706463), (0.019324, -0.64686)
    ),
    "star/ml-struct-bio_cryodrgn__data_relion5.star": Good(
        17, 0.89, 448, (111.508618, 36.742536, 141.158035), (-3.12578, -1.41031)
    ),
    # No angles.
    "star/ml-struct-bio_cryodrgn__data_toy_projections_13.star": "star.missing-column",
    # Tilt series, without the tables of them.
    "star/recovar_relion5tomo__particles.star": "tomography.no-tilt-series",
    "star/simplecryoem_hist__data_particles.first250.star": Good(
        250, 1.244531, 256, (-27.06145, 7.977661, -144.05007), (0.348960, 0.348955)
    ),
    "star/teamtomo_starfile__data_one_loop.star": "star.tomography",
    "star/turonova_cryoCAT__motl_data_bin1_1deg_500_2.star": "star.tomography",
    "star/turonova_cryoCAT__motl_data_relion_3.1_optics2.star": "star.tomography",
    "star/turonova_cryoCAT__test_data_relion_3.1_optics.star": "star.tomography",
}


def stand_ins(table: Path, box: int, folder: Path) -> None:
    """Stacks under every name in the table, long enough for the largest number; they take no room on disk."""
    if table.suffix == ".cs":
        rows = np.load(table)
        images = [(path.decode(), int(i) + 1) for path, i in zip(rows["blob/path"], rows["blob/idx"], strict=True)]
    else:
        found = re.findall(r"(?:^|\s)(\d+)@(\S+)", table.read_text(), flags=re.MULTILINE)
        images = [(name, int(number)) for number, name in found]
    largest: dict[str, int] = {}
    for name, number in images:
        largest[name] = max(number, largest.get(name, 0))
    for name, number in largest.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        write_stack(path, np.zeros((1, box, box), dtype=np.float32), 1.0)
        with path.open("r+b") as stream:
            stream.seek(8)
            stream.write(number.to_bytes(4, "little"))
        os.truncate(path, 1024 + number * box * box * 4)


@pytest.mark.skipif(not FILES, reason=f"no tables in {SHARED}")
def test_no_table_is_left_out() -> None:
    assert {str(path.relative_to(SHARED)) for path in FILES} == set(EXPECTED)


@pytest.mark.skipif(not FILES, reason=f"no tables in {SHARED}")
@pytest.mark.parametrize("name", EXPECTED)
def test_every_table_is_read_right_or_refused(name: str, tmp_path: Path) -> None:
    path, expected = SHARED / name, EXPECTED[name]
    if isinstance(expected, str):
        with pytest.raises(InputError) as caught:
            read_particles(path)
        assert caught.value.identifier == expected
        assert str(path) in str(caught.value)
        return
    # A copy elsewhere, so that no stack beside the table comes first.
    copy = tmp_path / "table" / path.name
    copy.parent.mkdir()
    copy.write_bytes(path.read_bytes())
    stand_ins(path, expected.box, tmp_path)
    particles = read_particles(copy)
    assert len(particles) + len(particles.excluded) == expected.particles
    assert not particles.excluded
    assert particles.grid.box == expected.box
    assert particles.grid.pixel_size == pytest.approx(expected.pixel_size, rel=1e-7)
    np.testing.assert_allclose(particles.pose.rotation[0].numpy(), expected.rotation(), atol=1e-7)
    # A lens that stretches images moves what is off their centre.
    lens = particles.treatment.magnification[0]
    shift = np.linalg.solve(lens.T, np.negative(expected.origin))
    np.testing.assert_allclose(particles.pose.shift[0].numpy(), shift, rtol=1e-6)


TILTED = SHARED / "star/recovar_relion5tomo__particles.star"


@pytest.mark.skipif(not TILTED.exists(), reason=f"no tilt series in {SHARED}")
def test_particles_of_tilt_series_are_read_with_made_up_tilts(tmp_path: Path) -> None:
    """Ten rows of RELION 5: as many images as there are visible frames, that of no tilt turned as its particle is."""
    table = read_star(TILTED).blocks["particles"]
    seen = [np.flatnonzero(np.array(text.strip("[]").split(",")) == "1") for text in table["rlnTomoVisibleFrames"]]
    tilts = np.arange(-20, 21) * 3.0
    columns = {
        **dict.fromkeys(("rlnTomoZRot", "rlnDefocusAngle"), 0.0 * tilts), "rlnTomoYTilt": tilts,
        **dict.fromkeys(("rlnDefocusU", "rlnDefocusV"), 3e4 + tilts), "rlnMicrographPreExposure": np.abs(tilts),
    }  # fmt: skip
    names = sorted(set(table["rlnTomoName"]))
    series = {
        name: pd.DataFrame({key: [f"{x:g}" for x in values] for key, values in columns.items()}) for name in names
    }
    listed = pd.DataFrame({"rlnTomoName": names, "rlnTomoHand": ["-1"] * len(names)})
    write_star(StarFile(tmp_path, {"global": listed, **series}), tmp_path / "tomograms.star")
    (tmp_path / TILTED.name).write_bytes(TILTED.read_bytes())
    text = " ".join(f"{len(frames)}@{name}" for frames, name in zip(seen, table["rlnImageName"], strict=True))
    (tmp_path / "images.txt").write_text(text)
    stand_ins(tmp_path / "images.txt", 384, tmp_path)
    particles = read_particles(tmp_path / TILTED.name)
    assert particles.distinct == 10 and len(particles) == sum(map(len, seen)) > 350
    assert particles.grid.pixel_size == 1.62 and particles.half.tolist()[:: len(particles) - 1] == [1, 1]
    for row, frames in enumerate(seen):
        mine = np.flatnonzero(particles.particle == row)
        assert len(mine) == len(frames)
        level = mine[np.flatnonzero(tilts[frames] == 0.0)]
        angles = table.iloc[row][["rlnAngleRot", "rlnAngleTilt", "rlnAnglePsi"]].astype(float)
        rotation = Rotation.from_euler("ZYZ", angles.tolist(), degrees=True).as_matrix().T
        assert np.allclose(particles.pose.rotation[level].numpy(), rotation, atol=1e-6)
        height = float(table["rlnCenteredCoordinateZAngst"][row])
        assert np.allclose(particles.ctf.defocus_u[level].numpy(), 3e4 - height, atol=1e-3)
