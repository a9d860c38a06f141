"""Laws of what ChimeraX opens: one level, one frame of coordinates, and nothing outside the folder."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import gemmi
import numpy as np
import pytest
import torch

import dynaflex.viewer
from dynaflex.grid import Grid
from dynaflex.io.mrc import Place, read_map, write_map
from dynaflex.palettes import HALVES, SCALES, frame_colours, rgb
from dynaflex.products.analyse import place_of_box
from dynaflex.products.chimerax.solids import path_markers
from dynaflex.results.trained import load_half
from dynaflex.results.volumes import coarse, level_at_rest
from dynaflex.run.directory import Run
from scripts import arrows, commands, levels, markers, opened, value

Command = Callable[..., Any]
FRAMES = 4


@pytest.fixture(scope="module")
def exported(finished_run: Path, command: Command, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("exported") / "out"
    outcome = command("export", finished_run, "--to", "chimerax", "-o", folder)
    assert outcome.code == 0, outcome.err
    return folder


@pytest.fixture(scope="module")
def series(finished_run: Path, command: Command, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("series") / "out"
    outcome = command("volumes", finished_run, "-o", folder, "--axis", 1, "--frames", 3, "--from-particles")
    assert outcome.code == 0, outcome.err
    return folder


def test_a_folder_can_go_anywhere(exported: Path, series: Path, analysed: tuple[Path, str], tmp_path: Path) -> None:
    for number, folder in enumerate((exported, series, analysed[0])):
        there = tmp_path / "a folder, moved" / str(number)
        shutil.copytree(folder, there)
        scripts = list(there.rglob("*.cxc"))
        assert scripts
        for script in scripts:
            names = [name for model in opened(script) for name in model]
            assert names and not any(Path(name).is_absolute() or ".." in Path(name).parts for name in names)
            assert all((script.parent / name).is_file() for name in names), script
            assert str(folder) not in script.read_text()


def test_every_number_is_that_of_a_model_that_was_opened(
    exported: Path, series: Path, analysed: tuple[Path, str]
) -> None:
    for script in (path for folder in (exported, series, analysed[0]) for path in folder.rglob("*.cxc")):
        lines = script.read_text().splitlines()
        assert lines[0] == "close session"
        count = 0
        for line in lines:
            count += line.startswith("open ")
            numbers = [part.lstrip("#") for word in line.split() if word.startswith("#") for part in word.split(",")]
            assert all(1 <= int(number) <= count for number in numbers if len(number) < 6), (script, line)


def test_conformations_have_one_level_wherever_they_are_shown(
    finished_run: Path, exported: Path, series: Path, analysed: tuple[Path, str]
) -> None:
    run = Run.open(finished_run)
    expected = level_at_rest(run, load_half(run, 1))
    carried = [levels(path)[0] for path in (series / "volumes.cxc", *analysed[0].rglob("volumes.cxc"))]
    assert [*carried, levels(exported / "dynaflex.cxc")[2]] == pytest.approx([expected] * (len(carried) + 1), rel=1e-5)
    colours = [value(commands(path, "volume")[0], "color") for path in (series / "volumes.cxc",
               analysed[0] / "axis1" / "volumes.cxc", analysed[0] / "dense" / "volumes.cxc")]  # fmt: skip
    assert len({*colours, value(commands(exported / "dynaflex.cxc", "volume")[2], "color")}) == 1


def test_maps_of_one_molecule_enclose_as_much(finished_run: Path, exported: Path, series: Path) -> None:
    stored = read_map(finished_run / "maps" / "map.mrc")
    filled = coarse(Run.open(finished_run), torch.from_numpy(stored.data), Grid(stored.box, 6.0)).filled
    for name, level in zip(("before.mrc", "after.mrc"), levels(exported / "dynaflex.cxc")[:2], strict=True):
        assert (read_map(exported / name).data > level).sum() == pytest.approx(filled, abs=2)
    # Those of few particles are noisy: where they are the molecule, they fill as much as the molecule.
    level, mask = levels(series / "volumes.cxc")[1], read_map(finished_run / "maps" / "mask.mrc").data
    inside = [(read_map(series / f"particles_{n:03d}.mrc").data * mask > level).sum() for n in range(3)]
    assert np.mean(inside) == pytest.approx(filled, rel=0.25)


def test_half_maps_are_opened_at_one_level(finished_run: Path, exported: Path) -> None:
    script = exported / "half_maps.cxc"
    assert opened(script) == [["half1.mrc"], ["half2.mrc"]] and len(set(levels(script))) == 1
    assert [value(words, "color") for words in commands(script, "volume")] == list(HALVES.values())
    for half in HALVES:
        stored = read_map(finished_run / "maps" / f"map_half{half}.mrc")
        assert np.array_equal(read_map(exported / f"half{half}.mrc").data, stored.data)


def test_local_resolution_has_a_colour_everywhere_and_a_key(finished_run: Path, exported: Path) -> None:
    script = exported / "local_resolution.cxc"
    (sample,), (key,) = commands(script, "color sample"), commands(script, "key")
    assert opened(script) == [["after.mrc"], ["local_resolution.mrc"]]
    assert sample[2] == "#1" and value(sample, "map") == "#2" and ["hide", "#2", "models"] in commands(script, "hide")
    assert levels(script)[0] == levels(exported / "dynaflex.cxc")[1]
    low, high = map(float, value(sample, "range").split(","))
    pairs = dict(word.split(":") for word in key if word.startswith("#"))
    assert list(pairs) == value(sample, "palette").split(":") == list(SCALES["resolution"])
    assert np.array([*pairs.values()], float) == pytest.approx(np.linspace(low, high, len(pairs)), rel=0.01)
    values, known = (read_map(folder / "local_resolution.mrc").data for folder in (exported, finished_run / "maps"))
    assert values.min() > 0 and np.array_equal(values[known > 0], known[known > 0])
    surface = read_map(exported / "after.mrc").data > levels(script)[0]
    assert low < high and low <= np.median(values[surface]) <= high


def test_arrows_and_markers_lie_where_the_model_goes(
    finished_run: Path, analysed: tuple[Path, str], tmp_path: Path
) -> None:
    """From the first map to the last: at both ends of an arrow the model says the same about the same point."""
    run = Run.open(finished_run)
    center, trained = place_of_box(run), load_half(run, 1)
    assert np.array_equal(center, [96.0, 96.0, 96.0])
    for name in ("axis1", "dense"):
        folder = analysed[0] / name
        drawn = arrows(folder / "motion.bild")
        z = torch.from_numpy(np.load(folder / "path.npy"))
        at_rest = torch.from_numpy(read_map(finished_run / "maps" / "map.mrc").data)
        rest = Grid(32, 6.0).points()[(at_rest.flatten() > 0).nonzero()[:, 0]]
        first, last = (rest + trained.displacements(z[[end]].float(), rest)[0] for end in (0, -1))
        nearest = torch.cdist(torch.from_numpy(drawn[:, :3] - center).float(), first).min(dim=1)
        # Landmarks are not voxels: within one, the arrow from here is like the way from there.
        close = nearest.values < 6.0
        way = (last - first)[nearest.indices].numpy()
        assert close.float().mean() > 0.9
        assert np.linalg.norm(drawn[:, 3:] - drawn[:, :3] - way, axis=1)[close].mean() < 2.0
        path = markers(folder / "path.cmm")
        assert len(path) % FRAMES == 0 and len(path) >= FRAMES
        for number, marker in enumerate(path):
            colour = [float(marker[part]) for part in "rgb"]
            assert colour == pytest.approx(rgb(frame_colours(FRAMES)[number % FRAMES]), abs=1e-3)
            assert marker["note"].endswith(f"conformation {number % FRAMES}")
    tracks = {"domain 1": np.array([[0.0, 1.0, 2.0], [3.0, 4.0, 5.0]])}
    (tmp_path / "path.cmm").write_text(path_markers(tracks, center))
    there = [[float(one[axis]) for axis in "xyz"] for one in markers(tmp_path / "path.cmm")]
    assert np.array_equal(there, tracks["domain 1"] + center)


def test_the_moving_model_has_a_model_for_each_map(analysed: tuple[Path, str]) -> None:
    for script in analysed[0].rglob("volumes.cxc"):
        maps, *beside = opened(script)
        assert [name for model in beside for name in model] == ["motion.bild", "path.cmm", "model.cif"]
        assert len(gemmi.read_structure(str(script.parent / "model.cif"))) == len(maps) == FRAMES


@pytest.mark.parametrize("place", [Place(start=(-16, 4, 0)), Place((12.5, -30.0, 6.0))])
def test_coordinates_are_those_of_the_map_that_was_given(
    few: Path, tmp_path: Path, brief: Callable[..., tuple[Path, Any]], place: Place
) -> None:
    shutil.copytree(few, tmp_path / "data")
    for name in ("consensus.mrc", "mask.mrc"):
        write_map(tmp_path / "data" / name, read_map(few / name).data, 6.0, place)
    path, outcome = brief("--until", "prepare", data=tmp_path / "data")
    assert outcome.code == 0, outcome.err
    assert place_of_box(Run.open(path)) == pytest.approx(np.array(place.corner(6.0)) + 16 * 6.0)


def test_the_page_has_the_same_colours() -> None:
    page = (Path(dynaflex.viewer.__file__).parent / "static" / "colours.js").read_text()
    for name, stops in SCALES.items():
        assert f"{name}: {json.dumps(stops)}" in page
