"""Two maps from files, compared: only where they lie on each other, and with a pixel size that somebody stated."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch

from dynaflex.checking.findings import Report
from dynaflex.checking.volume_checks import check_map, check_mask, require_different
from dynaflex.data.placed import Frame, matched, read_mask
from dynaflex.errors import InputError
from dynaflex.grid import Grid
from dynaflex.io.mrc import MrcMap, read_map
from dynaflex.shapes import FloatArray
from dynaflex.validate.fsc import FscCurves, fsc_curves

THRESHOLDS = (0.143, 0.5)
# Agreement in every shell up to Nyquist that no two sets of particles reach.
_ONE_MAP = 0.995


@dataclass(frozen=True)
class Agreement:
    """The FSC ``curves`` of two maps on ``grid``, with a mask or without, and what of the files deserves a look."""

    curves: FscCurves
    grid: Grid
    masked: bool
    warnings: tuple[str, ...]

    @property
    def quoted(self) -> str:
        """The curve whose resolution is to be quoted."""
        return "corrected" if self.masked else "unmasked"

    def as_dict(self) -> dict[str, object]:
        """Everything as plain values for JSON."""
        return {
            **self.curves.as_dict(),
            "quoted": self.quoted,
            "resolutions": {f"{threshold:g}": self.curves.resolutions(threshold) for threshold in THRESHOLDS},
            "pixel_size": self.grid.pixel_size,
            "box": self.grid.box,
            "nyquist": 2.0 * self.grid.pixel_size,
            "warnings": list(self.warnings),
        }

    def lines(self) -> list[str]:
        """What is compared, and every resolution with the name of its curve, the one to quote first."""
        found = [f"{self.grid.box} voxels of {self.grid.pixel_size:.5g} Å, Nyquist {2.0 * self.grid.pixel_size:.2f} Å"]
        for threshold in THRESHOLDS:
            each = {
                name: value
                for name, value in self.curves.resolutions(threshold).items()
                if self.masked or name == self.quoted
            }
            words = ", ".join(f"{self._words(value)} {name}" for name, value in each.items())
            found.append(f"resolution at FSC {threshold:g}: {words}")
        if self.masked:
            found.append("corrected: masked, less what the mask alone makes of maps whose phases are randomised")
        else:
            found.append("unmasked: solvent included; --mask adds the masked and the corrected curve")
        return found

    def _words(self, resolution: float | None) -> str:
        if resolution is None:
            return "none"
        nyquist = resolution <= 2.0 * self.grid.pixel_size * (1.0 + 1e-9)
        return f"{resolution:.2f} Å" + (" (Nyquist: it never falls that low)" if nyquist else "")


def compare_maps(first: Path, second: Path, mask: Path | None = None) -> Agreement:
    """The FSC of two maps, from their files.

    Raises:
        InputError: a file is missing or damaged, neither map has a pixel size, they differ in it, in box or place, they
            are one map, or the mask is none or does not lie on them.
    """
    report, one, two = Report(), read_map(first), read_map(second)
    frame = _frame(first, one, two.pixel_size, report.warnings)
    other = matched(two, second, frame, report.warnings)
    # Whether molecules are black or white is the same to an FSC, but two maps are compared, and not what is none.
    of_maps = Report()
    for path, volume in ((first, one), (second, two)):
        check_map(of_maps, volume, path)
    of_maps.raise_first()
    within: FloatArray | None = None
    if mask is not None:
        within = read_mask(mask, frame, report.warnings)
        check_mask(report, within, mask)
    report.raise_first()
    require_different(first, one.data, second, other)
    volumes = torch.from_numpy(one.data), torch.from_numpy(other)
    curves = fsc_curves(*volumes, frame.grid.pixel_size, None if within is None else torch.from_numpy(within))
    if bool((curves.unmasked > _ONE_MAP).all()):
        report.warnings.append(
            "the maps agree fully in every shell up to Nyquist, as a map and its sharpened copy do, but no two sets "
            "of particles"
        )
    return Agreement(curves, frame.grid, mask is not None, tuple(report.warnings))


def _frame(path: Path, first: MrcMap, second_size: float | None, warnings: list[str]) -> Frame:
    """The voxels of the first map. A pixel size that only the second states is believed; one of 1 Å is doubted."""
    if first.pixel_size is None and second_size is None:
        raise InputError(
            "fsc.no-pixel-size", "neither map has a pixel size in its header, so no resolution can be given",
            file=path, field="cell size", expected="Å > 0", found="0 in both",
            fix=f"relion_image_handler --i {path} --force_header_angpix A --o out.mrc with the true Å a voxel for A; "
            "the other map alike",
        )  # fmt: skip
    if first.pixel_size is None:
        warnings.append(
            f"{path} has no pixel size in its header; that of the other map, {second_size:.5g} Å, is assumed"
        )
    elif first.pixel_size == 1.0:
        warnings.append(f"the pixel size in {path} is 1 Å, which other programs write when they do not know it")
    return Frame.of(first, second_size)
