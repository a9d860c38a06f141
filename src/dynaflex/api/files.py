"""Particles, maps and their comparison from Python."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from dynaflex.api.paths import AnyPath, optional
from dynaflex.api.words import error_in_python, in_python, speaks_python
from dynaflex.shapes import Array
from dynaflex.simulation.names import MotionName

if TYPE_CHECKING:
    from dynaflex.checking.check import Findings
    from dynaflex.data.particles import Particles
    from dynaflex.io.mrc import MrcMap
    from dynaflex.prepare.simulated import Simulated

Curve = Literal["unmasked", "masked", "corrected"]


@dataclass(frozen=True)
class Fsc:
    """The Fourier shell correlation of two maps: curves ``(s)`` over the shells at ``frequency`` ``(s)`` in 1/Å.

    ``corrected`` is ``masked`` less what the mask alone makes of maps whose phases are randomised. ``quoted`` names the
    curve whose resolution is to be quoted; without a mask all three are the same. ``warnings`` deserve a look.
    """

    frequency: Array
    unmasked: Array
    masked: Array
    corrected: Array
    quoted: Curve
    warnings: tuple[str, ...]

    def resolution(self, threshold: float = 0.143, curve: Curve | None = None) -> float | None:
        """Where a curve, that ``quoted`` unless another is named, first falls below ``threshold``, in Å.

        Nyquist where it never does, None where it starts below.
        """
        import torch

        from dynaflex.validate.fsc import resolution_at

        values: Array = getattr(self, curve or self.quoted)
        return resolution_at(torch.from_numpy(self.frequency), torch.from_numpy(values), threshold)


@speaks_python
def fsc(first: AnyPath, second: AnyPath, mask: AnyPath | None = None) -> Fsc:
    """The Fourier shell correlation of two maps from their files, with RELION's shells; as ``dynaflex fsc``.

    Args:
        first, second: half-maps, ``.mrc``.
        mask: soft mask, ``.mrc``.

    Raises:
        InputError: a file is missing or damaged, no pixel size is stated, the maps or the mask do not lie on each
            other, or both maps are one.

    Example:
        >>> df.fsc("map_half1.mrc", "map_half2.mrc", "mask.mrc").resolution(0.143)
        6.2
    """
    from dynaflex.validate.two_maps import compare_maps

    found = compare_maps(Path(first), Path(second), optional(mask))
    curves = found.curves
    return Fsc(
        frequency=curves.frequency.double().numpy(),
        unmasked=curves.unmasked.numpy(),
        masked=curves.masked.numpy(),
        corrected=curves.corrected.numpy(),
        quoted="corrected" if found.masked else "unmasked",
        warnings=found.warnings,
    )


@speaks_python
def read_particles(
    path: AnyPath,
    *,
    datadir: AnyPath | None = None,
    class_: int | None = None,
    strip_prefix: str | None = None,
) -> Particles:
    """A particle table of RELION 3.0 to 5 or of cryoSPARC: poses, CTF, half-sets, and the images on demand.

    Of the result ``rows`` ``(p)`` are those of the table from 0, ``half`` ``(p)`` is 1 or 2, ``pose`` and ``ctf`` are
    float64 tensors (radians, Å), ``images(index)`` reads images ``(b h h)``, and ``excluded`` says what was left out
    and why.

    Args:
        path: ``.star`` or ``.cs``.
        datadir: where to look for image files.
        class_: take only this class; from 1 in a STAR file, from 0 in a ``.cs`` file.
        strip_prefix: dropped from the beginning of image names before looking for them.

    Raises:
        InputError: the table or an image file is missing or damaged, or says something that cannot be.

    Example:
        >>> particles = df.read_particles("particles.star")
        >>> particles.images(np.arange(4)).shape
        torch.Size([4, 64, 64])
    """
    from dynaflex.data.particles import read_particles as read

    return read(Path(path), optional(datadir), class_number=class_, strip_prefix=strip_prefix)


@speaks_python
def read_map(path: AnyPath) -> MrcMap:
    """A cubic map: ``data`` ``(d d d)`` float32 ``[z, y, x]``, ``pixel_size`` in Å (None where the header has none).

    Args:
        path: ``.mrc``, packed with gzip or bzip2 or not.

    Raises:
        InputError: the file is missing, damaged, no cubic map, or holds values that are not finite.

    Example:
        >>> df.read_map("consensus.mrc").data.shape
        (64, 64, 64)
    """
    from dynaflex.io.mrc import read_map as read

    return read(Path(path))


@speaks_python
def write_map(path: AnyPath, map: MrcMap) -> None:
    """Write a map, such as a conformation, so that it opens where the consensus map of its run lies.

    Args:
        path: ``.mrc``, written over where it exists.
        map: as :func:`read_map` and a run give it; its pixel size must be known.

    Raises:
        UsageError: the map has no pixel size.
        EnvironmentFault, ResourceError: the file cannot be written.

    Example:
        >>> df.write_map("opened.mrc", run.conformation(run.along(1)[-1]))
    """
    from dynaflex.errors import UsageError
    from dynaflex.io.mrc import write_map as write

    if map.pixel_size is None:
        raise UsageError(
            "map.unscaled", "this map has no pixel size", file=Path(path),
            fix="dataclasses.replace(map, pixel_size=...) with the true Å a voxel",
        )  # fmt: skip
    write(Path(path), map.data, map.pixel_size, map.place)


@speaks_python
def check(
    particles: AnyPath,
    map: AnyPath | None = None,
    mask: AnyPath | None = None,
    *,
    datadir: AnyPath | None = None,
    strip_prefix: str | None = None,
    class_: int | None = None,
    invert_contrast: bool = False,
) -> Findings:
    """Read everything, compare it, and score the table's readings against the images; as ``dynaflex check``.

    What is wrong is not raised but listed: ``report.ok``, ``report.problems``, ``report.warnings`` and ``report.facts``
    of the result, and all of it as plain values from its ``as_dict()``.

    Args:
        particles: ``.star`` or ``.cs``.
        map: consensus map, ``.mrc``; without one nothing is scored.
        mask: ``.mrc``.
        datadir, strip_prefix, class_: as for :func:`read_particles`.
        invert_contrast: for particles that are black.

    Example:
        >>> found = df.check("particles.star", "consensus.mrc", "mask.mrc")
        >>> found.report.ok, found.report.warnings
        (True, [])
    """
    from dynaflex.checking.check import check_files
    from dynaflex.prepare.device import with_threads

    with with_threads():
        found = check_files(
            Path(particles), optional(map), optional(mask), datadir=optional(datadir), class_number=class_,
            invert_contrast=invert_contrast, strip_prefix=strip_prefix,
        )  # fmt: skip
    found.report.problems = [error_in_python(problem) for problem in found.report.problems]
    found.report.warnings = [in_python(warning) for warning in found.report.warnings]
    return found


@speaks_python
def simulate(
    out: AnyPath,
    *,
    particles: int = 1000,
    box: int = 64,
    pixel_size: float = 3.0,
    snr: float = 0.1,
    motion: MotionName = "hinge",
    seed: int = 0,
    contrast_spread: float = 0.0,
    ramp_spread: float = 0.0,
    symmetry: str = "C1",
    tilts: int = 0,
) -> Simulated:
    """Particles of a flexible molecule whose motion is known, to try a run on; as ``dynaflex simulate``.

    The result has the paths ``particles``, ``map``, ``mask`` and ``truth``.

    Args:
        out: folder to write to; an earlier simulation there is replaced.
        particles: how many.
        box: in pixels, even.
        pixel_size: in Å.
        snr: variance of the signal over that of the noise; 0 gives noise alone.
        motion: ``"hinge"``, ``"two-hinge"``, ``"touching"``, ``"five"``, ``"twist"`` or ``"none"``.
        seed: equal seeds give equal files.
        contrast_spread: that of the logarithm of how strongly particles show; 0.3 is ice of very uneven thickness.
        ramp_spread: that of how much images rise over their width, in noise standard deviations.
        symmetry: point group of an assembly whose units move each for itself, such as ``"C4"``.
        tilts: images of each particle in a tilt series, as RELION 5's tomography has them; 0 for none.

    Raises:
        UsageError: this cannot be simulated, or a file that is not of a simulation would be replaced.
        EnvironmentFault, ResourceError: the folder cannot be written to.

    Example:
        >>> data = df.simulate("data", particles=400, box=32, pixel_size=6.0, snr=1.0)
        >>> run = df.train("dynamight", data.particles, data.map, mask=data.mask, out="run")
    """
    from dynaflex.prepare.device import with_threads
    from dynaflex.prepare.simulated import simulated

    with with_threads():
        return simulated(
            Path(out), particles=particles, box=box, pixel_size=pixel_size, snr=snr, motion=motion, seed=seed,
            contrast_spread=contrast_spread, ramp_spread=ramp_spread, symmetry=symmetry,
            tilts=tilts,
        )  # fmt: skip
