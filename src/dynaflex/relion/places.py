"""Where the files of a job lie, and what its results are called in RELION's and Doppio's graph. Nothing here loads."""

from __future__ import annotations

from pathlib import Path

RUN = "dynaflex"
"""The folder of a job that holds its run."""
FINAL = Path("forward_deformations/checkpoints/checkpoint_final.pth")
INVERSE = Path("inverse_deformations/inv_chkpt.pth")
VOLUMES, MAPS, SUBSETS, BACK = "forward_deformations/volumes", "maps", "subsets", "backprojection"

MAP = f"{RUN}/maps/map.mrc"
HALF_MAPS = (f"{RUN}/maps/map_half1.mrc", f"{RUN}/maps/map_half2.mrc")
MASK = f"{RUN}/maps/mask.mrc"
PARTICLES = f"{RUN}/particles.star"
REPORT = f"{RUN}/report.html"

DYNAMIGHT_RESULTS = (
    (f"{BACK}/map.mrc", "DensityMap.mrc.relion.dynamight"),
    (f"{BACK}/mask_reconstruction.mrc", "Mask3D.mrc.relion"),
    (PARTICLES, "ParticleGroupMetadata.star.relion.dynamight"),
    (f"{SUBSETS}/subset_*[0-9].star", "ParticleGroupMetadata.star.relion.dynamight"),
    (f"{RUN}/figures/*.pdf", "LogFile.pdf.relion.dynamight"),
)
"""Of RELION's DynaMight job: patterns of files and what they are. Its half-maps RELION knows of itself."""
RESULTS = (
    (MAP, "DensityMap.mrc.relion"),
    *((half_map, "DensityMap.mrc.relion.halfmap") for half_map in HALF_MAPS),
    (MASK, "Mask3D.mrc.relion"),
    (PARTICLES, "ParticleGroupMetadata.star.relion"),
)
"""Of a job of ours: files that each has."""
FIGURES = (f"{RUN}/figures/*.pdf", "LogFile.pdf.relion")

_NUMBERS = {
    "ParticleGroupMetadata.star": 3, "DensityMap.mrc": 6, "Mask3D.mrc": 7, "DensityMap.mrc.relion.halfmap": 10,
    "LogFile.pdf": 13,
}  # fmt: skip


def number_of(kind: str) -> int:
    """The number by which RELION 3.1 knows a kind of file, which later ones call by a name."""
    return _NUMBERS.get(kind) or _NUMBERS[".".join(kind.split(".")[:2])]
