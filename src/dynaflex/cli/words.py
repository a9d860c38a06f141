"""What was found, in words: facts about the data, scores, and what to type next."""

from __future__ import annotations

import re
import shlex
from pathlib import Path
from typing import Any

from dynaflex.config import Stage

_GROUPS = 6
"""Optics groups that are listed one by one."""
_SCORES = {
    r"knn_r2 (\d+)": r"true coordinate \1 from neighbours in latent space, R²",
    r"linear_r (\d+)": r"true coordinate \1 along a straight line of latents, R",
    r"neighbourhood_similarity (.*)": r"true neighbours that are near in latent space, nearest \1",
    r"(.*)_variance_explained": r"\1: true motion explained, share of its variance",
    r"(.*)_motion_slope": r"\1: how far it goes for every Å that it truly goes",
    r"(.*)_true_rms": r"\1: true motion, rms Å",
    r"(.*)_found_rms": r"\1: motion found, rms Å",
    r"(.*)_error_rms": r"\1: error of the motion, rms Å",
    r"(.*)_rotation_slope": r"\1: part of the rotation that is recovered",
    r"(.*)_motion_rms": r"\1, which is still: motion found there, rms Å",
    r"state_at_rest_deg (\d+)": r"true coordinate \1 of the map, degrees",
    r"(.*)_fsc_true_motion": r"\1: mean FSC with the truth, map with the true motion",
    r"(.*)_fsc_(.*)": r"\1: mean FSC with the truth, \2 map",
    r"(.*)_gap_closed": r"\1: way from the rigid map to that with the true motion",
    r"(.*)_loss_to_rigid": r"\1: mean FSC lost to the rigid map",
    r"fsc_area_per_image mean": "area under the FSC per image, mean",
    r"fsc_area_per_image std": "area under the FSC per image, its spread",
    r"fsc_area_per_image masked_mean": "the same within the molecule, mean",
    r"fsc_area_per_image masked_std": "the same within the molecule, its spread",
    r"fsc_area_per_image perfect": "area under the FSC of a perfect map",
    r"fsc_area_per_image images": "images in these areas",
}


def counted(number: int, thing: str) -> str:
    """``1 problem``, ``2 problems``."""
    return f"{number:,} {thing}" if number == 1 else f"{number:,} {thing}s"


def typable(*parts: object) -> str:
    """A command that can be typed as it stands, whatever its paths hold."""
    return shlex.join(map(str, parts))


def done(run: Path, until: Stage) -> list[str]:
    """Where a run is, and what to type next once it is complete."""
    if until != "report":
        return [f"done: {run}"]
    ask, look = typable("dynaflex", "validate", run), typable("dynaflex", "view", run)
    return [f"done: {run}", f"next: {ask}    (would this motion be found if it were not there?)", f"      {look}"]


def described(facts: dict[str, Any]) -> list[str]:
    """What a check of the files found out about the data, one line for each kind of thing."""
    lines = []
    if "particles_used" in facts:
        lines += _particles(facts)
    if "images_read" in facts:
        bad = facts.get("bad_images")
        lines.append(
            f"images read: {facts['images_read']:,}" + ("" if bad is None else f", of which {bad:,} cannot be used")
        )
    if "image_deviation" in facts:
        lowest, usual, highest = facts["image_deviation"]
        lines.append(
            f"values of images: mean {facts['image_mean']:.3g}, standard deviation {lowest:.3g} to {highest:.3g}, "
            f"median {usual:.3g}"
        )
    for kind in ("map", "mask"):
        if kind in facts:
            lines.append(f"{kind}: {_volume(facts[kind])}")
    return lines


def score_in_words(name: str) -> str:
    """What a score means; ``name`` is its key for machines, with a number or a name behind it where there are several.

    A score without words of its own is called by its key.
    """
    for pattern, words in _SCORES.items():
        found = re.fullmatch(pattern, name)
        if found is not None:
            return found.expand(words)
    return name.replace("_", " ")


def _particles(facts: dict[str, Any]) -> list[str]:
    lowest, usual, highest = facts["defocus"]
    voltages = " and ".join(f"{voltage:g}" for voltage in facts["voltage_kv"])
    return [
        f"particles: {facts['particles_used']:,} used, {facts['particles_excluded']:,} excluded, "
        f"of {facts['particles_in_table']:,} in the table"
        + (f"; each in a tilt series, in all {facts['tilt_images']:,} images" if "tilt_images" in facts else ""),
        f"half-sets: {facts['half1']:,} and {facts['half2']:,}, "
        + (facts["half_sets"] if facts["half_sets"].startswith("drawn") else f"from {facts['half_sets']}"),
        f"images: {facts['box']} pixels of {facts['pixel_size']:.5g} Å; {facts['images_in_files']:,} in "
        + counted(facts["image_files"], "file"),
        f"optics: {voltages} kV; {_groups(facts['optics_groups'], 'image' if 'tilt_images' in facts else 'particle')}",
        f"defocus: {lowest:,.0f} to {highest:,.0f} Å, median {usual:,.0f} Å",
        f"shifts: up to {facts['largest_shift']:.1f} Å",
    ]


def _groups(sizes: dict[str, int], thing: str) -> str:
    if len(sizes) > _GROUPS:
        return f"{len(sizes)} groups of {min(sizes.values()):,} to {max(sizes.values()):,} {thing}s"
    listed = ", ".join(f"{name} with {counted(size, thing)}" for name, size in sizes.items())
    return f"{'group' if len(sizes) == 1 else 'groups'} {listed}"


def _volume(facts: dict[str, Any]) -> str:
    size = "no pixel size" if facts["pixel_size"] is None else f"{facts['pixel_size']:.5g} Å"
    return f"{facts['box']} voxels of {size} a side, values from {facts['minimum']:.3g} to {facts['maximum']:.3g}"
