"""Laws of the door: it opens at once, in Python as on the command line, and what it gives is what the commands give."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import dynaflex as df
from dynaflex import api
from dynaflex.errors import DynaflexError, InputError, UsageError
from dynaflex.io.star import read_star
from dynaflex.results.trained import displacements, load_half
from dynaflex.validate.two_maps import compare_maps

PACKAGE = Path(df.__file__).parent
HEAVY = {"torch", "scipy", "sklearn", "skimage", "matplotlib", "roma"}
POINTS = np.array([[0.0, 0.0, 30.0], [10.0, -5.0, 0.0]])


@pytest.fixture(scope="module")
def run(brief_run: Path) -> df.Run:
    return df.open(brief_run)


def loaded_by(code: str, *arguments: object) -> set[str]:
    """The packages that a process has loaded after some code, which has the ``arguments`` in ``given``."""
    program = f"import sys; given = sys.argv[1:]; import dynaflex as df; {code}; print('|', *sys.modules)"
    ended = subprocess.run(
        [sys.executable, "-c", program, *map(str, arguments)], capture_output=True, text=True, check=True
    )
    return {name.partition(".")[0] for name in ended.stdout.rpartition("|")[2].split()}


def test_the_door_is_light() -> None:
    assert not loaded_by("dir(df); df.__version__") & {*HEAVY, "numpy", "pandas", "pydantic", "typer"}
    assert not loaded_by("df.train; df.open; df.Run; help") & HEAVY


def test_the_files_of_a_run_are_read_without_torch(brief_run: Path) -> None:
    code = "run = df.open(given[0]); run.latents.mean; run.maps['map'].data; run.select(particles=[3]); run.settings"
    assert not loaded_by(code, brief_run) & HEAVY


def test_no_room_has_the_name_of_what_the_door_opens() -> None:
    rooms = {path.stem for path in PACKAGE.iterdir()}
    assert not rooms & {*df.__all__} and "api" in rooms


def test_the_door_opens_all_that_there_is() -> None:
    assert {*df.__all__} == {*api.__all__, "__version__"} and {*df.__all__} <= {*dir(df)}
    assert all(getattr(df, name) is getattr(api, name) for name in api.__all__)
    with pytest.raises(AttributeError, match="no attribute 'trian'"):
        getattr(df, "trian")  # noqa: B009


def test_type_checkers_see_all_that_the_door_opens() -> None:
    tree = ast.parse(Path(df.__file__).read_text(encoding="utf-8"))
    imports = [node for node in ast.walk(tree) if isinstance(node, ast.ImportFrom) and node.module == "dynaflex.api"]
    assert [name.name for node in imports for name in node.names] == api.__all__


def test_a_run_from_python_is_that_of_the_command(few: Path, brief_run: Path, tmp_path: Path) -> None:
    given: dict[str, Any] = {"epochs": 5, "gaussians": 80, "batch_size": 8, "mask": few / "mask.mrc"}
    before = torch.get_num_threads()
    started = df.train(
        "dynamight", few / "particles.star", few / "consensus.mrc", out=str(tmp_path / "run"), until="train", **given
    )
    resumed = df.resume(started.path, until="reconstruct")
    assert torch.get_num_threads() == before
    for name in ("config.json", "latents.npz", "particles.star", "maps/map_half1.mrc", "maps/rigid_half2.mrc"):
        assert (resumed.path / name).read_bytes() == (brief_run / name).read_bytes(), name


@pytest.mark.parametrize(
    ("method", "given", "identifier", "words"),
    [
        ("dynamite", {}, "train.method", "dynamight or flex"),
        ("dynamight", {"epoch": 3}, "config.unknown-key", "expected epochs"),
        ("dynamight", {"mesh": "mesh.npz"}, "config.unknown-key", "'mesh'"),
        ("flex", {"decoder_rate": 0.1}, "config.unknown-key", "'decoder_rate'"),
        ("flex", {"batch_size": 0}, "usage.range", "batch_size cannot be 0"),
        ("flex", {"class_": -1}, "usage.range", "class_ cannot be -1"),
        ("flex", {"device": "tpu"}, "device.missing", "tpu"),
        ("flex", {}, "star.missing", "nowhere.star"),
    ],
)
def test_what_cannot_be_trained(
    method: str, given: dict[str, Any], identifier: str, words: str, tmp_path: Path
) -> None:
    with pytest.raises(DynaflexError, match=words) as raised:
        df.train(method, "nowhere.star", "nowhere.mrc", out=tmp_path / "run", **given)
    assert raised.value.identifier == identifier and not (tmp_path / "run").exists()


def test_maps_have_their_names_and_places(run: df.Run) -> None:
    assert {"map", "map_half1", "rigid_half2", "mask"} <= {*run.maps} and len(run.maps) == len([*run.maps])
    found = df.read_map(run.maps.path("map"))
    np.testing.assert_array_equal(run.maps["map"].data, found.data)
    with pytest.raises(KeyError):
        _ = run.maps["nowhere"]
    with pytest.raises(UsageError, match=r"run\.not-yet"):
        run.maps.path("nowhere")


def test_displacements_are_those_of_the_particles_asked_for(run: df.Run) -> None:
    rows = run.latents.rows[[7, 2, 5]]
    found = run.displacements(POINTS, rows)
    np.testing.assert_array_equal(found, displacements(run.path, POINTS.astype(np.float32), rows.tolist()))
    every = run.displacements(POINTS)
    assert every.shape == (len(run.latents.rows), len(POINTS), 3)
    np.testing.assert_allclose(every[[7, 2, 5]], found, atol=1e-4)


def test_a_conformation_is_the_map_where_the_model_moves_it(run: df.Run, tmp_path: Path) -> None:
    path = run.along(axis=1, frames=5)
    mine = run.latents.of_half(1)[1]
    np.testing.assert_allclose(path[2], mine.mean(axis=0), atol=1e-5)
    start, middle = run.conformation(path[0]), run.conformation(path[2])
    assert start.data.sum() == pytest.approx(middle.data.sum(), rel=1e-3)
    grid = load_half(run._directory, 1).model.grid
    assert start.pixel_size == pytest.approx(run.maps["map"].pixel_size) and start.box >= grid.box
    assert np.abs(start.data - middle.data).max() > 0.0
    df.write_map(tmp_path / "start.mrc", start)
    again = df.read_map(tmp_path / "start.mrc")
    np.testing.assert_array_equal(again.data, start.data)
    assert again.place == run.maps["map"].place


def test_a_selection_is_a_table_of_its_own(run: df.Run, tmp_path: Path) -> None:
    stored = run.latents
    middle = float(np.median(stored.mean[stored.half == 2, 0]))
    rows = run.select(tmp_path / "s.star", latents={1: (middle, np.inf)}, half=2)
    assert {*rows} == {*stored.rows[(stored.half == 2) & (stored.mean[:, 0] >= middle)]}
    names = read_star(run.path / "particles.star").blocks["particles"]["rlnImageName"]
    assert read_star(tmp_path / "s.star").blocks["particles"]["rlnImageName"].tolist() == names[rows].tolist()


def test_a_selection_is_not_written_over_the_run(run: df.Run) -> None:
    before = (run.path / "particles.star").read_bytes()
    with pytest.raises(DynaflexError):
        run.select(run.path / "particles.star", particles=[1, 2])
    assert (run.path / "particles.star").read_bytes() == before


@pytest.mark.parametrize(
    ("ask", "identifier"),
    [
        (lambda run: run.select(), "select.what"),
        (lambda run: run.select(latents={1: (0, 1)}, particles=[1]), "select.what"),
        (lambda run: run.select(latents={9: (0, 1)}, half=1), "select.range"),
        (lambda run: run.select(polygon=[[0, 0], [1, 1]]), "select.no-outline"),
        (lambda run: run.select(cluster=1), "analysis.missing"),
        (lambda run: run.conformation([0.0]), "run.latents"),
        (lambda run: run.show([[np.nan] * 6]), "run.latents"),
        (lambda run: run.along(7), "volumes.axis"),
        (lambda run: run.along(1, half=3), "run.half"),
        (lambda run: run.displacements([1.0, 2.0, 3.0]), "displacements.points"),
        (lambda run: run.displacements(POINTS, [10**6]), "particles.unknown"),
        (lambda run: df.write_map("never.mrc", df.read_map(run.maps.path("map")).__class__(POINTS, None)),
         "map.unscaled"),
    ],
)  # fmt: skip
def test_what_cannot_be_asked(ask: Any, identifier: str, run: df.Run) -> None:
    with pytest.raises(DynaflexError) as raised:
        ask(run)
    assert raised.value.identifier == identifier


def test_the_fsc_is_that_of_the_command(run: df.Run) -> None:
    paths = [run.maps.path(name) for name in ("map_half1", "map_half2", "mask")]
    found, command = df.fsc(*paths), compare_maps(*paths)
    np.testing.assert_array_equal(found.corrected, command.curves.corrected.numpy())
    assert found.quoted == "corrected" == command.quoted
    for curve, value in command.curves.resolutions(0.5).items():
        assert found.resolution(0.5, curve) == pytest.approx(value)  # type: ignore[arg-type]
    assert found.resolution() == pytest.approx(command.curves.resolution(0.143))


def test_particles_are_simulated_checked_and_read(tmp_path: Path) -> None:
    data = df.simulate(tmp_path / "data", particles=40, box=32, pixel_size=6.0, snr=1.0, seed=1)
    particles = df.read_particles(data.particles)
    assert len(particles) == 40 and particles.images(np.arange(3)).shape == (3, 32, 32)
    assert df.read_map(data.map).data.shape == (32, 32, 32) and data.truth.is_file()
    assert df.check(data.particles, data.map, data.mask).report.ok
    assert not df.check(tmp_path / "nowhere.star").report.ok


def test_what_is_shown_needs_nothing_else(run: df.Run, tmp_path: Path) -> None:
    path = run.along(1, frames=3)
    one, several = run.show(path[0]), run.show(path)
    for shown in (one, several):
        assert shown._repr_html_().startswith("<iframe srcdoc=") and "data:image/webp" in shown.html
        assert not any(word in shown.html for word in ('src="http', "href=", "@import", "url("))
    one.save(tmp_path / "one.html")
    assert (tmp_path / "one.html").read_text() == one.html


def test_what_is_no_run_is_not_opened(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"run\.missing"):
        df.open(tmp_path)
